"""A running correction of probabilities by what came of them (Platt 1999, online): when a shop's days are others than
those that its model was calibrated on."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Probabilities = NDArray[np.float64]
Row = tuple[float, ...]

LEAST = 1e-6
"""What a probability is at least, and at most below 1, so that its log-odds are finite."""
BINS = 48
"""Of log-odds, `WIDTH` wide each, around 0: what is beyond counts with the last."""
WIDTH = 0.25
PIECES = 3
"""Straight pieces of the correction, with as many outcomes on each. One alone, a shift and a stretch, cannot mend
chances that are right at both ends and too low between them."""
PRIOR = 400.0
"""Outcomes that no correction is worth: so many have to speak against it as speak for it."""
FARTHEST = 1.0
"""The most that log-odds are moved: of .1 to .23 or .04."""
STEEPEST = 2.0
"""The most that they are spread, on each piece; and its inverse the least."""
_STEPS = 8
_END = math.log((1 - LEAST) / LEAST)


class Correction:
    """Other log-odds in place of those that were said, by a line that bends `PIECES` - 1 times and rises everywhere.
    The newest outcomes count most: one counts half after `half_life` more. A function of the outcomes in their order
    and of nothing else. Not for more than one thread."""

    def __init__(self, half_life: float = 20_000.0, every: int = 200) -> None:
        """
        Args:
            half_life: in outcomes.
            every: outcomes between two fits.
        """
        self.odds: Row = (-_END, _END)
        """Log-odds between which the line is straight, from low to high."""
        self.corrected: Row = self.odds
        """What stands in their place."""
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
        if self.corrected == self.odds:
            return said
        odds = logit(np.clip(said, LEAST, 1 - LEAST))
        found: Probabilities = expit(np.interp(odds, self.odds, self.corrected))
        return found

    def apply_one(self, said: float) -> float:
        """As `apply`, of one; 1 us.

        >>> Correction().apply_one(0.25)
        0.25
        """
        if self.corrected == self.odds:
            return said
        sure = min(max(said, LEAST), 1 - LEAST)
        odds = math.log(sure / (1 - sure))
        piece = bisect(self.odds, odds, 1, len(self.odds) - 1)
        (left, right), (low, high) = self.odds[piece - 1 : piece + 1], self.corrected[piece - 1 : piece + 1]
        return 1 / (1 + math.exp(-low - (high - low) * (odds - left) / (right - left)))

    def _fit(self) -> None:
        """Maximum of the likelihood of all bins, pulled to no correction by `PRIOR` outcomes, within the bounds:
        Newton's method in a shift and in each piece's stretch, those at a bound held there (Bertsekas 1982)."""
        self._sums = [[value / self._weight for value in sums] for sums in self._sums]
        self._said, self._weight = self._said / self._weight, 1.0
        sums = np.array([each for each in self._sums if each[0] > LEAST])
        count, hits = sums[:, 0], sums[:, 2]
        odds = sums[:, 1] / count  # (b,)
        share = (np.cumsum(count) - count / 2) / count.sum()
        bends = np.interp(np.arange(1, PIECES) / PIECES, share, odds)
        ends = np.unique(np.concatenate([[-_END], bends, [_END]]))  # (p + 1,)

        def pieces(of: Probabilities) -> Probabilities:
            """How much of each lies on each piece, (p, n)."""
            return np.clip(of, ends[:-1, None], ends[1:, None])

        lengths = pieces(odds)
        middle = lengths @ count / count.sum()  # (p,)
        inputs = np.vstack([np.ones(len(odds)), lengths - middle[:, None]])  # (1 + p, b)
        spread = np.maximum(inputs[1:] ** 2 @ count / count.sum(), 1e-3)
        plain = expit(odds)
        pull = PRIOR * float(count @ (plain * (1 - plain)) / count.sum()) * np.concatenate([[1.0], spread])
        least = np.array([-FARTHEST] + [1 / STEEPEST - 1] * len(middle))
        most = np.array([FARTHEST] + [STEEPEST - 1] * len(middle))
        found = np.zeros(len(inputs))
        for _ in range(_STEPS):
            said = expit(odds + found @ inputs)
            gradient = inputs @ (hits - count * said) - pull * found
            curve = (inputs * (count * said * (1 - said))) @ inputs.T + np.diag(pull)
            free = ~((found <= least) & (gradient < 0) | (found >= most) & (gradient > 0))
            found[free] += np.linalg.solve(curve[np.ix_(free, free)], gradient[free])
            found = np.clip(found, least, most)
        self.odds = tuple(ends.tolist())
        self.corrected = tuple((ends + found[0] + found[1:] @ (pieces(ends) - middle[:, None])).tolist())
