"""The item index: which items have the greatest inner product with a query, while items come and go."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.exact import Vectors, checked, checked_codes, checked_k
from index.live import LiveRows
from index.nearest import Kind
from index.snapshot import SearchSettings, Snapshot
from index.vocabulary import Codes, Vocabulary


@dataclass(frozen=True, slots=True)
class RebuildSettings:
    """When the snapshot is worth making anew."""

    share: float = 0.1
    """Of the items: so many are newer than the snapshot or taken out of it. Each of them makes a search dearer."""
    least: int = 1000
    """Fewer such rows than this are never worth it."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Rebuilt:
    """A snapshot made from an index, and the items that changed there since; for `VectorIndex.swap`."""

    main: Snapshot
    changed: set[int] = field(default_factory=set)


class VectorIndex:
    """The best items by inner product: a read-only snapshot, and beside it a small flat index of what is newer.

    Items are named by their codes of the vocabulary. Any thread may call; a search sees a write, and a swap of the
    snapshot, wholly or not at all. FAISS finds the candidates; where it rounds or approximates, raw vectors decide, and
    ids between equals: an answer depends neither on the other queries of its batch nor on the order of writes. With a
    flat snapshot it is the exact answer. With IVF an item in a list that is not visited is missed, so that then the
    answer depends on which items are still in the side index, where none is missed.

    A query of zeros ties with everything, and is answered by comparing everything.

    >>> items = Vocabulary(["kettle", "mug"])
    >>> index = VectorIndex(items, 2)
    >>> index.upsert(items.codes(["kettle", "mug"]), np.eye(2, dtype=np.float32))
    >>> index.search(np.array([[0, 1]], dtype=np.float32), k=1)
    [array([1], dtype=int32)]
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        dimension: int,
        *,
        settings: SearchSettings | None = None,
        rebuilding: RebuildSettings | None = None,
    ) -> None:
        """
        Raises:
            BackendError: faiss is missing, or there twice.
        """
        if dimension < 1:
            raise ValueError(f"dimension {dimension}: expected at least 1")
        self.vocabulary = vocabulary
        self.dimension = dimension
        self.settings = settings or SearchSettings()
        self.rebuilding = rebuilding or RebuildSettings()
        nothing = np.empty((0, dimension), dtype=np.float32)
        empty = Snapshot.build(vocabulary, np.empty(0, dtype=np.int32), nothing, Kind.FLAT, self.settings)
        self._live = self._over(empty)
        self._rebuilds: weakref.WeakSet[Rebuilt] = weakref.WeakSet()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._live)

    @property
    def kind(self) -> Kind:
        """How the snapshot is searched."""
        return self._live.main.kind

    @property
    def drift(self) -> int:
        """Rows in the side index, and rows of the snapshot that are out of date."""
        with self._lock:
            return self._live.drift

    def contains(self, code: int) -> bool:
        """Whether there is a vector of this item."""
        return bool(self.has(np.array([code], dtype=np.int32))[0])

    def has(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether there is a vector of each item, (n,); -1 is no item."""
        with self._lock:
            return self._live.has(codes)

    def vectors(self, codes: Codes, width: int | None = None) -> Vectors:
        """A copy of each item's vector, (n, dimension), or of its first `width` columns; zeros where there is none."""
        if width is not None and not 0 <= width <= self.dimension:
            raise ValueError(f"width {width}: expected 0 to {self.dimension}")
        with self._lock:
            return self._live.vectors(codes, width)

    def products(self, codes: Codes, query: Vectors, ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each block of each item's vector gives with that of a query, unweighted: inner products, (n, blocks); 0
        where there is no vector. An item's numbers are to the bit independent of the others.

        Args:
            query: (ends[-1],), float32
            ends: where each block ends, (blocks,), rising, at most `dimension`.
        """
        if len(ends) == 0 or not ends[-1] <= min(len(query), self.dimension):
            raise ValueError(f"blocks that end at {ends.tolist()}: expected up to {len(query)} and {self.dimension}")
        with self._lock:
            return self._live.products(codes, query, ends)

    def upsert(self, codes: Codes, vectors: Vectors) -> None:
        """Adds items, or gives those that are there a new vector. Of an item given twice, the last vector holds.

        Args:
            codes: (n,), from the vocabulary.
            vectors: (n, dimension); copied.

        Raises:
            ValueError: another shape, a vector holds NaN or infinity, or a code of no item. Then nothing was changed.
        """
        rows = checked(vectors, self.dimension, len(codes))
        checked_codes(codes, len(self.vocabulary))
        distinct, from_end = np.unique(codes[::-1], return_index=True)
        latest = rows[len(codes) - 1 - from_end]
        with self._lock:
            self._live.upsert(distinct, latest)
            self._note(distinct)

    def remove(self, codes: Codes) -> None:
        """Takes items out; one that is not there is passed over."""
        distinct = np.unique(codes)
        with self._lock:
            self._live.remove(distinct)
            self._note(distinct)

    def search(self, queries: Vectors, k: int) -> list[Codes]:
        """For each query the k best items, ascending by code; all of them where there are fewer.

        Args:
            queries: (q, dimension)

        Raises:
            ValueError: another shape, NaN or infinity in a query, or k below 1.
        """
        return self._found(queries, k, LiveRows.search)

    def near(self, queries: Vectors, k: int) -> list[Codes]:
        """For each query about the k best items, ascending by code: for a caller who compares them by itself.

        With a flat snapshot those of `search`. With IVF the codes decide and no raw vector is read: k items, or some
        fewer, of which a few would not be among the k best, and what ties at the border is left out.

        Args:
            queries: (q, dimension)

        Raises:
            ValueError: as `search`.
        """
        return self._found(queries, k, LiveRows.near)

    def _found(self, queries: Vectors, k: int, look: Callable[[LiveRows, Vectors, int], list[Codes]]) -> list[Codes]:
        asked = checked(queries, self.dimension)
        checked_k(k)
        with self._lock:
            count = min(k, len(self._live))
            if not count or not len(asked):
                return [np.empty(0, dtype=np.int32) for _ in asked]
            return look(self._live, asked, count)

    def needs_rebuild(self) -> bool:
        """Whether so much has changed that a rebuild pays, by `RebuildSettings`."""
        with self._lock:
            drift, size = self._live.drift, len(self._live)
        return drift > max(self.rebuilding.least, self.rebuilding.share * size)

    def rebuild(self, kind: Kind | None = None, *, folder: Path | None = None) -> Rebuilt:
        """A snapshot of all items there are; the index serves on meanwhile and changes only by `swap`.

        It takes seconds for 100,000 items, so call it on a thread of its own. Writes that come while it runs, or
        afterwards, are kept with what it returns.

        Args:
            kind: None: the one that the snapshot has.
            folder: an empty one where the snapshot is written and from where it is served, memory-mapped; it must
                outlive the index. None: it stays in memory.
        """
        rebuilt = Rebuilt(self._live.main)
        copy = self._copy(rebuilt)
        codes, vectors = self._all(copy)
        main = Snapshot.build(self.vocabulary, codes, vectors, kind or copy[0].kind, self.settings)
        if folder is not None:
            main.save(folder, self.vocabulary)
            main = Snapshot.open(folder, self.vocabulary, self.settings)
        rebuilt.main = main
        return rebuilt

    def swap(self, rebuilt: Rebuilt) -> None:
        """Serves from what `rebuild` made, with all that changed since; at once, as no search sees half of it.

        Raises:
            ValueError: it was made by another index, or has been swapped in already.
        """
        fresh = self._over(rebuilt.main)
        with self._lock:
            if rebuilt not in self._rebuilds:
                raise ValueError(
                    "this rebuild is not of this index or was swapped in before: expected one of rebuild()"
                )
            changed = np.array(sorted(rebuilt.changed), dtype=np.int32)
            there = self._live.has(changed)
            fresh.remove(changed[~there])
            fresh.upsert(changed[there], self._live.vectors(changed[there]))
            self._rebuilds.discard(rebuilt)
            self._live = fresh

    def save(self, folder: Path) -> list[str]:
        """Writes the items there are as a snapshot into a folder that is there; see `index.snapshot` for the files.

        Returns:
            names of the files.
        """
        with self._lock:
            main = None if self._live.drift else self._live.main
        return (main or self.rebuild().main).save(folder, self.vocabulary)

    @classmethod
    def open(
        cls,
        folder: Path,
        vocabulary: Vocabulary,
        *,
        mmap: bool = True,
        settings: SearchSettings | None = None,
        rebuilding: RebuildSettings | None = None,
    ) -> VectorIndex:
        """The index that `save` wrote.

        Args:
            mmap: leave vectors and lists on disk, where several workers share the pages; the files must then stay.

        Raises:
            ModelFolderError: a file is missing, damaged, or of another format.
        """
        settings = settings or SearchSettings()
        main = Snapshot.open(folder, vocabulary, settings, mmap=mmap)
        index = cls(vocabulary, main.vectors.shape[1], settings=settings, rebuilding=rebuilding)
        index._live = index._over(main)
        return index

    def _over(self, main: Snapshot) -> LiveRows:
        return LiveRows(main, self.vocabulary, threads=self.settings.threads)

    def _note(self, codes: Codes) -> None:
        for rebuilt in self._rebuilds:
            rebuilt.changed.update(codes.tolist())

    def _copy(self, rebuilt: Rebuilt | None = None) -> tuple[Snapshot, NDArray[np.bool_], Codes, Vectors]:
        """What the index holds now: the snapshot, its rows that are gone, and the side's codes and vectors. From now on
        `rebuilt` hears of changes."""
        with self._lock:
            if rebuilt is not None:
                self._rebuilds.add(rebuilt)
            live = self._live
            return live.main, live.gone.copy(), live.side.codes.copy(), live.side.vectors.copy()

    @staticmethod
    def _all(copy: tuple[Snapshot, NDArray[np.bool_], Codes, Vectors]) -> tuple[Codes, Vectors]:
        main, gone, codes, vectors = copy
        if not len(codes) and not gone.any():
            return main.codes, main.vectors
        if gone.all():  # also where there are none
            return codes, vectors
        return np.concatenate([main.codes[~gone], codes]), np.concatenate([main.vectors[~gone], vectors])
