"""Candidates of several sources as one table; compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.lesson import Together
from index.vocabulary import Codes

Column = NDArray[np.float64]


class Joined(NamedTuple):
    """Items that some source found, each once."""

    codes: Codes
    """(m,), ascending."""
    parts: Column
    """(m, width): the scores of the first source, then of the second; 0 where it did not find the item, and in the
    other columns."""
    evidence: NDArray[np.int32]
    """(2, m): of each source; -1: none."""


def join(one: Together, other: Together, more: Codes, width: int) -> Joined:
    """Puts together what two sources found, and `more` items without a score. `width`: columns of `parts`, at least 2.

    >>> one = Together(np.array([7, 2], np.int32), np.array([0.5, 0.25]), np.array([1, 1], np.int32))
    >>> other = Together(np.array([2], np.int32), np.array([0.75]), np.array([3], np.int32))
    >>> joined = join(one, other, np.array([4, 7], np.int32), 3)
    >>> joined.codes, joined.parts[0], joined.evidence[:, 2]
    (array([2, 4, 7], dtype=int32), array([0.25, 0.75, 0.  ]), array([ 1, -1], dtype=int32))
    """
    return Joined(*_placed(np.sort(np.concatenate((one.codes, other.codes, more))), *one, *other, width))


def complete(parts: Column, cosines: Column, priors: Column) -> tuple[float, float, float]:
    """Fills in the last five columns of `Joined.parts`, (m, 7): cosines, (m, 4), where they are above 0, at most 1; and
    priors, (m,). Returns the largest of each of the first three columns, 0 where there is none."""
    largest: tuple[float, float, float] = _complete(parts, cosines, priors)
    return largest


def weighed(parts: Column, weights: Column, digits: int) -> tuple[Column, Column]:
    """The parts times their weights, (m, parts), and their sums, (m,), rounded to so many digits."""
    return _weighed(parts, weights, 10.0**digits)


@njit(cache=True, nogil=True)
def _placed(
    ascending: Codes,
    codes: Codes, scores: Column, evidence: Codes,
    other_codes: Codes, other_scores: Column, other_evidence: Codes,
    width: int,
) -> tuple[Codes, Column, NDArray[np.int32]]:  # fmt: skip
    found, count = np.empty_like(ascending), 0
    for code in ascending:
        if count == 0 or code != found[count - 1]:
            found[count] = code
            count += 1
    found = found[:count]
    parts = np.zeros((len(found), width))
    cited = np.full((2, len(found)), np.int32(-1), np.int32)
    for at in range(len(codes)):
        place = _place(found, codes[at])
        parts[place, 0], cited[0, place] = scores[at], evidence[at]
    for at in range(len(other_codes)):
        place = _place(found, other_codes[at])
        parts[place, 1], cited[1, place] = other_scores[at], other_evidence[at]
    return found, parts, cited


@njit(cache=True, nogil=True)
def _place(ascending: Codes, code: int) -> int:
    """Where a code stands that is there."""
    low, high = 0, len(ascending) - 1
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _complete(parts: Column, cosines: Column, priors: Column) -> tuple[float, float, float]:
    most, other, third = 0.0, 0.0, 0.0
    for place in range(len(parts)):
        for column in range(cosines.shape[1]):
            parts[place, 2 + column] = min(max(cosines[place, column], 0.0), 1.0)
        parts[place, 2 + cosines.shape[1]] = priors[place]
        most, other, third = (
            max(most, parts[place, 0]), max(other, parts[place, 1]), max(third, parts[place, 2])
        )  # fmt: skip
    return most, other, third


@njit(cache=True, nogil=True)
def _weighed(parts: Column, weights: Column, unit: float) -> tuple[Column, Column]:
    products, sums = np.empty(parts.shape), np.empty(len(parts))
    for place in range(len(parts)):
        total = 0.0
        for part in range(len(weights)):
            products[place, part] = parts[place, part] * weights[part]
            total += products[place, part]
        sums[place] = np.rint(total * unit) / unit
    return products, sums
