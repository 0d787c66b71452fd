from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streaming import dead_letters as module
from streaming import topics
from streaming.dead_letters import put_back, read_letters
from streaming.intake import DeadLetter, Intake, Source
from streaming.privacy import Pseudonyms
from streaming.settings import Settings

INTAKE = Intake(Pseudonyms(None), "beforehand.")
TIME = 1_700_000_000_000


def written(topic: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]] | None = None) -> Any:
    """The record on `dead-letters` that the intake makes of one it refuses."""
    letter = INTAKE.accept(Source(topic, 3, 41, TIME), key, value, headers or [])
    assert isinstance(letter, DeadLetter)
    return SimpleNamespace(partition=1, offset=9, key=letter.key, value=letter.value, headers=letter.headers)


@pytest.fixture
def on_topic(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    rows: list[Any] = []

    def tail(settings: Settings, names: list[str]) -> list[Any]:
        assert names == ["beforehand.dead-letters"]
        return rows

    monkeypatch.setattr(module, "tail", tail)
    return rows


class Outbox:
    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def send(self, topic: str, value: Any, key: Any, *, headers: Any, partition: Any) -> None:
        self.sent.append((topic, key, value, headers, partition))


def test_a_letter_says_all_that_the_intake_wrote(on_topic: list[Any]) -> None:
    on_topic.append(written(0, b"k", b"\xc1"))
    (letter,) = read_letters(Settings())
    assert (letter.partition, letter.offset, letter.key, letter.value) == (1, 9, b"k", b"\xc1")
    assert (letter.error, letter.attempt, letter.truncated, letter.size) == ("not_msgpack", 1, False, 1)
    source = (letter.source_topic, letter.source_partition, letter.source_offset, letter.time)
    assert source == ("beforehand.clicks", 3, 41, TIME)
    assert letter.why_not is None


def test_letters_are_chosen_by_error(on_topic: list[Any]) -> None:
    on_topic += [written(0, b"k", b"\xc1"), written(0, None, b"x"), written(1, b"k", b"\xc1")]
    assert [letter.error for letter in read_letters(Settings(), error="null_key")] == ["null_key"]


@pytest.mark.parametrize(("topic", "partition"), [(0, None), (1, None), (2, 3)])
def test_the_original_bytes_go_back_to_their_topic_and_a_tick_to_its_partition(
    on_topic: list[Any], topic: int, partition: int | None
) -> None:
    key = None if topics.SOURCES[topic] is topics.TICKS else b"k"
    on_topic.append(written(topic, key, b"\xc1"))
    outbox = Outbox()
    put_back(next(iter(read_letters(Settings()))), outbox)  # type: ignore[arg-type]
    name = f"beforehand.{topics.SOURCES[topic].name}"
    assert outbox.sent == [(name, key, b"\xc1", [("attempt", b"1")], partition)]


def test_attempts_add_up_over_retries(on_topic: list[Any]) -> None:
    headers: list[tuple[str, bytes]] = []
    for attempt in (1, 2, 3):
        on_topic[:] = [written(0, b"k", b"\xc1", headers)]
        (letter,) = read_letters(Settings())
        assert letter.attempt == attempt
        outbox = Outbox()
        put_back(letter, outbox)  # type: ignore[arg-type]
        headers = outbox.sent[0][3]


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (b"k", b"x" * (topics.MAX_VALUE_BYTES + 1), "its value of 1048577 bytes"),
        (b"k" * (topics.KEPT_BYTES + 1), b"\xc1", "or its key"),
        (None, None, "neither key nor value"),
    ],
)
def test_what_cannot_be_sent_again_says_why(
    on_topic: list[Any], key: bytes | None, value: bytes | None, why: str
) -> None:
    on_topic.append(written(0, key, value))
    (letter,) = read_letters(Settings())
    assert why in (letter.why_not or "")


def test_a_record_that_is_no_letter_of_ours_is_shown_and_not_sent(on_topic: list[Any]) -> None:
    headers = [("partition", b"x"), ("attempt", None), ("message", b"\xff")]
    on_topic.append(SimpleNamespace(partition=0, offset=0, key=b"k", value=b"v", headers=headers))
    (letter,) = read_letters(Settings())
    assert (letter.error, letter.source_partition, letter.attempt) == ("", None, 1)
    assert letter.why_not == "it does not say which topic it came from"
