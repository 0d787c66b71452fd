"""Neighbour rows: for each item those that go with it, bounded, compact where nothing changes, open where it
does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

_NO_AFTER = np.empty(0, np.int32)
_NO_WEIGHT = np.empty(0, np.float32)


class Row(NamedTuple):
    """Neighbours of one item, in no promised order. Views: good until the next write."""

    after: NDArray[np.int32]
    weight: NDArray[np.float32]
    support: NDArray[np.uint32]


class _OpenRow:
    """A row that is being written to: arrays with room at the end."""

    __slots__ = ("after", "filled", "support", "weight")

    def __init__(self, row: Row, room: int) -> None:
        self.filled = len(row.after)
        room = max(room, self.filled)
        self.after = np.zeros(room, dtype=np.int32)
        self.weight = np.zeros(room, dtype=np.float32)
        self.support = np.zeros(room, dtype=np.uint32)
        self.after[: self.filled], self.weight[: self.filled], self.support[: self.filled] = row

    def row(self) -> Row:
        return Row(self.after[: self.filled], self.weight[: self.filled], self.support[: self.filled])

    def add(self, after: int, weight: float, limit: int) -> None:
        found = np.flatnonzero(self.after[: self.filled] == after)
        if len(found):
            place = int(found[0])
        else:
            if self.filled == len(self.after):
                self._trim(limit)
            place = self.filled
            self.filled += 1
            self.after[place], self.weight[place], self.support[place] = after, 0, 0
        self.weight[place] += weight
        self.support[place] += 1

    def _trim(self, limit: int) -> None:
        """Keeps the `limit` heaviest; those that came first among equals."""
        kept = np.sort(np.lexsort((np.arange(self.filled), -self.weight[: self.filled]))[:limit])
        self.filled = len(kept)
        for column in (self.after, self.weight, self.support):
            column[: self.filled] = column[kept]


class Rows:
    """Rows by item number. What `from_pairs` put in lies in three flat arrays; a row that is written to is
    copied out of them, to room for twice `limit` neighbours, and trimmed to the `limit` heaviest when
    full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._starts = np.zeros(1, dtype=np.int64)
        self._flat = Row(_NO_AFTER, _NO_WEIGHT, np.empty(0, np.uint32))
        self._open: dict[int, _OpenRow] = {}

    @classmethod
    def from_pairs(cls, pairs: pl.DataFrame, size: int, limit: int) -> Rows:
        """Rows of items 0 to size - 1 from before, after, weight, support, sorted by before and weight
        falling."""
        rows = cls(limit)
        before = pairs["before"].to_numpy()
        starts = np.searchsorted(before, np.arange(size + 1))
        kept = np.arange(len(before)) - starts[before] < limit
        rows._starts = np.concatenate([[0], np.cumsum(np.minimum(np.diff(starts), limit))])
        rows._flat = Row(
            pairs["after"].to_numpy()[kept].astype(np.int32),
            pairs["weight"].to_numpy()[kept].astype(np.float32),
            pairs["support"].to_numpy()[kept].astype(np.uint32),
        )
        return rows

    def row(self, item: int) -> Row:
        """The neighbours of an item; none for one that is not known."""
        columns, start, end = self._place(item)
        return Row(columns.after[start:end], columns.weight[start:end], columns.support[start:end])

    def joined(self, items: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.float32], list[int]]:
        """The neighbours of several items, one item after the other.

        Returns:
            after, weight: (pairs,) each, copies.
            How many pairs each item has.
        """
        after, weight, sizes = [_NO_AFTER], [_NO_WEIGHT], []
        for columns, start, end in map(self._place, items):
            after.append(columns.after[start:end])
            weight.append(columns.weight[start:end])
            sizes.append(end - start)
        return np.concatenate(after), np.concatenate(weight), sizes

    def support(self, before: int, after: int) -> int:
        """Of one pair; 0 where it is not kept."""
        columns, start, end = self._place(before)
        found = (columns.after[start:end] == after).nonzero()[0]
        return int(columns.support[start + found[0]]) if len(found) else 0

    def add(self, before: int, after: int, weight: float) -> None:
        """Adds `weight` to a neighbour and 1 to its support."""
        if before not in self._open:
            self._open[before] = _OpenRow(self.row(before), 2 * self._limit)
        self._open[before].add(after, weight, self._limit)

    def _place(self, item: int) -> tuple[Row | _OpenRow, int, int]:
        """The columns that hold an item's neighbours, and from where to before where."""
        if (opened := self._open.get(item)) is not None:
            return opened, 0, opened.filled
        if item + 1 >= len(self._starts):
            return self._flat, 0, 0
        return self._flat, self._starts.item(item), self._starts.item(item + 1)

    def to_pairs(self, size: int) -> pl.DataFrame:
        """before, after, weight, support of items 0 to size - 1; sorted by before, weight falling, after."""
        sizes = np.diff(self._starts)
        before = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        closed = ~np.isin(before, np.fromiter(self._open, dtype=np.int32, count=len(self._open)))
        parts = [(before[closed], *(column[closed] for column in self._flat))]
        for item, opened in self._open.items():
            row = opened.row()
            parts.append((np.full(len(row.after), item, dtype=np.int32), *row))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        frame = pl.DataFrame(dict(zip(("before", "after", "weight", "support"), columns, strict=True)))
        return frame.filter(pl.col("before") < size).sort("before", "weight", "after", descending=[False, True, False])
