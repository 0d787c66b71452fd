"""How sure a figure is: intervals by a bootstrap that draws whole sessions, and Holm's correction of several tests.

Paired: every ranker is measured on the same draws, so that a difference has an interval of its own, narrower than those
of its two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 20_171_101
_AT_ONCE = 100

Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draws:
    """Means of columns in each resample, (resamples, columns)."""

    means: Figures

    def interval(self, column: int) -> tuple[float, float]:
        """95 %, by percentiles."""
        return _interval(self.means[:, column])

    def difference(self, column: int, other: int) -> tuple[float, float]:
        """95 % interval of the one less the other."""
        return _interval(self.means[:, column] - self.means[:, other])

    def p_value(self, column: int, other: int) -> float:
        """Two-sided, of the two being equal: twice the smaller share of draws on one side of 0. At least
        2 / (resamples + 1): more is not known."""
        difference = self.means[:, column] - self.means[:, other]
        below, above = int((difference <= 0).sum()), int((difference >= 0).sum())
        return min(1.0, 2 * (min(below, above) + 1) / (len(difference) + 1))


def draw(values: Figures, groups: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = SEED) -> Draws:
    """Means of `values`, (n, columns), over as many groups as there are, drawn with replacement.

    Args:
        groups: (n,), 0 and up without gaps: what is drawn whole, as its rows depend on each other.

    Raises:
        ValueError: there is nothing to draw from.
    """
    if not len(values):
        raise ValueError("no moments to draw from, expected at least one")
    count = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, column, minlength=count) for column in values.T], axis=1)  # (groups, columns)
    sizes = np.bincount(groups, minlength=count).astype(np.float64)
    chance = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for begin in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - begin)
        drawn = chance.integers(count, size=(rows, count))
        times = np.stack([np.bincount(one, minlength=count) for one in drawn]).astype(np.float64)  # (rows, groups)
        means[begin : begin + rows] = (times @ sums) / (times @ sizes)[:, None]
    return Draws(means)


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for all of them (Holm 1979), in their order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        corrected[number] = largest
    return corrected


def _interval(figures: Figures) -> tuple[float, float]:
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)
