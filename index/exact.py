"""The index in plain numpy: the reference that the FAISS index is held against, and the checks both share."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.vocabulary import Codes, Vocabulary

Vectors = NDArray[np.float32]


class ExactVectors:
    """The best items by inner product, every one compared. The contract is that of
    `index.vector_index.VectorIndex`."""

    def __init__(self, vocabulary: Vocabulary, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"dimension {dimension}: expected at least 1")
        self.dimension = dimension
        self.vocabulary = vocabulary
        self._vectors: dict[int, Vectors] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._vectors)

    def contains(self, code: int) -> bool:
        return code in self._vectors

    def has(self, codes: Codes) -> NDArray[np.bool_]:
        return np.fromiter((code in self._vectors for code in codes.tolist()), np.bool_, len(codes))

    def vectors(self, codes: Codes, width: int | None = None) -> Vectors:
        with self._lock:
            nothing = np.zeros(self.dimension, dtype=np.float32)
            rows = [self._vectors.get(code, nothing) for code in codes.tolist()]
        return np.array(rows, dtype=np.float32).reshape(-1, self.dimension)[:, :width].copy()

    def upsert(self, codes: Codes, vectors: Vectors) -> None:
        rows = checked(vectors, self.dimension, len(codes))
        checked_codes(codes, len(self.vocabulary))
        with self._lock:
            self._vectors.update(zip(codes.tolist(), rows, strict=True))

    def remove(self, codes: Codes) -> None:
        with self._lock:
            for code in codes.tolist():
                self._vectors.pop(code, None)

    def search(self, queries: Vectors, k: int) -> list[Codes]:
        asked = checked(queries, self.dimension)
        checked_k(k)
        with self._lock:
            codes = np.fromiter(self._vectors, np.int32, len(self._vectors))
            rows = np.array(list(self._vectors.values()), dtype=np.float32).reshape(-1, self.dimension)
        return [best(codes, inner(rows, query), min(k, len(codes)), self.vocabulary) for query in asked]

    near = search


def checked(vectors: Vectors, dimension: int, count: int | None = None) -> Vectors:
    """A private float32 copy of `vectors`, (count, dimension).

    Raises:
        ValueError: another shape, or a number is not finite.
    """
    rows = np.array(vectors, dtype=np.float32, order="C")
    if rows.ndim != 2 or rows.shape[1] != dimension or (count is not None and rows.shape[0] != count):
        wanted = f"({'n' if count is None else count}, {dimension})"
        raise ValueError(f"vectors of shape {rows.shape}: expected {wanted}, one row for each")
    if not _finite(rows):
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ValueError(f"vector {bad} holds NaN or infinity: expected finite numbers; encode it anew")
    return rows


@njit
def _finite(rows: Vectors) -> bool:
    return bool(np.isfinite(rows).all())


def checked_k(k: int) -> None:
    """Raises ValueError unless at least one item is asked for."""
    if k < 1:
        raise ValueError(f"k {k}: expected at least 1")


def checked_codes(codes: Codes, size: int) -> None:
    """Raises ValueError unless all of `codes` are numbers that a vocabulary of this size gave."""
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < size:
        raise ValueError(f"codes from {codes.min()} to {codes.max()}: expected 0 to {size - 1}, from the vocabulary")


def inner(rows: Vectors, query: Vectors) -> Vectors:
    """Inner products (n,), each independent to the bit of how many rows there are and where a row stands.

    A matrix product is faster and gives other last digits as the batch grows, so two runs over the same
    events would not give the same bytes.
    """
    return np.add.reduce(rows * query, axis=1)  # type: ignore[no-any-return]


def best(codes: Codes, scores: NDArray[np.floating], count: int, vocabulary: Vocabulary) -> Codes:
    """Those `count` of `codes` with the highest scores, of equal ones those whose ids come first; ascending.

    Ids decide and not codes, which other processes number otherwise.
    """
    if count < len(codes):
        least = np.partition(scores, len(codes) - count)[len(codes) - count]
        sure, tied = codes[scores > least], codes[scores == least]
        wanted = count - len(sure)
        if wanted < len(tied):
            tied = np.array(
                [code for _, code in sorted(zip(vocabulary.ids(tied), tied, strict=True))[:wanted]], np.int32
            )
        codes = np.concatenate([sure, tied])
    return np.sort(codes)
