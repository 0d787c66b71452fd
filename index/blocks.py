"""Lists of entries that grow and shrink in one array.

A list is a run of entries in a block; block sizes are powers of two, and a free block waits in the list of its size,
its first entry's time naming the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit

Rows = NDArray[np.void]
Numbers = NDArray[np.int64]

ENTRY = np.dtype([("time", np.int64), ("number", np.int32), ("back", np.uint8), ("depth", np.uint8)], align=True)
"""What a list holds: a number, by the time that its list is sorted by. What the others are, the list's owner knows."""
LIST = [("start", np.int32), ("first", np.int32), ("length", np.int32), ("size", np.int32)]
"""Fields of a list: its block of `size` entries at `start`; itself `length` entries from start + first on."""

# State, as an array so that kernels can write it.
TOP, FREE_BLOCK = 0, 1
"""The first entry never used; the first free block of one entry, of two, four, ... in the places behind. -1: none."""
BLOCKS = FREE_BLOCK + 31
"""Places of the state that are taken."""


@njit
def _order(size: int) -> int:
    order = 0
    while 1 << order < size:
        order += 1
    return order


@njit
def wanted(row: Any) -> int:
    """The size of the block that a list needs for one more entry; 0: it has room in its own."""
    if row.first + row.length < row.size or (row.size and 2 * row.length <= row.size):
        return 0
    return int(max(1, 2 * row.size))


@njit
def insert(state: Numbers, entries: Rows, row: Any, place: int, time: int, number: int) -> None:
    """One more entry at a place of a list. There is room for it: `wanted`."""
    if row.first + row.length == row.size:
        _make_room(state, entries, row)
    end = row.start + row.first + row.length
    for at in range(end, row.start + row.first + place, -1):
        entries[at] = entries[at - 1]
    entries[row.start + row.first + place].time = time
    entries[row.start + row.first + place].number = number
    row.length += 1


@njit
def _make_room(state: Numbers, entries: Rows, row: Any) -> None:
    """Moves a list to the start of its block, or to a block of twice the size."""
    begin, target = row.start + row.first, row.start
    size = wanted(row)
    if size:
        order = _order(size)
        target = state[FREE_BLOCK + order]
        if target >= 0:
            state[FREE_BLOCK + order] = entries[target].time
        else:
            target = state[TOP]
            state[TOP] += size
    for step in range(row.length):
        entries[target + step] = entries[begin + step]
    if size:
        _free(state, entries, row)
        row.start, row.size = target, size
    row.first = 0


@njit
def _free(state: Numbers, entries: Rows, row: Any) -> None:
    """Gives a list's block back."""
    if row.size:
        order = _order(row.size)
        entries[row.start].time = state[FREE_BLOCK + order]
        state[FREE_BLOCK + order] = row.start
    row.start, row.first, row.size = 0, 0, 0


@njit
def remove(state: Numbers, entries: Rows, row: Any, place: int) -> None:
    """Takes the entry at a place out of a list."""
    begin = row.start + row.first
    if 2 * place < row.length:
        for at in range(begin + place, begin, -1):
            entries[at] = entries[at - 1]
        row.first += 1
    else:
        for at in range(begin + place, begin + row.length - 1):
            entries[at] = entries[at + 1]
    row.length -= 1
    if row.length == 0:
        _free(state, entries, row)
