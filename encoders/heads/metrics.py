"""What a head is worth, in the field's figures: calibration, order, and intervals of a gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score

Floats = NDArray[np.float64]
BINS = 15
DRAWS = 2000
PLACES = 10
"""Of NDCG."""


@dataclass(frozen=True, slots=True)
class Report:
    """A head on the test part, beside its baselines."""

    n: int
    """Rows of the test part; of ranking the groups that can be ranked rightly or wrongly."""
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    main: str
    """The metric by which head and baselines are compared."""
    gains: dict[str, dict[str, float]]
    """By baseline: how much better the head is by the main metric, with a 95 % interval (paired bootstrap over rows, of
    ranking over groups)."""
    detail: dict[str, Any] = field(default_factory=dict)
    """Of classification: `classes` (precision, recall, F1 and support of each), `confusion` with its `labels`."""


def expected_calibration_error(probabilities: Floats, right: NDArray[np.bool_]) -> float:
    """Mean gap of confidence and accuracy over 15 bins of equal width, weighed by rows (Guo et al. 2017).

    Args:
        probabilities: of the class that was said, (n,)

    >>> round(expected_calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 6)
    0.4
    """
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [
        abs(probabilities[bins == place].mean() - right[bins == place].mean()) * (bins == place).mean()
        for place in np.unique(bins)
    ]
    return float(sum(gaps))


def by_group(scores: Floats, relevance: Floats, lists: Sequence[NDArray[np.int64]]) -> tuple[Floats, Floats]:
    """NDCG@10 (gain linear in the relevance, ties averaged) and reciprocal rank of the first relevant candidate, of
    each group with candidates of different relevance: (groups,) each. Relevant: above 0. A candidate that ties takes
    the middle place of its equals.

    >>> by_group(np.array([3.0, 2.0, 1.0]), np.array([0.0, 1.0, 0.0]), [np.arange(3)])[1].tolist()
    [0.5]
    """
    gains, ranks = [], []
    for rows in lists:
        asked, said = relevance[rows], scores[rows]
        if np.ptp(asked) == 0:
            continue
        gains.append(ndcg_score(asked[None, :], said[None, :], k=PLACES))
        places = [(said > score).sum() + ((said == score).sum() + 1) / 2 for score in said[asked > 0]]
        ranks.append(1 / min(places))
    return np.array(gains, np.float64), np.array(ranks, np.float64)


def interval(better: Floats, seed: int) -> dict[str, float]:
    """Mean of paired differences, (n,), and its 95 % interval by bootstrap."""
    drawn = np.random.default_rng(seed).integers(0, len(better), size=(DRAWS, len(better)), dtype=np.int32)
    means = np.array([better[rows].mean() for rows in drawn])
    low, high = np.quantile(means, [0.025, 0.975])
    return {"gain": float(better.mean()), "low": float(low), "high": float(high)}
