"""Candidates of several sources as one table; compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.lesson import Together
from index.vocabulary import Codes, Vocabulary

Column = NDArray[np.float64]


Evidence = NDArray[np.int32]
"""Of each source: the item that it owes most to; -1: none. (2, m)"""
Places = NDArray[np.int64]


class Joined(NamedTuple):
    """Items that some source found, each once."""

    codes: Codes
    """(m,), ascending."""
    parts: Column
    """(m, width): the scores of the first source, then of the second; 0 where it did not find the item, and in the
    other columns."""
    evidence: Evidence


def join(one: Together, other: Together, more: Codes, width: int) -> Joined:
    """Puts together what two sources found, and `more` items without a score. `width`: columns of `parts`, at least 2.

    >>> one = Together(np.array([7, 2], np.int32), np.array([0.5, 0.25]), np.array([1, 1], np.int32))
    >>> other = Together(np.array([2], np.int32), np.array([0.75]), np.array([3], np.int32))
    >>> joined = join(one, other, np.array([4, 7], np.int32), 3)
    >>> joined.codes, joined.parts[0], joined.evidence[:, 2]
    (array([2, 4, 7], dtype=int32), array([0.25, 0.75, 0.  ]), array([ 1, -1], dtype=int32))
    """
    keys = _keys(one.codes, other.codes, more)
    keys.sort()  # by numpy: with a sort that numba compiles a join of 390 takes 17 us, not 7
    return Joined(*_joined(keys, *one, *other, width))


def complete(parts: Column, cosines: Column, priors: Column) -> tuple[float, float, float]:
    """Fills in the last five columns of `Joined.parts`, (m, 7): cosines, (m, 4), where they are above 0, at most 1; and
    priors, (m,). Returns the largest of each of the first three columns, 0 where there is none."""
    largest: tuple[float, float, float] = _complete(parts, cosines, priors)
    return largest


def weighed(parts: Column, weights: Column, digits: int) -> tuple[Column, Column]:
    """The parts times their weights, (m, parts), and their sums, (m,), rounded to so many digits."""
    return _weighed(parts, weights, 10.0**digits)


def best_first(scores: Column, codes: Codes, vocabulary: Vocabulary) -> Places:
    """Places by score, both (m,), best first, ties by item id."""
    order: Places = (-scores).argsort()
    for begin, end in tied(scores, order):
        order[begin:end] = sorted(order[begin:end].tolist(), key=lambda place: vocabulary.id(codes.item(place)))
    return order


def tied(z: Column, order: Places) -> list[tuple[int, int]]:
    """Where equals stand in an order, from begin to end, given what it is by; both (m,)."""
    runs: list[tuple[int, int]] = _tied(z, order).tolist()
    return runs


@njit
def numbers_of(
    places: Places, scores: Column, z: Column, parts: Column, evidence: Evidence
) -> tuple[Column, NDArray[np.int32]]:
    """What stands at these places, row by row: score, z and parts, (n, 2 + parts); evidence, (n, 2)."""
    numbers = np.empty((len(places), 2 + parts.shape[1]))
    cited = np.empty((len(places), 2), np.int32)
    for at in range(len(places)):
        place = places[at]
        numbers[at, 0], numbers[at, 1] = scores[place], z[place]
        for part in range(parts.shape[1]):
            numbers[at, 2 + part] = parts[place, part]
        cited[at, 0], cited[at, 1] = evidence[0, place], evidence[1, place]
    return numbers, cited


@njit
def _keys(codes: Codes, other_codes: Codes, more: Codes) -> NDArray[np.int64]:
    """Each as one number, its code above its place among all of them: sorted, equal items stand together."""
    first, second = len(codes), len(codes) + len(other_codes)
    keys = np.empty(second + len(more), np.int64)
    for at in range(len(keys)):
        if at < first:
            code = codes[at]
        elif at < second:
            code = other_codes[at - first]
        else:
            code = more[at - second]
        keys[at] = np.int64(code) << 32 | at
    return keys


@njit
def _joined(
    keys: NDArray[np.int64],
    codes: Codes, scores: Column, evidence: Codes,
    other_codes: Codes, other_scores: Column, other_evidence: Codes,
    width: int,
) -> tuple[Codes, Column, Evidence]:  # fmt: skip
    first, second = len(codes), len(codes) + len(other_codes)
    found, count = np.empty(len(keys), np.int32), 0
    for key in keys:
        if count == 0 or found[count - 1] != key >> 32:
            found[count] = key >> 32
            count += 1
    parts = np.zeros((count, width))
    cited = np.full((2, count), np.int32(-1), np.int32)
    place = -1
    for key in keys:
        if place < 0 or found[place] != key >> 32:
            place += 1
        source = key & 0xFFFFFFFF
        if source < first:
            parts[place, 0], cited[0, place] = scores[source], evidence[source]
        elif source < second:
            parts[place, 1], cited[1, place] = other_scores[source - first], other_evidence[source - first]
    return found[:count], parts, cited


@njit
def _tied(z: Column, order: Places) -> NDArray[np.int64]:
    runs, found = np.empty((len(order) // 2, 2), np.int64), 0
    begin = 0
    for at in range(1, len(order) + 1):
        if at < len(order) and z[order[at]] == z[order[begin]]:
            continue
        if at - begin > 1:
            runs[found] = begin, at
            found += 1
        begin = at
    return runs[:found]


@njit
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


@njit
def _weighed(parts: Column, weights: Column, unit: float) -> tuple[Column, Column]:
    products, sums = np.empty(parts.shape), np.empty(len(parts))
    for place in range(len(parts)):
        total = 0.0
        for part in range(len(weights)):
            products[place, part] = parts[place, part] * weights[part]
            total += products[place, part]
        sums[place] = np.rint(total * unit) / unit
    return products, sums
