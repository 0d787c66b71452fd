"""The live part of the index: the few items that are newer than the snapshot, rewritten in place."""

from __future__ import annotations

import numpy as np

from index.exact import Vectors
from index.nearest import Flat
from index.vocabulary import Codes

ROWS_AT_FIRST = 64


class Side:
    """Vectors by code in dense rows: a row that leaves is overwritten by the last one. Not locked."""

    def __init__(self, dimension: int) -> None:
        self.longest = 0.0
        """No vector was ever longer."""
        self._count = 0
        self._codes = np.empty(ROWS_AT_FIRST, dtype=np.int32)
        self.room = np.empty((ROWS_AT_FIRST, dimension), dtype=np.float32)
        """The rows, and space for more of them."""
        self.home = np.full(1, -1, dtype=np.int32)
        """The row of each code; -1: none. Codes above its length have none either."""

    def __len__(self) -> int:
        return self._count

    @property
    def codes(self) -> Codes:
        """(rows,), a view."""
        return self._codes[: self._count]

    @property
    def vectors(self) -> Vectors:
        """(rows, dimension), a view."""
        return self.room[: self._count]

    def rows(self, codes: Codes) -> Codes:
        """The row of each code, -1 where it has none."""
        return looked_up(self.home, codes)

    def put(self, codes: Codes, vectors: Vectors) -> None:
        """Adds or rewrites; no code twice, none below 0."""
        if not len(codes):
            return
        self.home = covering(self.home, int(codes.max()))
        fresh = codes[self.home[codes] < 0]
        self._make_room(self._count + len(fresh))
        self.home[fresh] = np.arange(self._count, self._count + len(fresh), dtype=np.int32)
        self._codes[self._count : self._count + len(fresh)] = fresh
        self._count += len(fresh)
        self.room[self.home[codes]] = vectors
        self.longest = max(self.longest, float(np.sqrt(np.add.reduce(np.square(vectors), axis=1).max())))

    def drop(self, codes: Codes) -> None:
        """Takes out those that are there."""
        for code in codes[self.rows(codes) >= 0].tolist():
            hole, last = int(self.home[code]), self._count - 1
            if hole < 0:  # named twice
                continue
            self.room[hole] = self.room[last]
            self._codes[hole] = self._codes[last]
            self.home[self._codes[hole]] = hole
            self.home[code] = -1
            self._count = last

    def nearest(self, threads: int) -> Flat:
        """A search over the rows as they are now; good until the next change."""
        return Flat(self.vectors, threads=threads)

    def _make_room(self, count: int) -> None:
        if count > len(self._codes):
            more = max(count, 2 * len(self._codes)) - len(self._codes)
            self._codes = np.concatenate([self._codes, np.empty(more, dtype=np.int32)])
            self.room = np.concatenate([self.room, np.empty((more, self.room.shape[1]), dtype=np.float32)])


def looked_up(table: Codes, codes: Codes) -> Codes:
    """What `table` has for each code, -1 outside of it."""
    return np.where((codes >= 0) & (codes < len(table)), table.take(codes, mode="clip"), np.int32(-1))


def covering(table: Codes, code: int) -> Codes:
    """`table`, or a longer copy with -1 at its end, so that it has a place for `code`."""
    if code < len(table):
        return table
    return np.concatenate([table, np.full(max(code + 1, 2 * len(table)) - len(table), -1, dtype=np.int32)])
