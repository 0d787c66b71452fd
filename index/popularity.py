"""The most popular items, in order all the time, where popularity only grows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from index.vocabulary import Codes, Vocabulary


class Leaders:
    """The best `size` items by a number that only grows, ties by item id. Not thread-safe: its owner locks."""

    def __init__(self, vocabulary: Vocabulary, size: int) -> None:
        self._vocabulary = vocabulary
        self._size = size
        self._found = False
        self._top: list[int] = []  # best first
        self._places: dict[int, int] = {}  # in it
        self._least = 0  # of the last one, when there is no room
        self._codes: Codes | None = None  # `_top` as an array; None: its order has changed since

    def best(self, heat: NDArray[np.int64], n: int) -> Codes:
        """The n best of those above 0, best first; read only. `heat`: of each item by its code."""
        if not self._found or n > self._size:
            self._size = max(self._size, n)
            least = np.partition(heat, -self._size)[-self._size] if len(heat) > self._size else 0
            ranked = sorted((self._rank(heat, code), code) for code in np.flatnonzero(heat >= max(least, 1)).tolist())
            self._top = [code for _, code in ranked[: self._size]]
            self._places = {code: place for place, code in enumerate(self._top)}
            self._found = True
            self._codes = None
            self._note_least(heat)
        if self._codes is None:
            self._codes = np.array(self._top, np.int32)
            self._codes.flags.writeable = False
        return self._codes[:n]

    def grown(self, heat: NDArray[np.int64], codes: Iterable[int]) -> None:
        """To be told after items grew, of all that did since it was told last."""
        if not self._found:
            return
        least = max(self._least, 1)
        near = {code for code in codes if heat.item(code) >= least}
        # The best first: whoever stands above one that is put in its place stands there by what it has now.
        for code in sorted(near, key=partial(self._rank, heat)):
            self._put(heat, code)

    def _put(self, heat: NDArray[np.int64], code: int) -> None:
        top, self._codes = self._top, None
        place = self._places.get(code)
        if place is None:
            place = len(top)
            top.append(code)
        while place and self._rank(heat, code) < self._rank(heat, top[place - 1]):
            top[place] = top[place - 1]
            self._places[top[place]] = place
            place -= 1
        top[place] = code
        self._places[code] = place
        for out in top[self._size :]:
            del self._places[out]
        del top[self._size :]
        self._note_least(heat)

    def _note_least(self, heat: NDArray[np.int64]) -> None:
        self._least = heat.item(self._top[-1]) if len(self._top) >= self._size else 0

    def _rank(self, heat: NDArray[np.int64], code: int) -> tuple[int, str]:
        return -heat.item(code), self._vocabulary.id(code)
