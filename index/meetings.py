"""Which pairs of a session count, and the sums over all sessions at once.

A pair of items counts at an event when the other item stands among the `window` events before, unless the two had met
already in this session, not more than half an hour and MEMORY events ago. `lesson_context` says it for one event of a
live session; `count_meetings` for every event of a log; both alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.adjacency import ITEM, NO_VISITOR, SLOT, room_for
from index.vocabulary import Codes

MEMORY = 20
"""Events of a session, the newest included, among which two items may have met before."""
PERIOD_MS = 30 * 60 * 1000
"""A pair counts once in this time in a session; a bot that reloads two pages adds nothing."""
CONTEXT = 10
"""Items before an event that it is taught with, at most."""
WIDEST = 62
"""Places of a window at most: a place is a bit."""


def visitor_tag(name: str) -> int:
    """32 bits that stand for a visitor or, where nobody is known, for a session. CRC-32 of the UTF-8 bytes."""
    return zlib.crc32(name.encode())


def lesson_context(items: Sequence[str], times: Sequence[int], window: int) -> list[str]:
    """What the newest event of a session teaches with: `Lesson.context`.

    Args:
        items: of the session's events that teach, oldest first, the event itself last. More than MEMORY are cut.
        times: of the same events, ms.

    Returns:
        The items before it, nearest first, one a place; "" where the pair does not count. The event's own item may be
        among them: a table without `self_pairs` passes it over.

    >>> lesson_context(["tea", "mug", "tea", "pot"], [0, 1, 2, 3], window=10)
    ['tea', 'mug', '']
    >>> lesson_context(["tea", "mug", "tea"], [0, 1, 2], window=10)
    ['', 'tea']
    """
    last = len(items) - 1
    after, since = items[last], times[last] - PERIOD_MS
    oldest = max(0, len(items) - max(MEMORY, window + 1))
    met = {
        items[other]
        for place in range(oldest, last)
        if items[place] == after
        for other in range(max(oldest, place - window), min(last, place + window + 1))
        if other != place and times[max(other, place)] > since
    }
    context = []
    for place in range(last - 1, max(oldest, last - window) - 1, -1):
        item = items[place]
        context.append("" if item in met else item)
        met.add(item)
    return context


@njit
def counted_places(
    sessions: NDArray[np.int64], items: Codes, times: NDArray[np.int64], window: int, memory: int, period: int
) -> NDArray[np.int64]:
    """Of each event, the places before it whose pairs count, as bits: bit d - 1 stands for distance d.

    Args:
        sessions: the events come session by session.
        times: ms; empty: everything happened within the period.
    """
    counted = np.zeros(len(items), np.int64)
    first = 0
    for event in range(len(items)):
        if sessions[event] != sessions[first]:
            first = event
        oldest = max(first, event + 1 - memory)
        after = items[event]
        repeated = False
        for place in range(oldest, event):
            repeated |= items[place] == after
        for distance in range(1, min(window, event - oldest) + 1):
            item = items[event - distance]
            fresh = True
            for nearer in range(event - distance + 1, event):
                fresh &= items[nearer] != item
            if repeated and fresh:
                for place in range(oldest, event):
                    if items[place] != after:
                        continue
                    for other in range(max(oldest, place - window), min(event, place + window + 1)):
                        if items[other] == item and other != place:
                            late = len(times) > 0 and times[max(other, place)] <= times[event] - period
                            fresh &= late
            if fresh:
                counted[event] |= 1 << (distance - 1)
    return counted


@njit
def count_meetings(
    items: Codes,
    visitors: NDArray[np.uint32],
    counted: NDArray[np.int64],
    units: NDArray[np.float64],
    shares: NDArray[np.float64],
    backward: float,
    self_pairs: bool,
    size: int,
    limit: int,
) -> tuple[NDArray[np.void], NDArray[np.void], int]:
    """Rows of all items from all events: exact sums first, the `limit` heaviest kept then; of equals the lower code.

    Args:
        items: of each event, session by session.
        visitors: tag of each event's visitor.
        counted: what `counted_places` said of each event.
        units: what a pair at distance 1 weighs at each event.
        shares: (window,): of it, by distance.
        size: items there are.

    Returns:
        table (size,) of ITEM, slots of SLOT, slots in use.
    """
    table = np.zeros(size, ITEM)
    slots = np.zeros(max(64, 4 * len(items)), SLOT)
    used = 0
    starts = np.zeros(size + 1, np.int64)
    for event in range(len(items)):
        starts[items[event] + 1] += 1
        table[items[event]]["seen"] += 1
        table[items[event]]["heat"] += np.int64(units[event] + 0.5)
    starts = np.cumsum(starts)
    filled = starts[:-1].copy()
    events = np.empty(len(items), np.int64)  # item by item
    for event in range(len(items)):
        events[filled[items[event]]] = event
        filled[items[event]] += 1

    sums = np.zeros(size, SLOT)
    partners = np.empty(size, np.int32)
    for item in range(size):
        met = 0
        for at in range(starts[item], starts[item + 1]):
            event = events[at]
            for side in range(2):  # 0: the item is the later of the pair; 1: it is the earlier
                for distance in range(1, len(shares) + 1):
                    later = event + distance * side
                    if later >= len(items) or not (counted[later] >> (distance - 1)) & 1:
                        continue
                    other = items[event + distance if side else event - distance]
                    if other == item and not (side and self_pairs):
                        continue
                    weight = np.int64(units[later] * shares[distance - 1] * (1.0 if side else backward) + 0.5)
                    if weight == 0:
                        continue
                    if sums[other]["support"] == 0:
                        partners[met] = other
                        met += 1
                        sums[other]["low"] = NO_VISITOR
                        sums[other]["high"] = 0
                    sums[other]["weight"] += weight
                    sums[other]["support"] += 1
                    sums[other]["low"] = min(sums[other]["low"], visitors[later])
                    sums[other]["high"] = max(sums[other]["high"], visitors[later])
        if met == 0:
            continue
        found = np.sort(partners[:met])
        weights = np.empty(met, np.int64)
        for at in range(met):
            weights[at] = -sums[found[at]]["weight"]
        heaviest = np.argsort(weights, kind="mergesort")
        kept = min(met, limit)
        room = room_for(kept, limit)
        if used + room > len(slots):
            longer = np.zeros(2 * len(slots) + room, SLOT)
            longer[:used] = slots[:used]
            slots = longer
        table[item]["start"] = used
        table[item]["room"] = room
        table[item]["filled"] = kept
        table[item]["total"] = -np.sum(weights)
        for at in range(kept):
            other = found[heaviest[at]]
            slots[used + at] = sums[other]
            slots[used + at]["after"] = other
        for at in range(met):
            sums[found[at]]["weight"] = 0
            sums[found[at]]["support"] = 0
        used += room
    return table, slots, used
