"""How item vectors are made of behaviour.

Truncated SVD of the shifted positive pointwise mutual information of items that meet in sessions, which is what
word2vec with negative sampling factorises implicitly (Levy and Goldberg 2014; Levy et al. 2015 for its settings).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from encoders.behaviour import BehaviourSettings, BehaviourVectors, Vectors

Codes = NDArray[np.int32]

UNIT = 1 << 24
"""Weights are summed as whole numbers of 1 / UNIT, so that a sum does not depend on its order."""


def fit_behaviour(
    item_ids: Sequence[str], weights: sparse.csr_matrix, settings: BehaviourSettings | None = None
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
    return BehaviourVectors(item_ids, _factorised(_surprise(weights, its), its))


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
