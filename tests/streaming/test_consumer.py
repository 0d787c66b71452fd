from __future__ import annotations

import threading
from collections import namedtuple
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError, RebalanceInProgressError
from kafka.structs import TopicPartition

from streaming import codec
from streaming import consumer as module
from streaming.consumer import PredictionConsumer
from streaming.errors import BrokerError, InputError
from streaming.records import Prediction
from streaming.settings import Settings
from tests.streaming.test_ledger import MINUTE, NOW, prediction

Row = namedtuple("Row", ["topic", "partition", "offset", "value"])
TOPIC = "beforehand.predictions"


class FakeReader:
    """kafka-python's consumer over batches that are there already."""

    rebalancing = 0
    """Commits that are refused because the group is being divided anew."""
    batches: list[list[bytes | None]]
    known: set[int] | None

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.offset = 0
        self.assigned: list[TopicPartition] = []
        self.begun_at = ""
        self.commits: list[int] = []
        self.closed = False
        FakeReader.last = self

    last: FakeReader

    def partitions_for_topic(self, name: str) -> set[int] | None:
        return self.known

    def subscribe(self, names: list[str]) -> None:
        self.assigned = [TopicPartition(name, 0) for name in names]

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def assignment(self) -> set[TopicPartition]:
        return set(self.assigned)

    def seek_to_beginning(self, *_: TopicPartition) -> None:
        self.begun_at = "beginning"

    def seek_to_end(self, *_: TopicPartition) -> None:
        self.begun_at = "end"

    def poll(self, _: int) -> dict[TopicPartition, list[Row]]:
        if not self.batches:
            return {}
        rows = []
        for value in self.batches.pop(0):
            rows.append(Row(TOPIC, 0, self.offset, value))
            self.offset += 1
        return {TopicPartition(TOPIC, 0): rows}

    def commit(self, offsets: dict[TopicPartition, Any], timeout_ms: int) -> None:
        if self.rebalancing:
            self.rebalancing -= 1
            raise RebalanceInProgressError("the group is being divided anew")
        self.commits += [offset.offset for offset in offsets.values()]

    def close(self, **_: Any) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KafkaConsumer", FakeReader)
    FakeReader.batches, FakeReader.known = [], {0}


def given(*batches: list[Prediction | bytes | None]) -> None:
    FakeReader.batches = [
        [codec.encode(one) if isinstance(one, Prediction) else one for one in batch] for batch in batches
    ]


def consumer(**options: Any) -> PredictionConsumer:
    return PredictionConsumer(Settings(), idle_s=0, **({"now": lambda: NOW} | options))


def names(predictions: PredictionConsumer) -> list[str]:
    return [one.prediction_id for one in predictions]


def test_predictions_come_once_and_only_while_they_hold() -> None:
    given([prediction("a"), prediction("old", expires_at=NOW - 1)], [prediction("a"), prediction("b")])
    predictions = consumer()
    assert names(predictions) == ["a", "b"]
    assert (predictions.ledger.repeats, predictions.ledger.expired) == (1, 1)


def test_what_the_same_batch_withdraws_is_not_given_out() -> None:
    given([prediction("a"), prediction("b", cancels=["a"])])
    assert names(consumer()) == ["b"]


def test_what_a_later_batch_replaces_holds_no_more() -> None:
    given([prediction("a")], [prediction("b", supersedes=["a"])])
    predictions = consumer()
    seen = {one.prediction_id: predictions.holds("a") for one in predictions}
    assert seen == {"a": True, "b": False}


def test_by_the_record_clock_the_past_is_present() -> None:
    old = prediction("a", expires_at=NOW + MINUTE)
    given([old])
    assert names(consumer(now=lambda: NOW + 10**10)) == []
    given([old])
    assert names(consumer(clock="record", now=lambda: NOW + 10**10)) == ["a"]


def test_the_record_clock_is_the_newest_event_time_seen() -> None:
    later = prediction("b", expires_at=NOW + 99 * MINUTE)
    later.event_time = NOW + 50 * MINUTE
    given([later, prediction("a", expires_at=NOW + 30 * MINUTE)])
    assert names(consumer(clock="record")) == ["b"]


def test_poison_is_counted_told_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    given([b"\xc1", None, b"", codec.encode(prediction("a"))[:-1], prediction("b")])
    predictions = consumer()
    assert names(predictions) == ["b"]
    assert predictions.unreadable == 4
    assert "beforehand.predictions[0]@0" in caplog.text


def test_offsets_are_committed_only_for_what_the_loop_is_done_with() -> None:
    given([prediction("a"), prediction("b"), prediction("c")])
    predictions = consumer(group="g")
    for one in predictions:
        if one.prediction_id == "b":
            break
    predictions.close()
    assert FakeReader.last.commits == [1]
    assert FakeReader.last.closed


def test_who_parts_while_the_group_is_divided_anew_commits_once_it_has_come_to_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given([prediction("a"), prediction("b")])
    predictions = consumer(group="g")
    monkeypatch.setattr(FakeReader, "rebalancing", 3)  # that of the loop's end, and two as it parts
    assert names(predictions) == ["a", "b"]
    predictions.close()
    assert FakeReader.last.commits == [2]
    assert FakeReader.last.closed


def test_a_group_that_never_comes_to_rest_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    given([prediction("a")])
    predictions = consumer(group="g")
    monkeypatch.setattr(FakeReader, "rebalancing", 1_000_000)
    monkeypatch.setattr("streaming.consumer._PARTING_S", 0.05)
    assert names(predictions) == ["a"]
    predictions.close()
    assert FakeReader.last.commits == []
    assert FakeReader.last.closed


def test_leaving_the_loop_and_coming_back_loses_nothing() -> None:
    given([prediction("a"), prediction("b"), prediction("c")])
    predictions = consumer(group="g")
    assert next(iter(predictions)).prediction_id == "a"
    assert names(predictions) == ["b", "c"]
    predictions.close()
    assert FakeReader.last.commits == [3]


def test_without_a_group_nothing_is_committed_and_all_partitions_are_read() -> None:
    FakeReader.known = {0, 1, 2}
    for start in ("beginning", "end"):
        with consumer(start=start) as predictions:
            assert names(predictions) == []
        assert FakeReader.last.begun_at == start
        assert [one.partition for one in FakeReader.last.assigned] == [0, 1, 2]
        assert FakeReader.last.commits == []


def test_stop_ends_the_iteration_from_another_thread() -> None:
    predictions = PredictionConsumer(Settings())
    stopper = threading.Timer(0.1, predictions.stop)
    stopper.start()
    assert names(predictions) == []
    stopper.join()


def test_a_missing_topic_is_named() -> None:
    FakeReader.known = None
    with pytest.raises(InputError, match=r"beforehand\.predictions is not there; `beforehand topics create`"):
        names(consumer())
    assert FakeReader.last.closed


def test_a_broker_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise KafkaTimeoutError("nobody")

    monkeypatch.setattr(module, "KafkaConsumer", refuse)
    with pytest.raises(BrokerError, match="no answer from"):
        names(consumer())
