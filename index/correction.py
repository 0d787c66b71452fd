"""A running correction of probabilities by what came of them (Platt 1999, online): when a shop's days are others than
those that its model was calibrated on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Probabilities = NDArray[np.float64]

LEAST = 1e-6
"""What a probability is at least, and at most below 1, so that its log-odds are finite."""
BINS = 24
"""Of log-odds, `WIDTH` wide each, around 0: what is beyond counts with the last."""
WIDTH = 0.5
PRIOR = 400.0
"""Outcomes that no correction is worth: so many have to speak against it as speak for it."""
FARTHEST = 1.0
"""The most that log-odds are moved: of .1 to .23 or .04."""
STEEPEST = 2.0
"""The most that they are spread; and its inverse the least."""
_STEPS = 8


class Correction:
    """Log-odds `offset + slope * odds` in place of `odds`. The newest outcomes count most: one counts half after
    `half_life` more. A function of the outcomes in their order and of nothing else. Not for more than one thread."""

    def __init__(self, half_life: float = 20_000.0, every: int = 200) -> None:
        """
        Args:
            half_life: in outcomes.
            every: outcomes between two fits.
        """
        self.offset, self.slope = 0.0, 1.0
        self.outcomes = 0
        """Heard in all."""
        self._gains, self._every = 2.0 ** (1 / half_life), every
        self._weight = 1.0  # of the next outcome: it grows, so that those before need not be touched
        self._sums = [[0.0, 0.0, 0.0] for _ in range(BINS)]  # per bin, weighed: outcomes, their log-odds, hits
        self._said = 0.0
        self._since = 0

    @property
    def said(self) -> float:
        """Mean of what was said lately, uncorrected; 0 of nothing."""
        total = sum(count for count, _, _ in self._sums)
        return self._said / total if total else 0.0

    @property
    def seen(self) -> float:
        """Share of it that came; 0 of nothing."""
        total = sum(count for count, _, _ in self._sums)
        return sum(hits for _, _, hits in self._sums) / total if total else 0.0

    def hear(self, said: Sequence[float], came: Sequence[bool]) -> None:
        """What came of probabilities that were said, uncorrected, (n,) each. Some .6 us each."""
        weight = self._weight
        for probability, hit in zip(said, came, strict=True):
            sure = min(max(probability, LEAST), 1 - LEAST)
            odds = math.log(sure / (1 - sure))
            sums = self._sums[min(max(math.floor(odds / WIDTH) + BINS // 2, 0), BINS - 1)]
            sums[0] += weight
            sums[1] += weight * odds
            sums[2] += weight * hit
            self._said += weight * probability
            weight *= self._gains
        self._weight = weight
        self.outcomes += len(said)
        self._since += len(said)
        if self._since >= self._every:
            self._since = 0
            self._fit()

    def apply(self, said: Probabilities) -> Probabilities:
        """What is to be said in place of it, (n,); the order stays."""
        if self.offset == 0 and self.slope == 1:
            return said
        odds = logit(np.clip(said, LEAST, 1 - LEAST))
        found: Probabilities = expit(self.offset + self.slope * odds)
        return found

    def apply_one(self, said: float) -> float:
        """As `apply`, of one; 1 us.

        >>> Correction().apply_one(0.25)
        0.25
        """
        if self.offset == 0 and self.slope == 1:
            return said
        sure = min(max(said, LEAST), 1 - LEAST)
        return 1 / (1 + math.exp(-self.offset - self.slope * math.log(sure / (1 - sure))))

    def _fit(self) -> None:
        """Maximum of the likelihood of all bins, pulled to no correction by `PRIOR` outcomes, within the bounds; by
        Newton's method in a shift and a stretch about the mean of the log-odds."""
        self._sums = [[value / self._weight for value in sums] for sums in self._sums]
        self._said, self._weight = self._said / self._weight, 1.0
        sums = np.array([each for each in self._sums if each[0] > LEAST])
        count, hits = sums[:, 0], sums[:, 2]
        odds = sums[:, 1] / count  # (b,)
        middle = float(count @ odds / count.sum())
        inputs = np.stack([np.ones(len(odds)), odds - middle])  # (2, b)
        spread = max(float(count @ inputs[1] ** 2 / count.sum()), 1e-3)
        plain = expit(odds)
        pull = PRIOR * float(count @ (plain * (1 - plain)) / count.sum()) * np.array([1.0, spread])
        found = np.zeros(2)
        for _ in range(_STEPS):
            said = expit(odds + found @ inputs)
            gradient = inputs @ (hits - count * said) - pull * found
            curve = (inputs * (count * said * (1 - said))) @ inputs.T + np.diag(pull)
            found += np.linalg.solve(curve, gradient)
            found = np.clip(found, [-FARTHEST, 1 / STEEPEST - 1], [FARTHEST, STEEPEST - 1])
        self.slope = 1 + float(found[1])
        self.offset = float(found[0]) - float(found[1]) * middle
