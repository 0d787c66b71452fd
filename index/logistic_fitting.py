"""How a logistic model is fitted, and how far it can be trusted on sessions that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from index.calibrating import auc, brier, ece
from index.calibration import Quality
from index.logistic import Logistic
from index.regression import Hits, Rows, regress

LEAST = 100
"""Hits, and misses, below which nothing is fitted."""
_FOLDS = 5


class Fitted(NamedTuple):
    """A model, and what it says of rows that it did not see."""

    model: Logistic
    out_of_fold: Rows
    """(n,): probability of each row by a model of the other folds; empty where nothing was fitted."""


def fit_logistic(names: Sequence[str], features: Rows, hit: Hits, groups: NDArray[np.int64]) -> Fitted:
    """A model of all rows, its quality measured out of fold. What cannot be fitted gives a model that says why.

    Args:
        names: of the features, (C,).
        features: (n, C).
        hit: (n,).
        groups: (n,): rows of one group stay in one fold, so that whole sessions are held out.

    Raises:
        ValueError: a feature is not finite.
    """
    if not np.isfinite(features).all():
        raise ValueError("a feature is not finite, expected numbers; leave such rows out")
    count, hits = len(hit), int(hit.sum())
    if min(hits, count - hits) < LEAST:
        return _nothing(f"{hits} hits among {count} moments, expected {LEAST} hits and {LEAST} misses or more")
    folds = np.unique(groups, return_inverse=True)[1] % _FOLDS
    odds = np.empty(count)
    for fold in range(_FOLDS):
        inside = folds == fold
        if not inside.any() or len(np.unique(hit[~inside])) < 2:
            return _nothing(
                f"{len(np.unique(groups))} sessions with {hits} hits, expected hits and misses in all folds"
            )
        intercept, slopes = regress(features[~inside], hit[~inside])
        odds[inside] = intercept + features[inside] @ slopes
    said = expit(odds)
    intercept, slopes = regress(features, hit)
    model = Logistic(
        names=tuple(names),
        intercept=intercept,
        slopes=tuple(slopes.tolist()),
        least=tuple(features.min(axis=0).tolist()),
        most=tuple(features.max(axis=0).tolist()),
        quality=Quality(count, hits, ece(said, hit), brier(said, hit), auc(said, hit)),
    )
    return Fitted(model, said)


def _nothing(why: str) -> Fitted:
    return Fitted(Logistic.none(why), np.empty(0))
