"""From decisions to the records that leave: which topic, which key, which bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streaming import codec, topics
from streaming.decisions import Decision
from streaming.intake import DeadLetter, Event
from streaming.records import Learned, Receipt, Record, Transition


class Outgoing(NamedTuple):
    """A Kafka record that is to be written."""

    topic: str
    """With its prefix."""
    partition: int | None
    """None: by the key, as Kafka's default partitioner does it."""
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None


class Outputs:
    """Names and encodes what a worker writes."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def decided(self, decision: Decision) -> Iterator[Outgoing]:
        """What one decision sends: at most one of prediction and suppressed, the closing record of a session,
        and a label of each head that reads the event's text."""
        if decision.closed is not None:
            yield self._keyed(topics.SESSIONS, decision.closed.session_id, decision.closed)
        if decision.prediction is not None:
            yield self._keyed(topics.PREDICTIONS, decision.prediction.session_id, decision.prediction)
        elif decision.suppressed is not None:
            yield self._keyed(topics.SUPPRESSED, decision.suppressed.prediction.session_id, decision.suppressed)
        for label in decision.labels:
            yield self._keyed(topics.LABELS, label.session_id, label)

    def learned(self, decisions: Iterable[Decision]) -> Iterator[Outgoing]:
        """What the decisions' events taught, one record per source partition, offsets ascending."""
        taught: dict[tuple[int, int], list[Transition]] = {}
        for decision in decisions:
            if decision.taught is not None and isinstance(decision.event, Event):
                source = decision.event.source
                taught.setdefault((source.topic, source.partition), []).append(decision.taught)
        for (topic, partition), transitions in taught.items():
            record = Learned(topic=topics.SOURCES[topic].name, partition=partition, transitions=transitions)
            yield self._record(topics.LEARNED, partition, None, record)

    def dead(self, letter: DeadLetter, partition: int) -> Outgoing:
        """A record that was set aside, on the partition it came from."""
        return Outgoing(self._prefix + topics.DEAD_LETTERS.name, partition, letter.key, letter.value, letter.headers)

    def receipt(self, receipt: Receipt) -> Outgoing:
        """What a control record did here."""
        return self._keyed(topics.RECEIPTS, receipt.control_id, receipt)

    def tick(self, partition: int, value: bytes) -> Outgoing:
        """Time passes on one partition."""
        return Outgoing(self._prefix + topics.TICKS.name, partition, None, value, codec.HEADERS)

    def _keyed(self, topic: topics.Topic, key: str, record: Record) -> Outgoing:
        return self._record(topic, None, key.encode(), record)

    def _record(self, topic: topics.Topic, partition: int | None, key: bytes | None, record: Record) -> Outgoing:
        return Outgoing(self._prefix + topic.name, partition, key, codec.encode(record), codec.HEADERS)
