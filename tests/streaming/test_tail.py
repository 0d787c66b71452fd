from __future__ import annotations

import time
from collections import namedtuple
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.structs import TopicPartition

from streaming import tail as module
from streaming.errors import BrokerError, InputError
from streaming.settings import Settings
from streaming.tail import tail

Row = namedtuple("Row", ["offset", "timestamp"])
P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
LONG_AGO = 1_000


class FakeReader:
    """Two partitions. `polls` are the answers to come; `ends` what the broker says the ends are."""

    ends: dict[TopicPartition, int]
    polls: list[dict[TopicPartition, list[Row]] | Exception]
    last: FakeReader

    def __init__(self, **_: Any) -> None:
        self.at = {P0: 0, P1: 0}
        self.begun_at = ""
        self.paused: set[TopicPartition] = set()
        self.closed = False
        FakeReader.last = self

    def partitions_for_topic(self, name: str) -> set[int]:
        return {1, 0} if name == "t" else set()

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [P0, P1]

    def seek_to_beginning(self, *_: TopicPartition) -> None:
        self.begun_at = "beginning"

    def seek_to_end(self, *_: TopicPartition) -> None:
        self.begun_at = "end"

    def end_offsets(self, _: list[TopicPartition]) -> dict[TopicPartition, int]:
        return self.ends

    def pause(self, partition: TopicPartition) -> None:
        self.paused.add(partition)

    def position(self, partition: TopicPartition) -> int:
        return self.at[partition]

    def poll(self, _: int) -> dict[TopicPartition, list[Row]]:
        time.sleep(0.001)
        answer = self.polls.pop(0) if self.polls else {}
        if isinstance(answer, Exception):
            raise answer
        for partition, rows in answer.items():
            self.at[partition] = rows[-1].offset + 1
        return answer

    def close(self, **_: Any) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KafkaConsumer", FakeReader)
    monkeypatch.setattr(module, "_QUIET_S", 0.05)


def rows(*offsets: int, timestamp: int = LONG_AGO) -> list[Row]:
    return [Row(offset, timestamp) for offset in offsets]


def later() -> int:
    return time.time_ns() // 1_000_000 + 60_000


def test_it_ends_with_what_was_there_even_where_the_end_was_told_too_low() -> None:
    FakeReader.ends = {P0: 1, P1: 0}
    FakeReader.polls = [{P0: rows(0, 1)}, {}, {P1: rows(0)}, {P0: rows(2)}]
    assert [row.offset for row in tail(Settings(), ["t"])] == [0, 1, 0, 2]
    assert FakeReader.last.closed
    assert FakeReader.last.begun_at == "beginning"


def test_it_does_not_end_before_the_end_that_was_told() -> None:
    FakeReader.ends = {P0: 2, P1: 0}
    FakeReader.polls = [{P0: rows(0)}, *[{}] * 200, {P0: rows(1)}]
    assert [row.offset for row in tail(Settings(), ["t"])] == [0, 1]


def test_a_record_written_later_ends_a_partition_at_once() -> None:
    """Else a topic that is written to all the time would have no end."""
    FakeReader.ends = {P0: 2, P1: 1}
    FakeReader.polls = [{P0: rows(0, 1), P1: rows(0)}, {P0: rows(2, 3, timestamp=later())}]
    FakeReader.polls += [{P1: rows(1, timestamp=later())}]
    assert len(list(tail(Settings(), ["t"]))) == 3
    assert FakeReader.last.paused == {P0, P1}


def test_a_record_from_before_the_told_end_counts_whatever_its_time() -> None:
    FakeReader.ends = {P0: 2, P1: 0}
    FakeReader.polls = [{P0: rows(0, 1, timestamp=later())}]
    assert len(list(tail(Settings(), ["t"]))) == 2


def test_gaps_of_a_compacted_topic_do_not_matter() -> None:
    FakeReader.ends = {P0: 10, P1: 0}
    FakeReader.polls = [{P0: rows(3, 9)}]
    assert [row.offset for row in tail(Settings(), ["t"])] == [3, 9]


def test_following_goes_on_until_it_is_idle() -> None:
    FakeReader.polls = [{P0: rows(0)}, {}, {P1: rows(0, timestamp=later())}]
    assert len(list(tail(Settings(), ["t"], start="end", follow=True, idle_s=0.05))) == 2
    assert FakeReader.last.begun_at == "end"


def test_a_topic_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="topic nosuch is not there; `beforehand topics create`"):
        list(tail(Settings(), ["nosuch"]))
    assert FakeReader.last.closed


def test_a_broker_that_stops_answering_is_told() -> None:
    FakeReader.ends = {P0: 2, P1: 0}
    FakeReader.polls = [KafkaTimeoutError("gone")]
    with pytest.raises(BrokerError, match="reading t stopped: KafkaTimeoutError: gone"):
        list(tail(Settings(), ["t"]))
    assert FakeReader.last.closed
