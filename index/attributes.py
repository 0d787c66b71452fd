"""What items are by their catalogue, as numbers: equal brand, equal number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from encoders.graph.facts import NOTHING
from encoders.jit import njit
from index.vocabulary import Codes

Numbers = NDArray[np.int64]
KINDS = ("brand", "category", "section")
"""Of a category that is a path, A > B > C, the section is A > B; of any other there is none."""


class Attributes:
    """Brand, category and section of items by their codes. 24 bytes an item.

    >>> attributes = Attributes()
    >>> attributes.put(np.array([0, 2], np.int32), [("Orly", "Nails > Polish"), (None, "Nails > Files")])
    >>> (attributes.of(np.array([0, 1, 2], np.int32)) != 0).tolist()
    [[True, True, True], [False, False, False], [False, True, True]]
    """

    def __init__(self) -> None:
        self._numbers = np.zeros((0, len(KINDS)), np.int64)

    def put(self, codes: Codes, told: Sequence[tuple[str | None, str | None]]) -> None:
        """Brand and category of items, (n,), in place of those before."""
        most = int(codes.max(initial=-1)) + 1
        if most > len(self._numbers):
            grown = np.zeros((2 * most, len(KINDS)), np.int64)
            grown[: len(self._numbers)] = self._numbers
            self._numbers = grown
        for code, (brand, category) in zip(codes.tolist(), told, strict=True):
            above = category.rpartition(">")[0].strip() if category else None
            self._numbers[code] = _number(brand), _number(category), _number(above)

    def of(self, codes: Codes) -> Numbers:
        """(n, KINDS); 0: not known."""
        return _of(self._numbers, codes)


@njit
def _of(numbers: Numbers, codes: Codes) -> Numbers:
    found = np.zeros((len(codes), numbers.shape[1]), np.int64)
    for place in range(len(codes)):
        if 0 <= codes[place] < len(numbers):
            found[place] = numbers[codes[place]]
    return found


def _number(word: str | None) -> int:
    """Of a word, the same in every process; 0 of one that says nothing."""
    if word is None or word.strip().lower() in NOTHING:
        return 0
    return (xxh3_64_intdigest(word.encode()) >> 1) | 1
