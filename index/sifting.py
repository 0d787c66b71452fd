"""What comes of a search by rows: which of those that were found are items, and which are good enough; compiled, for
each event brings some of these small steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.exact import Vectors
from index.rows import crossed
from index.vocabulary import Codes

NO_SCORE = np.float32(-np.inf)


@njit
def visits(
    queries: Vectors, emphasis: Vectors, centres: Vectors, probes: int
) -> tuple[Vectors, NDArray[np.int64], Vectors]:
    """What the lists of an IVF index are asked: the queries over the emphasis, with zeros up to the width of the
    centres, (q, padded dimension); of each the lists that are nearest, and their scores, (q, probes) each, in no order.

    Args:
        queries: (q, dimension)
        emphasis: (dimension,)
        centres: (lists, padded dimension)
        probes: at most as many as there are lists.
    """
    asked = np.zeros((len(queries), centres.shape[1]), np.float32)
    for place in range(len(queries)):
        for column in range(queries.shape[1]):
            asked[place, column] = queries[place, column] / emphasis[column]
    near = crossed(asked, centres, centres.shape[1])  # (q, lists)
    lists = near.shape[1]
    numbers = np.empty((len(queries), probes), np.int64)
    scores = np.empty((len(queries), probes), np.float32)
    for place in range(len(queries)):
        nearest = np.argpartition(near[place], lists - probes)[lists - probes :]
        numbers[place], scores[place] = nearest, near[place][nearest]
    return asked, numbers, scores


@njit
def sifted(
    scores: Vectors,
    rows: NDArray[np.int64],
    by_row: Codes,
    gone: NDArray[np.bool_],
    ties: Vectors,
    cut: bool,
    approximate: bool,
) -> tuple[Vectors, Codes, Vectors]:
    """Scores and codes of what was found, (q, m) each, NO_SCORE where it is nothing; and (q,) the score that nothing
    left behind exceeds.

    Args:
        scores, rows: (q, m), best first; row -1 where there are no more.
        by_row: code of each row.
        gone: by row: it is no item any more; empty: all are.
        ties: (q,), how near each other scores may be equal.
        cut: more may be there than was fetched.
        approximate: then what ties with the last one fetched is nothing.
    """
    kept, codes = np.empty(scores.shape, np.float32), np.empty(scores.shape, np.int32)
    rest = np.full(len(scores), NO_SCORE, np.float32)
    for place in range(len(scores)):
        if cut and rows[place, -1] >= 0:
            rest[place] = scores[place, -1]
        border = rest[place] + ties[place]
        for at in range(scores.shape[1]):
            row = rows[place, at]
            absent = row < 0 or (len(gone) > 0 and gone[row])
            if absent or (cut and approximate and scores[place, at] <= border):
                kept[place, at], codes[place, at] = NO_SCORE, -1
            else:
                kept[place, at], codes[place, at] = scores[place, at], by_row[row]
    return kept, codes, rest


@njit
def within(scores: Vectors, codes: Codes, count: int) -> tuple[Codes, NDArray[np.int64]]:
    """Of each row of (q, m) the codes of the `count` best scores, or of some fewer, for of those that tie at the border
    none is taken: (q, m), ascending; and how many they are, (q,)."""
    width = scores.shape[1]
    found, sizes = np.empty(scores.shape, np.int32), np.zeros(len(scores), np.int64)
    for place in range(len(scores)):
        border = NO_SCORE
        if width > count:
            border = np.partition(scores[place], width - count - 1)[width - count - 1]
        size = 0
        for at in range(width):
            if scores[place, at] > border:
                found[place, size] = codes[place, at]
                size += 1
        found[place, :size].sort()
        sizes[place] = size
    return found, sizes
