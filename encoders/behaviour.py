"""Item vectors from behaviour: items that are met in like company are near, whatever they are.

Truncated SVD of the shifted positive pointwise mutual information of items that meet in sessions, which is what
word2vec with negative sampling factorises implicitly (Levy and Goldberg 2014; Levy et al. 2015 for its settings).
Where a count knows a pair or does not, a vector also knows items that never met but keep the same company.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from encoders.errors import EncoderError
from encoders.packing import pack, unpack

Vectors = NDArray[np.float32]
Codes = NDArray[np.int32]

UNIT = 1 << 24
"""Weights are summed as whole numbers of 1 / UNIT, so that a sum does not depend on its order."""


@dataclass(frozen=True, slots=True)
class BehaviourSettings:
    """How items that meet become vectors. The defaults are the best of a grid on Amazon Beauty's validation items."""

    dimension: int = 128
    """Numbers of a vector."""
    most: int = 20_000
    """Items that get a vector, those that were seen most: the time that vectors take grows faster than their number."""
    window: int = 3
    """Two events of a session at most this many places apart meet; a meeting weighs 1 / distance."""
    shift: float = 15.0
    """A pair has to meet this many times as often as chance would have it; the number of negative samples in
    word2vec's words."""
    smoothing: float = 0.75
    """Exponent of an item's frequency in what chance would have: below 1, rare items are less surprising."""
    exponent: float = 1.0
    """Of the singular values: 0 makes all axes equally wide, 1 keeps their widths."""
    seed: int = 0
    """Of the randomised SVD."""

    def __post_init__(self) -> None:
        if self.dimension < 1 or self.window < 1 or self.shift <= 0 or not 0 < self.smoothing <= 1 or self.exponent < 0:
            raise ValueError(
                f"{self}: expected dimension and window of at least 1, shift above 0, "
                "smoothing above 0 and at most 1, exponent of at least 0"
            )


class BehaviourVectors:
    """A vector of each item that the training window has seen with others. Read-only: any thread may call."""

    def __init__(self, item_ids: Sequence[str], matrix: Vectors) -> None:
        """
        Args:
            item_ids: each once.
            matrix: float32 (n, dimension), in their order; each row of length 1 or zero.
        """
        if matrix.ndim != 2 or len(item_ids) != len(matrix):
            raise ValueError(f"{len(item_ids)} items, matrix {matrix.shape}: expected one row an item")
        self.item_ids = list(item_ids)
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        self.dimension = self.matrix.shape[1]
        self._rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        if len(self._rows) != len(self.item_ids):
            raise ValueError(f"{len(self.item_ids)} item ids, {len(self._rows)} distinct: expected each once")
        content = hashlib.blake2b(repr(self.matrix.shape).encode(), digest_size=8)
        content.update("\n".join(self.item_ids).encode("utf-8", "surrogatepass"))
        content.update(self.matrix.tobytes())
        self.digest = content.hexdigest()
        """16 hex characters of items and numbers."""

    @classmethod
    def fit(
        cls, item_ids: Sequence[str], weights: sparse.csr_matrix, settings: BehaviourSettings | None = None
    ) -> BehaviourVectors:
        """Vectors of items, given how much each two of them met.

        Equal input gives equal vectors on one machine.

        Args:
            item_ids: (n,)
            weights: (n, n) of at least 0, as `meetings` or `from_pairs` give it; both directions are added up.
        """
        its = settings or BehaviourSettings()
        if weights.shape != (len(item_ids), len(item_ids)):
            raise ValueError(f"{len(item_ids)} items, weights {weights.shape}: expected ({len(item_ids)},) squared")
        return cls(item_ids, _factorised(_surprise(weights, its), its))

    def vectors(self, item_ids: Sequence[str]) -> Vectors:
        """float32 (n, dimension), in their order, each of length 1; zeros for an item that was never seen."""
        found = np.zeros((len(item_ids), self.dimension), dtype=np.float32)
        for place, item_id in enumerate(item_ids):
            row = self._rows.get(item_id)
            if row is not None:
                found[place] = self.matrix[row]
        return found

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        content, ends = pack(self.item_ids)
        save_file({"matrix": self.matrix, "item_ids": content, "item_id_ends": ends}, path)

    @classmethod
    def load(cls, path: Path) -> BehaviourVectors:
        """Reads what `save` wrote.

        Raises:
            EncoderError: the file is not there or not whole.
        """
        try:
            tensors = load_file(path)
            return cls(unpack(tensors["item_ids"], tensors["item_id_ends"]), tensors["matrix"])
        except (OSError, SafetensorError, KeyError, ValueError) as exc:
            raise EncoderError(f"{path}: no file of behaviour vectors ({exc}); build the model folder anew") from exc


