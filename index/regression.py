"""Logistic regression by its penalised log loss: what a calibration, a gate and heads of intent are fitted by."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Rows = NDArray[np.float64]
Hits = NDArray[np.bool_]

_RISE = 1e-3
"""The least slope of a feature that has to rise, in units of its spread: a ranking stays one even where scores tell
nothing."""
_RIDGE = 1.0
"""Strength of the pull to 0 of each slope, in rows: keeps features that tell apart perfectly from running away."""


def regress(features: Rows, hit: Hits, *, rising: int = 0) -> tuple[float, Rows]:
    """Intercept and slopes, (C,), of a logistic regression of `hit`, (n,), on `features`, (n, C).

    Columns are brought to mean 0 and spread 1 first; one that is the same everywhere gets no slope.

    Args:
        rising: so many of the first slopes are held above 0.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    telling = spread > 1e-12 * np.maximum(1.0, np.abs(mean))
    inputs = np.where(telling, (features - mean) / np.where(telling, spread, 1.0), 0.0)  # (n, C)
    signs = np.where(hit, 1.0, -1.0)
    share = (hit.sum() + 0.5) / (len(hit) + 1)
    begin = np.zeros(1 + features.shape[1])
    begin[0], begin[1 : 1 + rising] = math.log(share / (1 - share)), _RISE
    bounds = [(None, None), *[(_RISE, None)] * rising, *[(None, None)] * (features.shape[1] - rising)]
    found = minimize(_loss_over(inputs, signs), begin, jac=True, bounds=bounds, options={"maxiter": 500, "ftol": 1e-12})
    slopes = np.where(telling, found.x[1:] / np.where(telling, spread, 1.0), 0.0)
    return float(found.x[0] - slopes @ mean), slopes


def _loss_over(inputs: Rows, signs: Rows) -> Callable[[Rows], tuple[float, Rows]]:
    """Penalised mean log loss of (intercept, slopes), with its gradient."""
    count = len(signs)

    def loss(weights: Rows) -> tuple[float, Rows]:
        margins = signs * (weights[0] + inputs @ weights[1:])
        value = np.logaddexp(0.0, -margins).mean() + 0.5 * _RIDGE * (weights[1:] @ weights[1:]) / count
        pull = -signs * expit(-margins) / count  # (n,)
        return float(value), np.concatenate([[pull.sum()], pull @ inputs + _RIDGE * weights[1:] / count])

    return loss
