"""Baselines that know no session: what most took, and what most took lately."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streaming.evaluation.log import TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked, best
from streaming.holdout import DAY_MS

HALF_LIVES_MS = tuple(int(days * DAY_MS) for days in (1 / 24, 1 / 4, 1, 3, 7, 14, 30, 60, 120, 365))
"""Half-lives to choose from."""
_TAIL = 0.1
"""Newest share of the training events that the half-life is chosen on."""
_BLOCKS = 20
"""Of that share; each is foretold from all before it."""
_WIDTH = 20
_FAR = 500.0
"""Half-lives from the landmark at which weights are scaled down, well before float64 overflows."""


class Popularity:
    """Items by how many events they had."""

    name = "popularity"
    learns = True

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""
        self._counts = part.counts().astype(np.float64)
        self._best: Ranked | None = None

    def rank(self, _moment: Moment, k: int) -> Ranked:
        """As the protocol says."""
        if self._best is None or len(self._best.codes) < k:
            self._best = best(self._counts, 2 * k)
        return self._best

    def learn(self, passed: Passed) -> None:
        """As the protocol says."""
        self._counts[passed.item] += 1
        self._best = None


class DecayedPopularity:
    """Items by how many events they had before the moment, an event counting half of what one counts that is a
    half-life younger.

    The half-life is that of `HALF_LIVES_MS` whose first twenty hold most of the newest tenth of the training events,
    block by block. Forward decay (Cormode et al. 2009), so that nothing is summed anew; quick where moments come in
    time order, right in any.
    """

    name = "decayed popularity"
    learns = True
    _best: Ranked | None

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""
        self._items = len(part.catalogue)
        self._codes, self._times = part.codes, part.times
        self.half_life_ms = _chosen(part)
        self._taught = False
        self._begin()

    def rank(self, moment: Moment, k: int) -> Ranked:
        """As the protocol says."""
        if not self._taught:
            self._count_until(moment.time)
        if self._best is None or len(self._best.codes) < k:
            self._best = best(self._weights, 2 * k)
        return self._best

    def learn(self, passed: Passed) -> None:
        """As the protocol says."""
        if not self._taught:
            self._count_until(passed.time)
            self._taught = True
        self._add(np.array([passed.item]), np.array([passed.time]))

    def _begin(self) -> None:
        """Nothing is counted yet."""
        self._weights = np.zeros(self._items)
        self._landmark = int(self._times[0])
        self._counted = 0
        self._best = None

    def _count_until(self, time: int) -> None:
        """Counts the training events up to a time, and no later one."""
        if self._counted and self._times[self._counted - 1] > time:
            self._begin()
        end = int(np.searchsorted(self._times, time, side="right"))
        if end > self._counted:
            self._add(self._codes[self._counted : end], self._times[self._counted : end])
            self._counted = end

    def _add(self, codes: NDArray[np.integer], times: NDArray[np.int64]) -> None:
        """Counts events, in time order."""
        newest = int(times[-1])
        ages = (times - self._landmark) / self.half_life_ms
        if ages[-1] > _FAR:
            self._weights *= 2.0 ** -float(ages[-1])
            self._landmark = newest
            ages = (times - newest) / self.half_life_ms
        np.add.at(self._weights, codes, 2.0**ages)
        self._best = None


def _chosen(part: TrainingPart) -> int:
    """The half-life, in ms, that foretells the newest tenth best; of equals the longest."""
    cuts = np.unique(np.linspace(len(part.codes) * (1 - _TAIL), len(part.codes), _BLOCKS + 1).astype(int))
    found = []
    for half_life in HALF_LIVES_MS:
        hits, counted, now = 0, 0, int(part.times[0])
        weights = np.zeros(len(part.catalogue))
        for begin, end in pairwise(cuts.tolist()):
            newest = int(part.times[max(begin - 1, 0)])
            ages = (part.times[counted:begin] - newest) / half_life  # not above 0
            weights *= 2.0 ** ((now - newest) / half_life)
            np.add.at(weights, part.codes[counted:begin], 2.0**ages)
            counted, now = begin, newest
            hits += int(np.isin(part.codes[begin:end], best(weights, _WIDTH).codes).sum())
        found.append((hits, half_life))
    return max(found)[1]
