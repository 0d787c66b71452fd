"""What time it is on a partition, and which sessions wait for it, so that a tick need not read all states.

A session stands in its partition's heap at most once, at a time not later than its true one; whoever takes it out
asks the state, and puts it back where it belongs. After a restart the heap is filled again by a sweep over the stored
states, a bounded piece on each tick.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

EVENT_TOPICS = (0, 1)
"""Places of `clicks` and `browses` in `topics.SOURCES`."""

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


TICKS_KEPT = 600
"""Ticks of one partition that wait for events sent before them; of more the oldest are dropped, newer ones say more."""


class Clock:
    """Lets a tick count only when the events that were sent before it have been worked off.

    Ticks and events stand on different topics, and a worker that catches up may read a tick hours before the events it
    follows: sessions would be closed that are alive. A tick passes, for each event topic of its partition, once a
    record that was sent after it has been worked off, or nothing is left to be read.

    >>> clock = Clock()
    >>> clock.ticked(0, sent=100, time=1_000)
    >>> clock.passed(lambda topic, partition: False)
    {}
    >>> clock.worked(0, 0, sent=101); clock.worked(1, 0, sent=120)
    >>> clock.passed(lambda topic, partition: False)
    {0: 1000}
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[int, int], int] = {}
        self._waiting: dict[int, deque[tuple[int, int]]] = {}

    def worked(self, topic: int, partition: int, sent: int) -> None:
        """A record of an event topic, sent at this time by Kafka's clock, is being worked off."""
        place = (topic, partition)
        self._newest[place] = max(sent, self._newest.get(place, 0))

    def ticked(self, partition: int, sent: int, time: int) -> None:
        """A tick was read; `time` is what it says, `sent` when it was sent."""
        self._waiting.setdefault(partition, deque(maxlen=TICKS_KEPT)).append((sent, time))

    def passed(self, nothing_left: Callable[[int, int], bool]) -> dict[int, int]:
        """What time it has become, by partition, where it went on; asked with (topic, partition)."""
        times: dict[int, int] = {}
        for partition, ticks in self._waiting.items():
            while ticks and all(
                self._newest.get((topic, partition), -1) > ticks[0][0] or nothing_left(topic, partition)
                for topic in EVENT_TOPICS
            ):
                times[partition] = max(ticks.popleft()[1], times.get(partition, 0))
        return times
