"""What the batcher asks of Kafka's clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from streaming.event_queue import Received
from streaming.outputs import Outgoing


class Reader(Protocol):
    """What the batcher asks of the consumer; see `streaming.reading.HeldConsumer`."""

    def acknowledge(self, received: Sequence[Received]) -> None:
        """These records, the next of their partitions, need not be read again."""

    def fetch(self) -> None:
        """A round is nearly over: fetch for the next."""

    def committed(self, topic: str, partition: int) -> int | None:
        """The next offset that would be read after a restart."""

    def caught_up(self, topic: str, partition: int) -> bool:
        """True if nothing of the partition is left to be read."""

    def owned_partitions(self) -> set[int]:
        """The partitions whose state is here."""


class Writer(Protocol):
    """What the batcher asks of the producer; see `streaming.writing.FencedProducer`."""

    async def append(self, batches: Mapping[int, Sequence[tuple[bytes, bytes | None]]]) -> dict[int, int]:
        """Append to state partitions, each all or nothing; the last offset of each."""

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        """Send and wait for the confirmation of each."""
