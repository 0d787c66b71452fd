"""What waits between the agents, which read, and the batcher, which works: bounded, in order, cut into batches."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from streaming.changes import Change
from streaming.settings import WorkerSettings


class Received(NamedTuple):
    """A record as the agents hand it over."""

    message: Any
    """aiokafka's: topic, partition, offset, timestamp in ms, key, value, headers."""
    generation: int
    """The assignment under which it was read."""


@dataclass(slots=True)
class Forget:
    """An order to forget sessions and users, each as they were before a time; the future gets how many there were."""

    sessions: Mapping[str, int]
    """Pseudonym to time in ms since the epoch: a session that began later is a new one, and stays."""
    users: Mapping[str, int]
    done: asyncio.Future[int]


@dataclass(slots=True)
class News:
    """What the catalogue changed, for the sessions that it concerns. Empty: some of them still wait to be asked."""

    changes: Sequence[Change] = ()


Order = Forget | News
"""What is no record."""


class EventQueue:
    """Records and orders, first in, first out. When it is full, whoever puts waits, and reading stops."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._queue: asyncio.Queue[Received | Order] = asyncio.Queue(settings.queue_events)
        self._held_over: Received | None = None
        self._places: Counter[tuple[str, int]] = Counter()

    def __len__(self) -> int:
        """Records and orders that wait."""
        return self._queue.qsize() + (self._held_over is not None)

    def holds(self, topic: str, partition: int) -> bool:
        """Whether a record of this partition waits, or is on its way in."""
        return self._places[topic, partition] > 0

    async def put(self, *received: Received | Order) -> None:
        """Hand over the next records of a partition, or an order; waits while the queue is full."""
        for each in received:
            if not isinstance(each, Order):
                self._places[each.message.topic, each.message.partition] += 1
        for each in received:
            await self._queue.put(each)

    def nudge(self) -> None:
        """Have one more batch, though nothing new may come; where the queue is full there is one anyway."""
        if not self._queue.full():
            self._queue.put_nowait(News())

    async def collect(self, times: int = 1) -> list[Received | Order]:
        """The next batch, up to so many times `batch_events`: what is there already, or comes within `batch_wait_ms` of
        the first.

        A batch ends where a key comes from a second partition (a site with two partitioners): a session's state is
        that of one partition, and must not be mixed.
        """
        batch: list[Received | Order] = []
        partitions: dict[bytes, int] = {}
        end = None
        while len(batch) < times * self._settings.batch_events:
            received = self._held_over or await self._next(end)
            self._held_over = None
            if received is None:
                break
            if not isinstance(received, Order):
                message = received.message
                if (
                    message.key is not None
                    and partitions.setdefault(message.key, message.partition) != message.partition
                ):
                    self._held_over = received
                    break
                self._places[message.topic, message.partition] -= 1
            batch.append(received)
            end = end or time.monotonic() + self._settings.batch_wait_ms / 1000
        return batch

    async def _next(self, end: float | None) -> Received | Order | None:
        """The next of the queue; none where none comes until `end`."""
        if end is None:
            return await self._queue.get()
        try:
            return self._queue.get_nowait()
        except asyncio.QueueEmpty:
            left = end - time.monotonic()
        if left <= 0:
            return None
        try:
            return await asyncio.wait_for(self._queue.get(), left)
        except TimeoutError:
            return None
