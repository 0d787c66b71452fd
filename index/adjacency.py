"""Rows of neighbours, one an item, in one arena of slots; compiled.

A row is a block of `room` slots, `filled` of them in use, in no order. It grows by doubling to twice `limit`; when that
is full the `limit` heaviest stay. A block that was outgrown is used again for a row of its size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.vocabulary import Codes

SLOT = np.dtype([("weight", "i8"), ("after", "i4"), ("support", "i4"), ("low", "u4"), ("high", "u4")], align=True)
"""A neighbour: fixed-point sum of what it weighs, its code, meetings, lowest and highest tag of a visitor. 24 bytes."""
ITEM = np.dtype(
    [
        ("start", "i8"),  # of its row, in slots
        ("total", "i8"),  # fixed-point sum of all its pairs, those trimmed away included
        ("seen", "i8"),  # events
        ("heat", "i8"),  # fixed-point sum of its events, decayed
        ("filled", "i4"),
        ("room", "i4"),
    ],
    align=True,
)
"""An item and where its row lies. 40 bytes."""
NO_VISITOR = np.uint32(0xFFFF_FFFF)
UNIT = 1 << 16
"""What 1 is in fixed point: sums of whole numbers do not depend on their order."""
_SMALLEST = 4
_CLASSES = 32


def new_heap(used: int = 0) -> NDArray[np.int64]:
    """[slots in use, first free block of 4, of 8, of 16, ...; -1: none]."""
    return np.array([used] + [-1] * _CLASSES, np.int64)


def most_slots(window: int, limit: int) -> int:
    """Slots that one lesson can take at most."""
    return 2 * (window + 1) * 2 * limit


@njit
def room_for(filled: int, limit: int) -> int:
    """Room of a row of so many neighbours: the next of 4, 8, 16, ..., at most 2 * limit."""
    room = _SMALLEST
    while room < filled:
        room *= 2
    return min(room, 2 * limit)


@njit
def add(
    table: NDArray[np.void],
    slots: NDArray[np.void],
    heap: NDArray[np.int64],
    before: int,
    after: int,
    weight: np.int64,
    visitor: np.uint32,
    limit: int,
) -> None:
    """One more meeting in the row of `before`; a weight of 0 leaves no trace. The caller sees to `most_slots` free."""
    if weight == 0:
        return
    row = table[before]
    row["total"] += weight
    at = find(table, slots, before, after)
    if at < 0:
        if row["filled"] == row["room"]:
            if row["room"] >= 2 * limit:
                _trim(table, slots, before, limit)
            else:
                _grow(table, slots, heap, before, limit)
        at = row["start"] + row["filled"]
        row["filled"] += 1
        slots[at]["after"] = after
        slots[at]["weight"] = 0
        slots[at]["support"] = 0
        slots[at]["low"] = visitor
        slots[at]["high"] = visitor
    slot = slots[at]
    slot["weight"] += weight
    slot["support"] += 1
    slot["low"] = min(slot["low"], visitor)
    slot["high"] = max(slot["high"], visitor)


@njit
def find(table: NDArray[np.void], slots: NDArray[np.void], before: int, after: int) -> int:
    """The slot of a pair; -1: there is none."""
    start = table[before]["start"]
    for at in range(start, start + table[before]["filled"]):
        if slots[at]["after"] == after:
            return at
    return -1


@njit
def first_shown(
    table: NDArray[np.void],
    slots: NDArray[np.void],
    heats: int,
    befores: Codes,
    after: int,
    visitors: int,
    lift: float,
) -> tuple[int, float]:
    """As `CoOccurrence.first_pair`; place -1: none. `heats`: of all items together."""
    for place in range(len(befores)):
        before = befores[place]
        at = find(table, slots, before, after) if 0 <= before < len(table) and before != after else -1
        if at < 0:
            continue
        slot = slots[at]
        often, share = slot["weight"] / table[before]["total"], table[after]["heat"] / heats
        found = often / share if share > 0 else np.inf
        if (1 if slot["low"] == slot["high"] else 2) >= visitors and found >= lift:
            return place, found
    return -1, 0.0


@njit
def _size_class(room: int) -> int:
    size_class = 1
    while _SMALLEST << (size_class - 1) < room:
        size_class += 1
    return size_class


@njit
def _grow(table: NDArray[np.void], slots: NDArray[np.void], heap: NDArray[np.int64], item: int, limit: int) -> None:
    row = table[item]
    room = room_for(row["room"] + 1, limit)
    size_class = _size_class(room)
    start = heap[size_class]
    if start >= 0:
        heap[size_class] = slots[start]["weight"]  # a free block's first slot names the next one
    else:
        start = heap[0]
        heap[0] += room
    slots[start : start + row["filled"]] = slots[row["start"] : row["start"] + row["filled"]]
    if row["room"] > 0:
        size_class = _size_class(row["room"])
        slots[row["start"]]["weight"] = heap[size_class]
        heap[size_class] = row["start"]
    row["start"] = start
    row["room"] = room


@njit
def _trim(table: NDArray[np.void], slots: NDArray[np.void], item: int, limit: int) -> None:
    """Keeps the `limit` heaviest; those that came first among equals."""
    start, filled = table[item]["start"], table[item]["filled"]
    weights = np.empty(filled, np.int64)
    for at in range(filled):
        weights[at] = -slots[start + at]["weight"]
    least = -np.sort(weights)[limit - 1]
    equals = limit  # of those that weigh the least, how many stay
    for at in range(filled):
        equals -= slots[start + at]["weight"] > least
    kept = start
    for at in range(start, start + filled):
        weight = slots[at]["weight"]
        if weight == least:
            equals -= 1
            if equals < 0:
                continue
        if weight >= least:
            slots[kept] = slots[at]
            kept += 1
    table[item]["filled"] = kept - start


@njit
def learn(
    table: NDArray[np.void],
    slots: NDArray[np.void],
    heap: NDArray[np.int64],
    lessons: Codes,
    units: NDArray[np.float64],
    shares: NDArray[np.float64],
    backward: float,
    self_pairs: bool,
    visitors: NDArray[np.uint32],
    limit: int,
    damped: NDArray[np.float64],
    damping: float,
) -> int:
    """Lessons, one after the other. Adds up by how much the items' heat grew.

    Args:
        lessons: (n, 1 + places), codes: the item, then what was before it, nearest first; below 0: the pair does not
            count, or there is none.
        units: (n,), what a pair at distance 1 weighed then. shares: of it, by distance.
        visitors: (n,). damped: seen ** -damping, by item.
    """
    grown = np.int64(0)
    for lesson in range(len(lessons)):
        after, unit, visitor = lessons[lesson, 0], units[lesson], visitors[lesson]
        table[after]["seen"] += 1
        heat = np.int64(unit + 0.5)
        table[after]["heat"] += heat
        grown += heat
        damped[after] = table[after]["seen"] ** -damping
        for place in range(min(lessons.shape[1] - 1, len(shares))):
            before = lessons[lesson, 1 + place]
            if before < 0 or (before == after and not self_pairs):
                continue
            weight = unit * shares[place]
            add(table, slots, heap, before, after, np.int64(weight + 0.5), visitor, limit)
            if before != after:
                add(table, slots, heap, after, before, np.int64(weight * backward + 0.5), visitor, limit)
    return int(grown)
