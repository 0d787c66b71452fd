"""Which rows of a matrix have the greatest inner product with a query: flat or IVF-PQ, by what a search costs.

Nothing here knows of items; a row is its number. Rows never change.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.backend import faiss
from index.exact import Vectors
from index.sifting import visits

Rows = NDArray[np.int64]

LANES = 8
"""FAISS reads codes in steps of 8 numbers where the dimension allows it; others one by one, five times slower."""

PQ_WIDTH = 2
"""Dimensions that four bits of IVF-PQ stand for."""

IVF_FROM = 1000
"""An index of fewer rows is flat whatever was asked: one list of them costs as much."""

VISITED_MOST = 32_768
"""A search visits lists of at most about this many rows, some 0.2 ms, even where that misses the recall asked for."""

FLAT_TO = 5_000
"""Up to so many rows an exact search costs no more than one of lists, in the batches of four that some hundred events
a second make; `python benchmarks/vector_index.py`."""

SAMPLE_PER_LIST = 48
SAMPLE_LEAST = 20_000
"""Rows that the lists are trained on: enough for their centres, and few enough for minutes at a million rows."""

ADDED_AT_ONCE = 65_536

GPU_MOST = 2048
"""FAISS's limit on a GPU for results; what goes beyond is searched on the CPU."""


class Kind(StrEnum):
    """How rows are searched."""

    FLAT = "flat"
    """Every row is compared."""
    IVF_PQ = "ivf-pq"
    """The rows of the likeliest lists, as half a byte for two dimensions, which vector registers look up 32 at a time
    (FAISS's fast scan); twice as many are fetched, to be compared by their raw vectors."""


class Nearest(Protocol):
    """A search over fixed rows."""

    kind: Kind
    exact: bool
    """Scores are inner products but for rounding, and no row is missed."""
    refine: int
    """So many times the rows that are wanted have to be fetched and compared by their raw vectors."""

    def search(self, queries: Vectors, fetch: int, effort: int = 0) -> tuple[Vectors, Rows]:
        """The scores and rows of the nearest, best first: (q, fetch) each; row -1 from where there are no more.

        Args:
            fetch: at most the number of rows.
            effort: each step looks at four times as many lists; a search of enough effort sees every row.
        """
        ...


class Flat:
    """Every row compared, straight from the matrix, which may be memory-mapped: nothing is copied."""

    kind = Kind.FLAT
    exact = True
    refine = 1

    def __init__(self, rows: Vectors, *, threads: int = 1) -> None:
        self._faiss = faiss()
        self._rows = rows
        self._threads = threads

    def search(self, queries: Vectors, fetch: int, effort: int = 0) -> tuple[Vectors, Rows]:
        del effort  # all of them are seen as it is
        self._faiss.omp_set_num_threads(self._threads)  # OpenMP keeps this per calling thread
        scores, rows = self._faiss.knn(queries, self._rows, fetch, metric=self._faiss.METRIC_INNER_PRODUCT)
        return scores, rows


class Inverted:
    """An IVF index of FAISS over rows times `emphasis`, which a query is divided by: products stay what they are, and
    the lists are formed by what weighs in a query.

    Which lists a query visits is decided here: FAISS would compare a large batch with the lists' centres by another
    routine, and a near tie might then send a query elsewhere than when asked alone.
    """

    kind = Kind.IVF_PQ
    exact = False
    refine = 2

    def __init__(self, index: Any, probes: int, emphasis: Vectors, *, threads: int = 1) -> None:
        """
        Args:
            index: of the dimension padded to `LANES`.
            probes: lists visited at effort 0.
            emphasis: (dimension,), above 0.
        """
        self.probes = probes
        self.emphasis = emphasis
        self.index = index
        self._centres = index.quantizer.reconstruct_n(0, index.nlist)  # (lists, padded dimension)
        self._faiss = faiss()
        self._threads = threads

    def search(self, queries: Vectors, fetch: int, effort: int = 0) -> tuple[Vectors, Rows]:
        self._faiss.omp_set_num_threads(self._threads)
        probes = self.probes_at(effort)
        if fetch == self.index.ntotal and probes == self.index.nlist:  # the least of them FAISS would leave out
            return np.zeros((len(queries), fetch), np.float32), np.tile(np.arange(fetch), (len(queries), 1))
        self.index.nprobe = probes
        asked, lists, near = visits(queries, self.emphasis, self._centres, probes)
        scores, rows = self.index.search_preassigned(asked, fetch, lists, near)
        return scores, rows

    def probes_at(self, effort: int) -> int:
        """Lists visited at this effort."""
        return min(int(self.index.nlist), self.probes << (2 * effort))


