"""The main part of the index: item vectors that no longer change, how they are searched, and their files.

    index.json        kind of search, shape, what the lists were formed by
    vectors.parquet   item_id, by row
    vectors.npy       float32 (rows, dimension), memory-mapped when read
    index.faiss       the lists; not there where the search is flat

Rows stand in the order of the item ids, so that equal items and vectors give equal bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from index.backend import faiss
from index.errors import ModelFolderError
from index.exact import Vectors, checked
from index.nearest import IVF_FROM, VISITED_MOST, Flat, Inverted, Kind, Nearest, OnGpu, gpus, train
from index.vocabulary import Codes, Vocabulary

FORMAT = 2
ABOUT = "index.json"
ITEMS = "vectors.parquet"
VECTORS = "vectors.npy"
LISTS = "index.faiss"

SAMPLE = 64
"""Searches by which the number of lists to visit is chosen."""
NEAREST = 100
"""Results whose recall is looked at then."""
NEIGHBOURS = 10
"""Of an item, from which the second item of such a search is drawn."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a snapshot is made and searched."""

    threads: int = 1
    """For one search, and for making lists; more help only where many rows are compared."""
    recall: float = 0.95
    """Share of the 100 nearest that IVF is to find, above 0 to 1; as many lists are visited as that takes, up to
    `index.nearest.VISITED_MOST` rows."""
    emphasis: tuple[float, ...] = ()
    """(dimension,) usual weights of a query, above 0, by which lists are formed and recall is looked at; empty: all 1.
    They change no score."""
    gpu: bool | None = None
    """Search on the first GPU; None: where there is one."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads {self.threads}: expected at least 1")
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall {self.recall}: expected above 0, at most 1")
        if self.emphasis and not min(self.emphasis) > 0:
            raise ValueError(f"emphasis down to {min(self.emphasis)}: expected above 0")


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Item vectors by row, read only; any thread may use it."""

    codes: Codes
    """(rows,) the item of each row."""
    vectors: Vectors
    """(rows, dimension)"""
    home: Codes
    """The row of each code; -1: none. Codes above its length have none either."""
    longest: float
    """Greatest length of a vector."""
    nearest: Nearest
    lists: Inverted | None
    """What `index.faiss` holds; None: the search is flat."""

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def kind(self) -> Kind:
        """How it is searched."""
        return self.nearest.kind

    @classmethod
    def build(
        cls, vocabulary: Vocabulary, codes: Codes, vectors: Vectors, kind: Kind, settings: SearchSettings
    ) -> Snapshot:
        """Puts the rows into the order of their ids and makes the lists.

        It is flat, whatever was asked, with fewer than `IVF_FROM` rows, and where half of the lists or more would have
        to be visited: then comparing all is no dearer, and misses none.

        Args:
            codes: (n,), none twice.
            vectors: (n, dimension), finite; copied.

        Raises:
            ValueError: `settings.emphasis` is of another dimension.
        """
        ids = vocabulary.ids(codes)
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
        codes, vectors = codes[order], np.ascontiguousarray(vectors[order], dtype=np.float32)
        dimension = vectors.shape[1]
        weights = np.array(settings.emphasis or np.ones(dimension), dtype=np.float32)
        if len(weights) != dimension:
            raise ValueError(f"emphasis of {len(weights)} weights: expected {dimension}, one a dimension")
        lists = None
        if kind is not Kind.FLAT and len(codes) >= IVF_FROM:
            emphasis = np.sqrt(weights)  # once on the item, once on the query: together the weight
            index = train(vectors, emphasis, threads=settings.threads)
            lists = _calibrated(Inverted(index, 1, emphasis, threads=settings.threads), vectors, weights, settings)
        return cls._made(codes, vectors, lists, len(vocabulary), settings)

    @classmethod
    def _made(
        cls, codes: Codes, vectors: Vectors, lists: Inverted | None, items: int, settings: SearchSettings
    ) -> Snapshot:
        vectors = np.asarray(vectors)  # of a memory-mapped file a plain view, as compiled code takes it
        vectors.flags.writeable = False
        home = np.full(max(1, items), -1, dtype=np.int32)
        home[codes] = np.arange(len(codes), dtype=np.int32)
        cpu = lists or Flat(vectors, threads=settings.threads)
        there = gpus() > 0 if settings.gpu is None else settings.gpu
        nearest: Nearest = OnGpu(cpu, vectors) if there and len(codes) else cpu
        return cls(codes, vectors, home, _longest(vectors), nearest, lists)

    def save(self, folder: Path, vocabulary: Vocabulary) -> list[str]:
        """Writes the files into a folder that is there.

        Returns:
            their names.
        """
        about: dict[str, Any] = {"format": FORMAT, "kind": self.kind.value, "rows": len(self)}
        about["dimension"] = int(self.vectors.shape[1])
        names = [ABOUT, ITEMS, VECTORS]
        pl.DataFrame({"item_id": vocabulary.ids(self.codes)}, schema={"item_id": pl.String}).write_parquet(
            folder / ITEMS
        )
        np.save(folder / VECTORS, self.vectors, allow_pickle=False)
        if self.lists is not None:
            about["probes"] = self.lists.probes
            about["emphasis"] = self.lists.emphasis.tolist()
            module = faiss()
            module.write_index(self.lists.index, str(folder / LISTS))
            names.append(LISTS)
        (folder / ABOUT).write_text(json.dumps(about, sort_keys=True) + "\n")
        return names

    @classmethod
    def open(cls, folder: Path, vocabulary: Vocabulary, settings: SearchSettings, *, mmap: bool = True) -> Snapshot:
        """Reads what `save` wrote. Items get numbers in `vocabulary` where they have none.

        Args:
            mmap: leave vectors and lists on disk, where several workers share the pages; the files must then stay.

        Raises:
            ModelFolderError: a file is missing, damaged, or of another format.
        """
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            if about["format"] != FORMAT:
                raise ModelFolderError(
                    f"{folder}: index format {about['format']!r}, this release reads {FORMAT}; build it anew"
                )
            kind, shape = Kind(about["kind"]), (int(about["rows"]), int(about["dimension"]))
            ids = pl.read_parquet(folder / ITEMS, glob=False)["item_id"]
            vectors = np.load(folder / VECTORS, mmap_mode="r" if mmap and shape[0] else None, allow_pickle=False)
            if (
                vectors.shape != shape
                or vectors.dtype != np.float32
                or len(ids) != shape[0]
                or ids.n_unique() != len(ids)
            ):
                raise ModelFolderError(
                    f"{folder}: {len(ids)} items, {ids.n_unique()} of them distinct, and vectors of "
                    f"{vectors.dtype} {vectors.shape}: expected {shape} of float32; build it anew"
                )
            lists = None if kind is Kind.FLAT else _read_lists(folder, about, settings, mmap)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, pl.exceptions.PolarsError) as exc:
            raise ModelFolderError(f"{folder}: the index cannot be read ({exc}); build it anew") from exc
        codes = vocabulary.add_all(ids)
        return cls._made(codes, vectors, lists, len(vocabulary), settings)


