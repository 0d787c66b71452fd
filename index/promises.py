"""Thresholds that keep a precision which was asked for, by a bound that holds for finitely many moments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from index.regression import Hits, Rows

DOUBT = 0.1
"""Chance that a threshold may fail the precision that it was chosen for."""
COVERAGES = np.linspace(0.02, 1.0, 99)
"""Shares of the moments, the surest first, at which a threshold is tried."""
LEAST = 100
"""Moments at least above a threshold: of fewer too little is known to begin with them."""


class Kept(NamedTuple):
    """A share of the moments, the surest, and how often they were right."""

    threshold: float
    """The least confidence among them."""
    coverage: float
    precision: float
    bound: float
    """Below the true precision, but for a chance of `doubt`."""


def tried(
    confidence: Rows, right: Hits, *, groups: NDArray[np.int64] | None = None, doubt: float = DOUBT
) -> list[Kept]:
    """What thresholds would keep, from the surest moments down.

    Each bound is the exact lower one of a binomial share (Clopper and Pearson 1934). Moments of one session are alike,
    so that they tell less than as many of different ones: with `groups` the bound is that of the effective number of
    moments, by the variance between sessions (Korn and Graubard 1998), which is never more than there are.

    Args:
        confidence: (n,).
        right: (n,).
        groups: (n,): of which session a moment is; None: each is of its own.
        doubt: chance that one of the bounds fails.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, hits = confidence[order], right[order]
    came = np.cumsum(hits)
    sessions = None if groups is None else np.unique(groups[order], return_inverse=True)[1]
    steps = np.ceil(COVERAGES * len(order)).astype(np.int64)
    found: list[Kept] = []
    for least in np.unique(steps[steps >= min(LEAST, len(order))]).tolist():
        if not least:
            break
        count = int(np.searchsorted(-sure, -sure[least - 1], side="right"))  # equals are covered together
        share = float(came[count - 1] / count)
        effect = 1.0 if sessions is None else _design_effect(hits[:count], sessions[:count], share)
        bound = exact(share * count / effect, count / effect, 2 * doubt)[0]
        found.append(Kept(float(sure[count - 1]), count / len(order), share, bound))
    return found


def kept(steps: Sequence[Kept], asked: float) -> Kept | None:
    """The lowest threshold above which the precision is at least what is asked, but for the chance of `doubt`.

    Thresholds are tried from the surest moments down until the first that does not hold: so all of them together hold
    with the same chance (fixed sequence testing; Angelopoulos et al. 2021). None: not even the first does.
    """
    found = None
    for step in steps:
        if step.bound < asked:
            break
        found = step
    return found


def exact(hits: float, count: float, doubt: float) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share, each end missed with a chance of half the doubt; 0 to 1 of nothing.

    >>> [round(end, 4) for end in exact(30, 100, 0.05)]
    [0.2124, 0.3998]
    """
    low = float(beta.ppf(doubt / 2, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - doubt / 2, hits + 1, count - hits)) if hits < count else 1.0
    return low, high


def _design_effect(hits: Hits, sessions: NDArray[np.int64], share: float) -> float:
    """Variance of the share between sessions over that of as many moments of different ones; at least 1."""
    count, plain = len(hits), share * (1 - share) / len(hits)
    sums = np.bincount(sessions, hits - share)
    there = np.count_nonzero(np.bincount(sessions))
    if plain <= 0 or there < 2:
        return 1.0
    between = there / (there - 1) * float(sums @ sums) / count**2
    return max(1.0, between / plain) if math.isfinite(between) else 1.0
