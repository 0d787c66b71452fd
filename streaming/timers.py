"""Which sessions wait for time, so that a tick finds them without reading all states.

A session stands in its partition's heap at most once, at a time not later than its true one; whoever takes it out
asks the state, and puts it back where it belongs. After a restart the heap is filled again by a sweep over the stored
states, a bounded piece on each tick.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

SWEEP = 2000
"""States looked at per tick while a partition is swept."""

TAKEN = 1000
"""Most sessions taken on one tick; the rest waits for the next."""


@dataclass(slots=True)
class _Partition:
    heap: list[tuple[int, str]] = field(default_factory=list)
    earliest: dict[str, int] = field(default_factory=dict)
    unswept: Iterator[tuple[str, int | None]] | None = None


class Timers:
    """The waiting sessions of the partitions that this worker owns.

    >>> timers = Timers()
    >>> timers.put(0, "a", 500); timers.put(0, "b", 200)
    >>> timers.take(0, 300)
    ['b']
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def __len__(self) -> int:
        """Sessions that wait."""
        return sum(len(partition.earliest) for partition in self._partitions.values())

    def clear(self) -> None:
        """Forget all: the assignment changed."""
        self._partitions.clear()

    def sweep(self, partition: int, states: Iterator[tuple[str, int | None]]) -> None:
        """Fill the partition's heap from `states` (session, time it waits for), piece by piece on the ticks to come."""
        self._partitions.setdefault(partition, _Partition()).unswept = states

    def swept(self, partition: int) -> bool:
        """True if every stored state of the partition has been looked at."""
        slot = self._partitions.get(partition)
        return slot is not None and slot.unswept is None

    def put(self, partition: int, session: str, due: int | None) -> None:
        """The session waits for `due`, in ms since the epoch; none: for nothing."""
        if due is None:
            return
        slot = self._partitions.setdefault(partition, _Partition())
        known = slot.earliest.get(session)
        if known is None or due < known:
            slot.earliest[session] = due
            heapq.heappush(slot.heap, (due, session))

    def take(self, partition: int, now: int) -> list[str]:
        """Take out the sessions that waited for a time up to `now`, earliest first, and sweep a piece."""
        slot = self._partitions.setdefault(partition, _Partition())
        self._sweep_piece(partition, slot)
        taken: list[str] = []
        while slot.heap and slot.heap[0][0] <= now and len(taken) < TAKEN:
            due, session = heapq.heappop(slot.heap)
            if slot.earliest.get(session) == due:
                del slot.earliest[session]
                taken.append(session)
        return taken

    def _sweep_piece(self, partition: int, slot: _Partition) -> None:
        if slot.unswept is None:
            return
        piece = list(itertools.islice(slot.unswept, SWEEP))
        for session, due in piece:
            self.put(partition, session, due)
        if len(piece) < SWEEP:
            slot.unswept = None