class OnGpu:
    """Every row compared, on the first GPU, whatever the kind on a CPU: it reads all of them in some milliseconds.
    Scores are taken as approximate, so that a caller compares by raw vectors."""

    exact = False
    refine = 1

    def __init__(self, cpu: Flat | Inverted, rows: Vectors) -> None:
        module = faiss()
        self.kind = cpu.kind
        self._cpu = cpu
        self._resources = module.StandardGpuResources()
        source = module.IndexFlatIP(rows.shape[1])
        source.add(np.ascontiguousarray(rows))
        self._index: Any = module.index_cpu_to_gpu(self._resources, 0, source)

    def search(self, queries: Vectors, fetch: int, effort: int = 0) -> tuple[Vectors, Rows]:
        if fetch > GPU_MOST:
            return self._cpu.search(queries, fetch, effort)
        scores, rows = self._index.search(queries, fetch)
        return scores, rows


def gpus() -> int:
    """GPUs that the installed faiss can use; 0 with faiss-cpu."""
    module = faiss()
    return int(module.get_num_gpus()) if hasattr(module, "StandardGpuResources") else 0


def padded(rows: Vectors) -> Vectors:
    """float32 rows with zeros added up to a multiple of `LANES`."""
    count, dimension = rows.shape
    wide = np.zeros((count, -(-dimension // LANES) * LANES), dtype=np.float32)
    wide[:, :dimension] = rows
    return wide


def cost(
    search: Callable[[Vectors, int], object],
    queries: Vectors,
    k: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """What one query of a batch costs, in us: the best of five, as others on the machine only make it slower."""
    spent = []
    for _ in range(5):
        begun = clock()
        search(queries, k)
        spent.append(clock() - begun)
    return min(spent) / len(queries) * 1e6


def kind_for(count: int) -> Kind:
    """The kind of an index of so many rows, wherever it is built.

    >>> kind_for(1_000), kind_for(12_101)
    (<Kind.FLAT: 'flat'>, <Kind.IVF_PQ: 'ivf-pq'>)
    """
    return Kind.FLAT if count <= FLAT_TO else Kind.IVF_PQ


def choose(
    vectors: Vectors,
    *,
    budget_us: float = 200,
    batch: int = 32,
    k: int = 100,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Kind:
    """The kind that suits so many rows on this machine: flat while one query of a batch costs at most the budget.

    It is measured, so that near the border two calls may differ: how `FLAT_TO` was found, and no way to build a model
    folder that is to be equal everywhere.

    Args:
        vectors: (n, dimension), the rows that are to be searched.
        batch: queries that come together; flat search gains most from many.
    """
    count = len(vectors)
    if count < IVF_FROM:
        return Kind.FLAT
    asked = np.array(vectors[:: max(1, count // batch)][:batch], dtype=np.float32, order="C")
    if cost(Flat(vectors, threads=threads).search, asked, min(k, count), clock=clock) <= budget_us:
        return Kind.FLAT
    return Kind.IVF_PQ


def train(rows: Vectors, emphasis: Vectors, *, threads: int = 1) -> Any:
    """An IVF index of FAISS over `rows` times `emphasis`; equal rows, equal index.

    Args:
        rows: (n, dimension), n at least 16, as PQ has so many centroids.
    """
    module = faiss()
    module.omp_set_num_threads(threads)
    count, dimension = rows.shape
    wide = -(-dimension // LANES) * LANES
    # r: the codes are of what a row differs by from the centre of its list
    described = f"IVF{lists(count)},PQ{wide // PQ_WIDTH}x4fsr"
    ivf = module.index_factory(wide, described, module.METRIC_INNER_PRODUCT)
    ivf.cp.min_points_per_centroid = 1
    ivf.pq.cp.min_points_per_centroid = 1
    size = min(count, max(SAMPLE_PER_LIST * lists(count), SAMPLE_LEAST))
    # Drawn, as every n-th row would miss kinds of items that come at regular distances.
    drawn = np.sort(np.random.default_rng(0).choice(count, size, replace=False))
    ivf.train(padded(rows[drawn] * emphasis))
    for begin in range(0, count, ADDED_AT_ONCE):
        ivf.add(padded(rows[begin : begin + ADDED_AT_ONCE] * emphasis))
    return ivf


def lists(count: int) -> int:
    """How many lists an IVF index of `count` rows has: the power of two nearest to its root.

    >>> lists(10_000), lists(100_000), lists(1_000_000)
    (128, 256, 1024)
    """
    return int(2 ** min(16, round(np.log2(max(1, np.sqrt(count))))))
