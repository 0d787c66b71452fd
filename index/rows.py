"""The vectors of items where they lie, in a snapshot or in the side index; compiled, so that what a ranking compares is
read in place and not copied together first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.exact import Vectors
from index.vocabulary import Codes

Flags = NDArray[np.bool_]
NOWHERE = -1
_REASSOCIATED = {"reassoc", "contract"}
"""Sums in lanes: in an order of their own, and the same one for every row."""


@njit(inline="always")
def _row(home: Codes, gone: Flags, side_home: Codes, code: int) -> int:
    """0 and up: the row of the snapshot; below -1: row -2, -3, ... of the side; NOWHERE."""
    if 0 <= code < len(home):
        row = home[code]
        if row >= 0 and not gone[row]:
            return int(row)
    if 0 <= code < len(side_home) and side_home[code] >= 0:
        return -2 - int(side_home[code])
    return NOWHERE


@njit
def there(home: Codes, gone: Flags, side_home: Codes, codes: Codes) -> Flags:
    """Whether there is a vector of each item, (n,)."""
    found = np.empty(len(codes), np.bool_)
    for place in range(len(codes)):
        found[place] = _row(home, gone, side_home, codes[place]) != NOWHERE
    return found


@njit
def taken(
    main: Vectors, home: Codes, gone: Flags, side: Vectors, side_home: Codes, codes: Codes, width: int
) -> Vectors:
    """A copy of the first `width` columns of each item's vector, (n, width); zeros where there is none."""
    found = np.zeros((len(codes), width), np.float32)
    for place in range(len(codes)):
        row = _row(home, gone, side_home, codes[place])
        for column in range(width if row != NOWHERE else 0):
            found[place, column] = main[row, column] if row >= 0 else side[-2 - row, column]
    return found


@njit(fastmath=_REASSOCIATED)
def _inner(one: Vectors, other: Vectors) -> np.float32:
    total = np.float32(0)
    for column in range(len(one)):
        total += one[column] * other[column]
    return total


@njit
def crossed(ones: Vectors, others: Vectors, width: int) -> Vectors:
    """Inner products of each of these rows with each of those, over the first `width` columns: (ones, others). A
    number is to the bit independent of the other rows."""
    found = np.empty((len(ones), len(others)), np.float32)
    for place in range(len(ones)):
        for at in range(len(others)):
            found[place, at] = _inner(ones[place, :width], others[at, :width])
    return found


@njit
def nearest(ones: Vectors, codes: Codes, others: Vectors, their_codes: Codes, least: float) -> NDArray[np.int64]:
    """Of each of these rows the place of the one among those with which it has the greatest inner product, the first of
    equals, (ones,); -1: none has `least`. A row is passed over that has the same code.

    Args:
        ones, others: (n, width), (m, width)
        codes, their_codes: (n,), (m,)
    """
    found = np.full(len(ones), -1, np.int64)
    for place in range(len(ones)):
        most = -np.inf
        for at in range(len(others)):
            product = np.float64(_inner(ones[place], others[at]))
            if product >= least and product > most and codes[place] != their_codes[at]:
                found[place], most = at, product
    return found


@njit
def products(
    main: Vectors,
    home: Codes,
    gone: Flags,
    side: Vectors,
    side_home: Codes,
    codes: Codes,
    query: Vectors,
    ends: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Inner products of blocks of each item's vector with those of a query, (n, blocks); 0 where there is none.

    Args:
        query: (ends[-1],)
        ends: where each block ends, (blocks,), rising.
    """
    found = np.zeros((len(codes), len(ends)))
    for place in range(len(codes)):
        row = _row(home, gone, side_home, codes[place])
        begin = 0
        for block in range(len(ends)):
            end = ends[block]
            if row >= 0:
                found[place, block] = _inner(main[row, begin:end], query[begin:end])
            elif row != NOWHERE:
                found[place, block] = _inner(side[-2 - row, begin:end], query[begin:end])
            begin = end
    return found
