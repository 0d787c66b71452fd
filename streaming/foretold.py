"""How much of what came was foretold: hits of predictions on the rest of their sessions, beside popularity's.

A prediction made at an event is a hit if any item that it offers comes strictly later in the same session. Popularity
answers at the very same moments, with as many items, none of which the session has had by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streaming.evaluation.bootstrap import draw


@dataclass(frozen=True, slots=True)
class Foretold:
    """What was measured."""

    n: int
    """Predictions with items whose session went on."""
    sessions: int
    """Sessions that they belong to."""
    hit_rate: float
    hit_rate_popularity: float
    low: float
    high: float
    """95 % interval of the difference of the two, by paired bootstrap over sessions."""


class Sessions:
    """Who had what, in order: the answers that predictions are held against.

    >>> sessions = Sessions([("a", "tea"), ("a", "mug"), ("b", "tea"), ("a", "milk")])
    >>> sessions.rest("a", 1) == {"milk"}, sessions.until("a", 1) == {"tea", "mug"}
    (True, True)
    """

    def __init__(self, events: Sequence[tuple[str, str]]) -> None:
        """`events`: session and item of each, in time order."""
        self._items: dict[str, list[str]] = {}
        self.places: list[tuple[str, int]] = []
        """Session, and place in it, of each event."""
        for session, item in events:
            items = self._items.setdefault(session, [])
            self.places.append((session, len(items)))
            items.append(item)

    def __len__(self) -> int:
        """Sessions."""
        return len(self._items)

    def rest(self, session: str, place: int) -> set[str]:
        """Items strictly after the place."""
        return set(self._items[session][place + 1 :])

    def until(self, session: str, place: int) -> set[str]:
        """Items up to the place, its own included."""
        return set(self._items[session][: place + 1])


def measure(offers: Mapping[int, Sequence[str]], sessions: Sessions, popular: Sequence[str]) -> Foretold:
    """Hit rates of what was offered.

    Args:
        offers: by the number of the event that they were made at, the items offered.
        popular: items, the most popular first, of the past alone.
    """
    hits: list[tuple[str, bool, bool]] = []
    for number in sorted(offers):
        session, place = sessions.places[number]
        rest, items = sessions.rest(session, place), offers[number]
        if rest and items:
            by_popularity = best_of(popular, sessions.until(session, place), len(items))
            hits.append((session, not rest.isdisjoint(items), not rest.isdisjoint(by_popularity)))
    if not hits:
        return Foretold(0, 0, 0.0, 0.0, 0.0, 0.0)
    low, high = interval(hits)
    ours, theirs = (sum(column) / len(hits) for column in list(zip(*hits, strict=True))[1:])
    return Foretold(len(hits), len({session for session, *_ in hits}), ours, theirs, low, high)


def best_of(popular: Sequence[str], without: set[str], count: int) -> list[str]:
    """The first `count` of `popular` that are not in `without`."""
    found: list[str] = []
    for item in popular:
        if len(found) == count:
            break
        if item not in without:
            found.append(item)
    return found


def interval(hits: Sequence[tuple[str, bool, bool]]) -> tuple[float, float]:
    """95 % interval of (our hit rate - theirs): percentiles of a bootstrap that draws whole sessions.

    Args:
        hits: session, ours, theirs, of each moment.
    """
    numbers = {session: number for number, session in enumerate(dict.fromkeys(session for session, *_ in hits))}
    groups = np.array([numbers[session] for session, *_ in hits], dtype=np.int64)
    sides = np.array([(ours, theirs) for _, ours, theirs in hits], dtype=np.float64)  # (moments, 2)
    return draw(sides, groups).difference(0, 1)
