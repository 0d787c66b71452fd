"""What a batch decided, appended to the changelog in one piece with the states that say so, before any of it is sent.

A crash between sending and remembering would have an event decided again, and not always alike: two topics interleave
otherwise the next time, and the event that was a session's first may then be its second, under another id. So the
states of a partition and the records that go with them are one atomic record batch: either the events are applied, and
whoever owns the partition next sends what the outbox holds, or they were never decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from streaming import codec
from streaming.outputs import Outgoing
from streaming.records import Record
from streaming.topics import OUTBOX_KEY

MAX_BYTES = 900 * 1024
"""Most that is appended at once; a batch that comes to more is decided in halves. Kafka's limit is that of the topic,
2 MiB."""

_OVERHEAD = 80
"""Bytes of a record's own, at most."""


class Sealed(Struct, array_like=True, gc=False):
    """A record that is to be delivered; its header is the schema version."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None


class Outbox(Record, kw_only=True):
    """The last batch's records of one partition. On the changelog under `topics.OUTBOX_KEY`."""

    upto: list[int] | None
    """Last offset decided, by place in `topics.SOURCES`, -1: none. Once these are committed, all was delivered. None:
    something fell due in it, of which no offset tells."""
    records: list[Sealed]

    def outgoing(self) -> list[Outgoing]:
        """The records, as they are written."""
        return [Outgoing(each.topic, each.partition, each.key, each.value, codec.HEADERS) for each in self.records]

    def delivered(self, committed: Callable[[int], int | None]) -> bool:
        """Whether the offsets show that all was delivered; `committed` gives the next offset to be read of a topic."""
        if self.upto is None:
            return False
        return all(offset < 0 or (committed(topic) or 0) > offset for topic, offset in enumerate(self.upto))


@dataclass(slots=True)
class Append:
    """What one batch adds to one partition of the changelog, at once or not at all."""

    states: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    """Session and encoded state; none deletes it."""
    outgoing: list[Outgoing] = field(default_factory=list)
    upto: list[int] | None = None

    def records(self) -> list[tuple[bytes, bytes | None]]:
        """Key and value of each record, the outbox first."""
        if not self.outgoing:
            return self.states
        sealed = [Sealed(each.topic, each.partition, each.key, each.value) for each in self.outgoing]
        return [(OUTBOX_KEY, codec.encode(Outbox(upto=self.upto, records=sealed))), *self.states]


def size(records: Sequence[tuple[bytes, bytes | None]]) -> int:
    """Bytes of the records as a batch, at most."""
    return sum(len(key) + len(value or b"") + _OVERHEAD for key, value in records)
