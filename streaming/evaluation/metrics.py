"""What ranks and lists are worth: each metric of each moment, and those of all lists together.

A rank is 1 at best; a tie has the middle rank of its equals. With one right answer a moment, the gain of the ideal
list is 1, so that NDCG@k is 1 / log2(1 + rank).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index.vocabulary import Codes

NAMES = ("hr_1", "hr_5", "hr_10", "hr_20", "ndcg_10", "mrr_20")
"""Of the metrics that each moment has, in their order."""
Values = NDArray[np.float64]
"""(n, len(NAMES))"""
Alike = Callable[[Codes], NDArray[np.float64]]
"""(m,) items to (m, m), how alike each two are, 0 to 1."""

_LISTS = 2000
"""Lists at most whose diversity is averaged, evenly spaced."""


def values_of(ranks: NDArray[np.float64]) -> Values:
    """Every metric of every moment.

    >>> values_of(np.array([1.0, 2.5, 30.0])).round(3).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.553, 0.4], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    hits = [(ranks <= depth).astype(np.float64) for depth in (1, 5, 10, 20)]
    ndcg = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0)
    mrr = np.where(ranks <= 20, 1 / ranks, 0.0)
    return np.stack([*hits, ndcg, mrr], axis=1)


def means(values: Values) -> dict[str, float]:
    """By name; of no moments, zeros."""
    return dict(zip(NAMES, values.mean(axis=0).tolist() if len(values) else [0.0] * len(NAMES), strict=True))


def coverage(lists: Codes, items: int) -> float:
    """Share of the catalogue that stands in any list."""
    return len(np.unique(lists[lists >= 0])) / items


def novelty(lists: Codes, counts: NDArray[np.int64]) -> float:
    """Mean surprise of an offered item, in bits: -log2 of its share of the training events, one added to each count
    (Vargas and Castells 2011). 0: nothing was offered."""
    share = (counts + 1) / (counts.sum() + len(counts))
    offered = lists[lists >= 0]
    return float(-np.log2(share[offered]).mean()) if len(offered) else 0.0


def diversity(lists: Codes, alike: Alike) -> float:
    """1 - how alike two items of a list are, in the mean over pairs and then over lists (Ziegler et al. 2005). Lists of
    fewer than two items are passed over; of none, 0."""
    found = []
    for row in lists[np.unique(np.linspace(0, len(lists) - 1, min(len(lists), _LISTS)).astype(int))]:
        codes = row[row >= 0]
        if len(codes) > 1:
            upper = np.triu_indices(len(codes), 1)
            found.append(1 - float(alike(codes)[upper].mean()))
    return sum(found) / len(found) if found else 0.0


def by_vectors(vectors: NDArray[np.float32]) -> Alike:
    """Cosine of unit vectors, (items, dimension), what is negative as 0."""

    def alike(codes: Codes) -> NDArray[np.float64]:
        rows = vectors[codes].astype(np.float64)
        return (rows @ rows.T).clip(0, 1)

    return alike
