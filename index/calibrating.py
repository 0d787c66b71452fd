"""How a calibration is fitted, and how far probabilities can be trusted."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit
from scipy.stats import rankdata

from index.calibration import Calibration, Quality
from index.regression import regress

_LEAST = 20
"""Hits, and misses, below which nothing is fitted."""
_LEAST_ISOTONIC = 200
"""Hits, and misses, below which no isotonic correction is tried."""
_PIECES = 2000
"""Pieces of equal size that the isotonic correction is fitted over at most, so that a manifest stays small."""
_FOLDS = 5
BINS = 15


class Bin(NamedTuple):
    """Items of about one probability."""

    probability: float
    """Mean of what was said."""
    hit_rate: float
    """Mean of what came."""
    n: int


def calibrate(
    z: ArrayLike,
    context: ArrayLike,
    hit: ArrayLike,
    moments: ArrayLike,
    *,
    isotonic: bool | None = None,
) -> Calibration:
    """Learn from what was offered and what came of it.

    What cannot be fitted, too few hits or too few misses, gives a calibration that says that it is none.

    Args:
        z: (n,), the score of each item.
        context: (n, C), what is known of its session at that moment; C may be 0.
        hit: (n,), whether it came within the horizon.
        moments: (n,), whole numbers: items of one moment have one, and stay in one fold. Give the session's number
            to hold whole sessions together, which is the stricter.
        isotonic: whether to correct; None: where that lowers the Brier score out of fold by more than chance would.

    Raises:
        ValueError: lengths do not fit, or a number is not finite.
    """
    z, hit, moments = np.asarray(z, np.float64), np.asarray(hit, np.bool_), np.asarray(moments)
    context = np.asarray(context, np.float64)
    count = len(z)
    if context.ndim != 2 or not len(context) == len(hit) == len(moments) == count:
        raise ValueError(
            f"z {z.shape}, context {context.shape}, hit {hit.shape}, moments {moments.shape}: "
            "expected (n,), (n, C), (n,) and (n,)"
        )
    if not np.isfinite(z).all() or not np.isfinite(context).all():
        raise ValueError("a score or a feature is not finite, expected numbers; leave such items out")
    hits, features = int(hit.sum()), np.column_stack([z, context])
    if min(hits, count - hits) < _LEAST:
        return Calibration.none(f"{hits} hits among {count} items, expected {_LEAST} hits and {_LEAST} misses or more")
    folds = np.unique(moments, return_inverse=True)[1] % _FOLDS
    if len(np.unique(folds)) < _FOLDS or len(np.unique(z)) < 2:
        return Calibration.none(f"{len(np.unique(moments))} moments, expected {_FOLDS} or more, with differing scores")
    odds, corrected = np.empty(count), np.empty(count)
    try_it = isotonic is not False and min(hits, count - hits) >= _LEAST_ISOTONIC
    for fold in range(_FOLDS):
        inside = folds == fold
        told = regress(features[~inside], hit[~inside], rising=1)
        odds[inside] = told[0] + features[inside] @ told[1]
        if try_it:
            seen = told[0] + features[~inside] @ told[1]
            corrected[inside] = np.interp(odds[inside], *_isotonic(seen, hit[~inside]))
    plain = expit(odds)
    better = try_it and (isotonic is True or _surely_less((corrected - hit) ** 2, (plain - hit) ** 2))
    out_of_fold = corrected if better else plain
    intercept, slopes = regress(features, hit, rising=1)
    curve = _isotonic(intercept + features @ slopes, hit) if better else ()
    return Calibration(
        calibrated=True,
        why="",
        intercept=intercept,
        slope=float(slopes[0]),
        slopes=tuple(slopes[1:].tolist()),
        knots=tuple(zip(*(axis.tolist() for axis in curve), strict=True)),
        quality=Quality(count, hits, ece(out_of_fold, hit), brier(out_of_fold, hit), auc(out_of_fold, hit)),
    )


# ---------------------------------------------------------------------------------------------------- what is measured
def reliability(probability: ArrayLike, hit: ArrayLike, bins: int = BINS) -> list[Bin]:
    """What was said against what came, in bins of equal size by rising probability; equal probabilities as they come.

    >>> reliability([.1, .2, .8, .9], [0, 0, 1, 1], bins=2)
    [Bin(probability=0.15000000000000002, hit_rate=0.0, n=2), Bin(probability=0.8500000000000001, hit_rate=1.0, n=2)]
    """
    said, came = np.asarray(probability, np.float64), np.asarray(hit, np.float64)
    order = np.argsort(said, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [Bin(float(said[part].mean()), float(came[part].mean()), len(part)) for part in parts]


def ece(probability: ArrayLike, hit: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal size (Nguyen and O'Connor 2015); 0 of nothing."""
    told = reliability(probability, hit, bins)
    total = sum(entry.n for entry in told)
    return sum(entry.n * abs(entry.probability - entry.hit_rate) for entry in told) / total if total else 0.0


def brier(probability: ArrayLike, hit: ArrayLike) -> float:
    """Mean squared distance of probability and outcome (Brier 1950); 0 of nothing."""
    said, came = np.asarray(probability, np.float64), np.asarray(hit, np.float64)
    return float(((said - came) ** 2).mean()) if len(said) else 0.0


def auc(probability: ArrayLike, hit: ArrayLike) -> float:
    """Chance that a hit has more than a miss, ties half; .5 where there is one kind only."""
    came = np.asarray(hit, np.bool_)
    hits, misses = int(came.sum()), int((~came).sum())
    if not hits or not misses:
        return 0.5
    ranks = rankdata(np.asarray(probability, np.float64))
    return float((ranks[came].sum() - hits * (hits + 1) / 2) / (hits * misses))


# ------------------------------------------------------------------------------------------------------ what is fitted
def _surely_less(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    """Whether the mean is smaller by two standard errors of the paired difference."""
    saved = theirs - ours
    return float(saved.mean()) > 2 * float(saved.std()) / math.sqrt(len(saved))


def _isotonic(odds: NDArray[np.float64], hit: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots of a rising curve from log-odds to hit rate.

    Isotonic regression, each of its steps drawn together to one point at its middle (Oron and Flournoy 2017), so that
    the curve rises between them; never quite 0 or 1.
    """
    order = np.argsort(odds, kind="stable")
    pieces = np.array_split(order, min(len(order), _PIECES))
    middles = np.array([odds[piece].mean() for piece in pieces])
    sizes = np.array([len(piece) for piece in pieces], np.float64)
    hits = np.array([hit[piece].sum() for piece in pieces], np.float64)
    blocks = isotonic_regression(hits / sizes, weights=sizes).blocks
    starts = blocks[:-1]
    size, came = np.add.reduceat(sizes, starts), np.add.reduceat(hits, starts)
    middle = np.add.reduceat(middles * sizes, starts) / size
    least = 0.5 / (len(hit) + 1)
    rate = np.clip(came / size, least, 1.0 - least)
    kept = np.concatenate([[True], np.diff(middle) > 1e-9])
    return middle[kept], rate[kept]