def _read_lists(folder: Path, about: dict[str, Any], settings: SearchSettings, mmap: bool) -> Inverted:
    module = faiss()
    flags = module.IO_FLAG_MMAP_IFC | module.IO_FLAG_READ_ONLY if mmap else 0
    ivf = module.read_index(str(folder / LISTS), flags)
    if ivf.ntotal != about["rows"]:
        raise ModelFolderError(f"{folder}: {LISTS} holds {ivf.ntotal} rows: expected {about['rows']}; build it anew")
    emphasis = checked(np.array([about["emphasis"]]), about["dimension"])[0]
    return Inverted(ivf, int(about["probes"]), emphasis, threads=settings.threads)


def _longest(vectors: Vectors) -> float:
    lengths = (np.add.reduce(np.square(part), axis=1) for part in np.array_split(vectors, 1 + len(vectors) // 65_536))
    return float(np.sqrt(max((part.max(initial=0.0) for part in lengths), default=0.0)))


def _calibrated(lists: Inverted, vectors: Vectors, weights: Vectors, settings: SearchSettings) -> Inverted | None:
    """`lists` with as few of them to visit, in steps of a third, as find `settings.recall` of the nearest, within
    `VISITED_MOST`; None: that is half of them or more.

    A sampled search is made of two items that are near each other, weighted as usual: a visitor with one interest.
    """
    source = np.random.default_rng(0)
    some = vectors[source.integers(0, len(vectors), size=SAMPLE)]
    flat = Flat(vectors, threads=settings.threads)
    _, beside = flat.search(np.ascontiguousarray(some * weights), NEIGHBOURS)
    near = vectors[beside[np.arange(SAMPLE), source.integers(0, NEIGHBOURS, size=SAMPLE)]]
    queries = np.ascontiguousarray((some + 0.6 * near) * weights)
    k = min(NEAREST, len(vectors))
    _, truth = flat.search(queries, k)
    count = int(lists.index.nlist)
    while True:
        _, rows = lists.search(queries, min(len(vectors), k * lists.refine))
        found = np.mean([np.isin(right, seen).mean() for right, seen in zip(truth, rows, strict=True)])
        more = lists.probes + max(1, lists.probes // 3)
        if found >= settings.recall or more * len(vectors) > VISITED_MOST * count:
            return lists if found >= settings.recall or len(vectors) > 2 * VISITED_MOST else None
        lists.probes = more
        if 2 * lists.probes >= count:
            return None
