"""The item index: which items are nearest to a session, while items come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from index.backend import faiss
from index.exact import Hits, Vectors, checked, checked_k, inner, ranked

SLACK = 16
"""FAISS is asked for this many more than k, so that items of equal score are ordered by id and not by row."""

TIE = 1e-5
"""Scores this near each other may be equal: FAISS rounds otherwise than `inner` does."""


class ItemIndex:
    """Nearest items by inner product in one flat FAISS index.

    Rows stay dense: a removed row is overwritten by the last one, an item that is there already is written in
    place, so that both cost one row and not a rebuild. All calls may come from any thread; a search sees a
    write wholly or not at all. FAISS finds the candidates; their scores are computed anew by `inner`, so that
    an answer does not depend on the other queries of its batch or on the order of writes.

    >>> index = ItemIndex(2)
    >>> index.upsert(["kettle", "mug"], np.eye(2, dtype=np.float32))
    >>> index.search(np.array([[1, 0]], dtype=np.float32), k=5)
    [[('kettle', 1.0), ('mug', 0.0)]]
    """

    def __init__(self, dimension: int, *, threads: int = 1) -> None:
        """
        Args:
            threads: for one search; more help only above some 10,000 items.

        Raises:
            BackendError: faiss is missing, or there twice.
        """
        if dimension < 1 or threads < 1:
            raise ValueError(f"dimension {dimension}, threads {threads}: expected at least 1")
        self.dimension = dimension
        self._faiss = faiss()
        self._threads = threads
        self._flat: Any = self._faiss.IndexFlatIP(dimension)
        self._matrix = self._rows_of_faiss()
        self._ids: list[str] = []  # by row
        self._rows: dict[str, int] = {}  # item id -> row
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._rows

    def upsert(self, item_ids: Sequence[str], vectors: Vectors) -> None:
        """Adds items, or gives those that are there a new vector. Of an id given twice, the last vector
        holds.

        Args:
            vectors: (len(item_ids), dimension); copied.

        Raises:
            ValueError: another shape, or a vector holds NaN or infinity. Then nothing was changed.
        """
        latest = dict(zip(item_ids, checked(vectors, self.dimension, len(item_ids)), strict=True))
        with self._lock:
            added = [item_id for item_id in latest if item_id not in self._rows]
            for item_id in latest.keys() - set(added):
                self._matrix[self._rows[item_id]] = latest[item_id]
            if added:
                self._flat.add(np.stack([latest[item_id] for item_id in added]))
                self._rows.update(zip(added, range(len(self._ids), len(self._ids) + len(added)), strict=True))
                self._ids.extend(added)
                self._matrix = self._rows_of_faiss()

    def remove(self, item_ids: Iterable[str]) -> None:
        """Takes items out; an id that is not there is passed over."""
        leaving = list(item_ids)
        with self._lock:
            before = len(self._ids)
            for item_id in leaving:
                hole = self._rows.pop(item_id, None)
                if hole is None:
                    continue
                last = self._ids.pop()
                if last != item_id:
                    self._matrix[hole] = self._matrix[len(self._ids)]
                    self._ids[hole] = last
                    self._rows[last] = hole
            if len(self._ids) < before:
                self._flat.remove_ids(self._faiss.IDSelectorRange(len(self._ids), before))
                self._matrix = self._rows_of_faiss()

    def vector(self, item_id: str) -> Vectors | None:
        """A copy of the item's vector (dimension,); None where there is no such item."""
        with self._lock:
            row = self._rows.get(item_id)
            return None if row is None else self._matrix[row].copy()

    def cosines(self, item_ids: Sequence[str], query: Vectors) -> dict[str, float]:
        """The inner product of a query, (dimension,), with each of these items; items that are not there are left out.

        To the bit what `search` gives for them.
        """
        with self._lock:
            known = [item_id for item_id in item_ids if item_id in self._rows]
            products = inner(self._matrix.take([*map(self._rows.__getitem__, known)], axis=0), query)
        return dict(zip(known, products.tolist(), strict=True))

    def search(self, queries: Vectors, k: int) -> list[Hits]:
        """For each query the k nearest items with their inner product, best first, ties by id.

        Fewer than k where there are fewer items; none where the index is empty.

        Args:
            queries: (q, dimension)

        Raises:
            ValueError: another shape, NaN or infinity in a query, or k below 1.
        """
        asked = checked(queries, self.dimension)
        checked_k(k)
        with self._lock:
            size = len(self._ids)
            if not size or not len(asked):
                return [[] for _ in asked]
            _, rows = self._candidates(asked, k, size)
            return [self._rescored(query, near, k) for query, near in zip(asked, rows, strict=True)]

    def nearest(self, queries: Vectors, k: int) -> list[list[str]]:
        """For each query the items that `search` finds, in no promised order: for a caller who scores them himself.

        Args, Raises: as `search`.
        """
        asked = checked(queries, self.dimension)
        checked_k(k)
        with self._lock:
            size = len(self._ids)
            if not size or not len(asked):
                return [[] for _ in asked]
            scores, rows = self._candidates(asked, k, size)
            clear = scores[:, k - 1] - TIE > scores[:, k] if scores.shape[1] > k else np.ones(len(asked), dtype=bool)
            return [
                [self._ids[row] for row in near[:k].tolist()]
                if plain
                else [item_id for item_id, _ in self._rescored(query, near, k)]
                for query, near, plain in zip(asked, rows, clear.tolist(), strict=True)
            ]

    def _rescored(self, query: Vectors, rows: Any, k: int) -> Hits:
        return ranked([self._ids[row] for row in rows.tolist()], inner(self._matrix.take(rows, axis=0), query), k)

    def _candidates(self, queries: Vectors, k: int, size: int) -> tuple[Any, Any]:
        """For each query FAISS's scores, and the rows that may be among its k best, those that tie with the k-th
        included: (q, fetched) each, best first."""
        self._faiss.omp_set_num_threads(self._threads)  # OpenMP keeps this per calling thread
        fetch = min(size, k + SLACK)
        while True:
            scores, rows = self._flat.search(queries, fetch)
            if fetch == size or (scores[:, fetch - 1] < scores[:, k - 1] - TIE).all():
                return scores, rows
            fetch = min(size, fetch * 4)

    def _rows_of_faiss(self) -> Vectors:
        """FAISS's own rows (size, dimension), writable; good only until the next add or removal."""
        size = int(self._flat.ntotal)
        if not size:
            return np.empty((0, self.dimension), dtype=np.float32)
        view = self._faiss.rev_swig_ptr(self._flat.get_xb(), size * self.dimension)
        return view.reshape(size, self.dimension)  # type: ignore[no-any-return]