def meetings(sessions: Codes, items: Codes, size: int, window: int) -> sparse.csr_matrix:
    """How much items met: a pair counts once a session, 1 / distance at its nearest.

    Args:
        sessions: (events,) session of each event; events in time order, sessions may be interleaved.
        items: (events,) item of each event, from 0 to size - 1; below 0: one that meets nobody, but has its place.
        size: items there are.
        window: places that two events may be apart.

    Returns:
        (size, size) float64, symmetric, nothing on the diagonal.

    Raises:
        ValueError: not equally many of both.
    """
    if len(sessions) != len(items):
        raise ValueError(f"{len(sessions)} sessions, {len(items)} items: expected one of each an event")
    order = np.argsort(sessions, kind="stable")
    session, item = sessions[order], items[order]
    found = []
    for distance in range(1, window + 1):
        one, other = item[:-distance], item[distance:]
        kept = (session[:-distance] == session[distance:]) & (one != other) & (np.minimum(one, other) >= 0)
        low, high = np.minimum(one, other)[kept], np.maximum(one, other)[kept]
        found.append(
            pl.DataFrame({"session": session[:-distance][kept], "low": low, "high": high}).with_columns(
                weight=pl.lit(UNIT // distance, dtype=pl.Int64)
            )
        )
    pairs = (
        pl.concat(found)
        .group_by("session", "low", "high")
        .agg(pl.col("weight").max())
        .group_by("low", "high")
        .agg(pl.col("weight").sum())
        .sort("low", "high")
    )
    half = _matrix(pairs["low"], pairs["high"], pairs["weight"] / UNIT, size)
    return (half + half.T).tocsr()


def from_pairs(pairs: pl.DataFrame, size: int) -> sparse.csr_matrix:
    """The same from a table of pairs: before, after (codes from 0 to size - 1), weight. (size, size) float64."""
    apart = pairs.filter(pl.col("before") != pl.col("after")).sort("before", "after", "weight")
    return _matrix(apart["before"], apart["after"], apart["weight"], size)


def _matrix(rows: pl.Series, columns: pl.Series, weights: pl.Series, size: int) -> sparse.csr_matrix:
    values = weights.cast(pl.Float64).to_numpy()
    return sparse.csr_matrix((values, (rows.to_numpy(), columns.to_numpy())), shape=(size, size))


def _surprise(weights: sparse.csr_matrix, settings: BehaviourSettings) -> sparse.csr_matrix:
    """max(0, log(p(a, b) / (p(a) p'(b) shift))), where p'(b) is p(b) smoothed: (n, n)."""
    both = (weights + weights.T).tocoo()
    total = both.data.sum()
    if total <= 0:
        return sparse.csr_matrix(both.shape)
    of_item = np.asarray(both.sum(axis=1)).ravel()  # (n,)
    chance = of_item**settings.smoothing
    chance /= chance.sum()
    row, column = both.coords
    surprise = np.log(both.data / (of_item[row] * chance[column] * settings.shift))
    kept = surprise > 0
    return sparse.csr_matrix((surprise[kept], (row[kept], column[kept])), shape=both.shape)


def _factorised(matrix: sparse.csr_matrix, settings: BehaviourSettings) -> Vectors:
    """Left singular vectors by the singular values to the exponent, rows to length 1: float32 (n, dimension)."""
    size = matrix.shape[0]
    vectors = np.zeros((size, settings.dimension), np.float32)
    rank = min(settings.dimension, size)
    if matrix.nnz:
        left, values, _ = randomized_svd(matrix.astype(np.float32), rank, n_iter=4, random_state=settings.seed)
        real = values > 1e-5 * values[0]  # axes of noise have no direction
        vectors[:, :rank][:, real] = left[:, real] * values[real] ** settings.exponent
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[np.diff(matrix.indptr) == 0] = 0
    unit: Vectors = np.divide(vectors, lengths, out=vectors, where=lengths > 1e-6)
    return unit
