"""Which live sessions a change of the catalogue concerns: an index from items to the sessions that saw them.

Every worker hears of every change and asks its own sessions. A session that comes from another worker is asked, as the
sweep over the stored states finds it, about the changes of the last minutes: its last owner may not have come to them.
What the session was told stands in its state, so that asking twice does no harm.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streaming.changes import Change
from streaming.moments import concerns
from streaming.said import tag
from streaming.sessions import SessionState, cart_tags
from streaming.teaching import SEARCH

RECENT_MS = 600_000
"""How long a change is kept for sessions that come from another worker."""
RECENT = 10_000
"""Items whose last change is kept for that, at most; the oldest are dropped."""
WAITING = 200_000
"""Notices that wait to be worked off, at most; what comes on top is dropped and counted."""

Place = tuple[int, str]
"""Partition and session."""
Name = str | bytes
"""Of an item: the id of one that was seen; of one in the cart the tag, which is all that a state has."""


class Waiting(NamedTuple):
    """A session that is to be asked about a change."""

    partition: int
    session: str
    change: Change


class Noticing:
    """The sessions that this worker owns, by what they saw. Bounded: those met last.

    >>> from streaming.sessions import FRESH, Step
    >>> from msgspec.structs import replace
    >>> noticing = Noticing(capacity=10)
    >>> noticing.watch(0, "s", replace(FRESH, last_time=5, history=(Step(5, 0, 0, "tea"),)))
    >>> noticing.heard([Change("tea", "price_drop", 0, 7, 9, 10.0, 9.0, "EUR")])
    >>> [(each.partition, each.session) for each in noticing.take(5)], len(noticing)
    ([(0, 's')], 0)
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._sessions: OrderedDict[Place, set[Name]] = OrderedDict()
        self._by_item: dict[Name, set[Place]] = {}
        self._recent: OrderedDict[bytes, Change] = OrderedDict()  # item -> its last change, the newest at the end
        self._waiting: deque[Waiting] = deque()
        self.dropped = 0
        """Notices that found no room."""

    def __len__(self) -> int:
        """Notices that wait."""
        return len(self._waiting)

    @property
    def watched(self) -> int:
        """Sessions in the index."""
        return len(self._sessions)

    def clear(self) -> None:
        """Forget the sessions, and what waits for them: the assignment changed."""
        self._sessions.clear()
        self._by_item.clear()
        self._waiting.clear()

    def watch(self, partition: int, session: str, state: SessionState | None) -> None:
        """The session is now in this state; None or closed: there is nothing to tell it any more."""
        place = (partition, session)
        items = _items(state) if self._capacity and state is not None and not state.closed else set()
        before = self._sessions.pop(place, set())
        for item in before - items:
            self._drop(item, place)
        for item in items - before:
            self._by_item.setdefault(item, set()).add(place)
        if not items:
            return
        self._sessions[place] = items
        if len(self._sessions) > self._capacity:
            oldest, left = self._sessions.popitem(last=False)
            for item in left:
                self._drop(item, oldest)

    def swept(self, partition: int, session: str, state: SessionState, now: int) -> None:
        """As `watch`, of a session that came with its partition: it is asked about the changes of the last minutes.

        Args:
            now: wall time, ms since the epoch.
        """
        if (partition, session) not in self._sessions:
            self.watch(partition, session, state)
        if not self._recent or not self._capacity or state.closed:
            return
        tags = {tag(item) if isinstance(item, str) else item for item in _items(state)}
        changes = [self._recent[item] for item in sorted(tags) if item in self._recent]
        current = [each for each in changes if each.time >= now - RECENT_MS and concerns(each, state)]
        self._wait(Waiting(partition, session, each) for each in current)

    def heard(self, changes: Sequence[Change]) -> None:
        """The catalogue changed: the sessions that saw the items are to be asked."""
        for change in changes:
            item = tag(change.item_id)
            self._recent[item] = change
            self._recent.move_to_end(item)
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
            places = sorted({*self._by_item.get(change.item_id, ()), *self._by_item.get(item, ())})
            self._wait(Waiting(partition, session, change) for partition, session in places)

    def take(self, most: int) -> list[Waiting]:
        """The next that are to be asked, in the order in which they came to wait."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def put_back(self, notice: Waiting) -> None:
        """It could not be asked yet."""
        self._wait([notice])

    def _wait(self, notices: Iterable[Waiting]) -> None:
        for notice in notices:
            if len(self._waiting) < WAITING:
                self._waiting.append(notice)
            else:
                self.dropped += 1

    def _drop(self, item: Name, place: Place) -> None:
        places = self._by_item[item]
        places.discard(place)
        if not places:
            del self._by_item[item]


def _items(state: SessionState) -> set[Name]:
    """What the session saw or has in its cart."""
    seen: set[Name] = {step.subject for step in state.history if step.number != SEARCH}
    return seen.union(cart_tags(state))
