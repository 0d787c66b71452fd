"""What could not be read, seen by an operator: dead letters listed, and put back where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streaming import topics
from streaming.delivery import Delivery
from streaming.settings import Settings
from streaming.tail import KafkaRecord, tail


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter as it stands on its topic."""

    partition: int
    """On `dead-letters`, with `offset`: names the letter."""
    offset: int
    key: bytes | None
    value: bytes | None
    """As it came; the first 64 KiB of a longer one."""
    error: str
    """A code."""
    message: str
    """For people."""
    source_topic: str
    """With its prefix."""
    source_partition: int | None
    source_offset: int | None
    time: int | None
    """When the record was sent, in ms since the epoch."""
    attempt: int
    """How often it has failed."""
    size: int
    """Bytes of the whole value."""
    truncated: bool
    """Whether value or key were cut to 64 KiB."""

    @property
    def why_not(self) -> str | None:
        """Why it cannot be sent again, or None where it can."""
        if self.truncated:
            return (
                f"its value of {self.size} bytes, or its key, was kept only up to {topics.KEPT_BYTES} bytes;"
                " send it from its source"
            )
        if not self.source_topic:
            return "it does not say which topic it came from"
        if self.key is None and self.value is None:
            return "it has neither key nor value, which no topic takes"
        return None


def read_letters(settings: Settings, *, error: str | None = None) -> Iterator[Letter]:
    """The dead letters that are kept (7 days), oldest first within a partition; with `error` only those of this code.

    Raises:
        InputError: the topic is not there.
        BrokerError: no broker answers.
    """
    for record in tail(settings, [settings.topics.prefix + topics.DEAD_LETTERS.name]):
        letter = _letter(record)
        if error is None or letter.error == error:
            yield letter


def put_back(letter: Letter, delivery: Delivery) -> None:
    """The original bytes onto the source topic, with the same key; `letter.why_not` has to be None.

    The header `attempt` goes along, so that the letter of another failure says one more. The old letter stays where it
    is until its time is over: whoever retries twice sends twice. An event with an `event_id` is taken once all the
    same; one without is taken as often as it is sent.

    Raises:
        InputError, BrokerError: as `Delivery.send`.
    """
    ticks = letter.source_topic.endswith(topics.TICKS.name) and letter.key is None
    delivery.send(
        letter.source_topic,
        letter.value,
        letter.key,
        headers=[("attempt", b"%d" % letter.attempt)],
        partition=letter.source_partition if ticks else None,
    )


def _letter(record: KafkaRecord) -> Letter:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    size = len(record.value or b"")
    return Letter(
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        error=headers.get("error", ""),
        message=headers.get("message", ""),
        source_topic=headers.get("topic", ""),
        source_partition=_number(headers.get("partition")),
        source_offset=_number(headers.get("offset")),
        time=_number(headers.get("time")),
        attempt=_number(headers.get("attempt")) or 1,
        size=_number(headers.get("length")) or size,
        truncated="truncated" in headers or "key_length" in headers,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.removeprefix("-").isdigit() else None
