"""What each part of a score is to weigh: chosen on moments whose answer is known, and kept only where it holds.

    samples = Samples.of(parts, starts, target)          # of the validation window
    tuned = tune(samples, start=np.array([1, .5, .8, .1, .1, .05]))

Weights are never negative. A weight that does not help on moments that it was not chosen on is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from index import rank_metrics
from index.rank_metrics import Objective, kind_and_depth

Weights = NDArray[np.float64]
"""(P,), of the parts in their order."""

_FACTORS = 2.0 ** np.array([-4, -2, -1, -0.5, -0.25, 0.25, 0.5, 1, 2, 4])
"""What a step of the search multiplies a weight by."""
_FIRST = 2.0 ** np.arange(-8.0, 3.0)
"""What a weight that is 0 may become, in units in which a part tells candidates apart as well as the anchor does."""
_ROUNDS = 20
"""Rounds over all weights at most; it settles in three to eight."""
_LEAST = 1e-9
"""A gain below this is none: a sum of other roundings."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Moments with their candidates' unweighted parts, and which candidates were right."""

    parts: NDArray[np.float32]
    """(total, P): the candidates of all moments, one moment after the other."""
    starts: NDArray[np.int64]
    """(N + 1,): where each moment's candidates begin; the last is `total`."""
    relevant: NDArray[np.uint8]
    """(total,): 1 where the candidate is a target."""
    wanted: NDArray[np.int64]
    """(N,): targets of each moment, those that are not among its candidates too; 0: the moment scores 0."""
    folds: NDArray[np.uint8]
    """(N,): 0 or 1, the half that a moment belongs to. Moments of one session belong into one half."""

    @classmethod
    def of(
        cls,
        parts: NDArray[np.float32],
        starts: NDArray[np.int64],
        target: NDArray[np.int64],
        *,
        more: Sequence[Sequence[int]] = (),
        missed: NDArray[np.int64] | None = None,
        folds: NDArray[np.uint8] | None = None,
    ) -> Samples:
        """Samples from the place of each moment's target among its candidates.

        Args:
            target: (N,); -1: it is not among them, and the moment counts as missed.
            more: further targets of each moment, by place; empty: there are none.
            missed: (N,), how many of the further targets are not among the candidates.
            folds: as the field; None: by turns.

        Raises:
            ValueError: shapes do not fit, a place is none, or a part is not finite.

        >>> Samples.of(np.ones((3, 2), np.float32), np.array([0, 2, 3]), np.array([1, -1])).relevant.tolist()
        [0, 1, 0]
        """
        parts = np.ascontiguousarray(parts, np.float32)
        starts = np.ascontiguousarray(starts, np.int64)
        target = np.ascontiguousarray(target, np.int64)
        count = len(target)
        if parts.ndim != 2 or len(starts) != count + 1:
            raise ValueError(f"parts {parts.shape}, starts {starts.shape}: expected (total, P) and ({count + 1},)")
        sizes = np.diff(starts)
        if starts[0] != 0 or starts[-1] != len(parts) or (sizes < 0).any():
            raise ValueError(f"starts run from {starts[0]} to {starts[-1]}, expected 0 to {len(parts)}, never falling")
        if not np.isfinite(parts).all():
            raise ValueError("a part is not finite, expected numbers; leave such candidates out")
        if ((target < -1) | (target >= sizes)).any():
            raise ValueError("a target lies outside its moment's candidates, expected a place in them or -1")
        relevant = np.zeros(len(parts), np.uint8)
        wanted = np.ones(count, np.int64)
        relevant[starts[:-1][target >= 0] + target[target >= 0]] = 1
        for moment, places in enumerate(more):
            for place in places:
                if not 0 <= place < sizes[moment]:
                    raise ValueError(f"moment {moment}: target {place}, expected a place among {sizes[moment]}")
                row = starts[moment] + place
                wanted[moment] += 1 - int(relevant[row])
                relevant[row] = 1
        if missed is not None:
            wanted += missed
        turns = (np.arange(count) % 2).astype(np.uint8)
        return cls(parts, starts, relevant, wanted, turns if folds is None else np.ascontiguousarray(folds, np.uint8))

    def __len__(self) -> int:
        """Moments."""
        return len(self.wanted)


class Trial(NamedTuple):
    """A step of the search that gained."""

    part: int
    weight: float
    """Its new weight."""
    figure: float
    """The objective with it."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was chosen."""

    weights: Weights
    """(P,), each 0 or more, of four significant digits."""
    figure: float
    """The objective on all moments that it was chosen on."""
    held_out: float
    """The objective on each half, by weights that were chosen on the other: what to believe."""
    before: float
    """The objective with the weights to start from."""
    gains: tuple[float, ...]
    """What each part is worth to the objective on moments that it was not chosen on: with it less without it."""
    errors: tuple[float, ...]
    """Standard errors of these gains, paired over moments."""
    trace: tuple[Trial, ...]
    """The way of the last search, on all moments."""
    looks: int
    """How often the objective was computed."""


def tune(
    samples: Samples,
    start: Weights,
    objective: Objective = "ndcg_10",
    *,
    anchor: int | None = None,
    caution: float = 1.64,
) -> Tuned:
    """Weights that rank the targets of the samples high, and only those that earn their place.

    Coordinate ascent on the metric itself (Metzler and Croft 2007) over a log grid, from three starts: the given one, a
    conditional logit's, and all parts alike. Then parts that do not help are taken out, worst first: weights are chosen
    on one half of the moments with and without the part, and compared on the other half.
    Deterministic; equal input gives equal bytes.

    Args:
        start: (P,), weights to start from, 0 or more.
        anchor: the part whose weight stays as it is and sets the scale; None: the one that ranks best alone.
        caution: how many standard errors a part has to gain on moments that it was not chosen on; by 1.64, one useless
            part in twenty stays.

    Raises:
        ValueError: shapes do not fit, a weight is negative or not finite, or there is no such objective.
    """
    start = np.array(start, np.float64)
    count = samples.parts.shape[1]
    if start.shape != (count,) or not np.isfinite(start).all() or (start < 0).any():
        raise ValueError(f"weights to start from {start.tolist()}, expected {count} numbers of 0 or more")
    if len(samples.folds) != len(samples) or not np.isin(samples.folds, (0, 1)).all():
        raise ValueError(f"folds of {len(samples.folds)} moments, expected 0 or 1 for each of {len(samples)}")
    search = _Search(samples, objective, start, anchor)
    everything = np.arange(len(samples), dtype=np.int64)
    halves = [np.flatnonzero(samples.folds == fold).astype(np.int64) for fold in (0, 1)]
    before = search.figure(start, everything)
    if min(map(len, halves)) == 0 or search.hopeless:
        nothing = (0.0,) * count
        return Tuned(start, before, before, before, nothing, nothing, (), search.looks)
    allowed = frozenset(range(count))
    per_half = [search.best(half, allowed) for half in halves]
    gains, errors = np.zeros(count), np.zeros(count)
    while len(allowed) > 1:
        told = {part: search.worth(part, halves, per_half, allowed) for part in sorted(allowed - {search.anchor})}
        for part, (gain, error, _) in told.items():
            gains[part], errors[part] = gain, error
        useless = [part for part, (gain, error, _) in told.items() if gain <= caution * error]
        if not useless:
            break
        worst = min(useless, key=lambda part: (told[part][0], part))
        allowed -= {worst}
        per_half = told[worst][2]
    held = np.concatenate([search.values(weights, half) for weights, half in zip(per_half, halves[::-1], strict=True)])
    trace: list[Trial] = []
    weights = search.best(everything, allowed, more=per_half, trace=trace)
    weights = np.array([float(f"{weight:.4g}") for weight in weights])
    return Tuned(
        weights=weights,
        figure=search.figure(weights, everything),
        held_out=float(held.mean()),
        before=before,
        gains=tuple(gains.tolist()),
        errors=tuple(errors.tolist()),
        trace=tuple(trace),
        looks=search.looks,
    )


class _Search:
    """The objective over the samples, and the ways to climb it."""

    def __init__(self, samples: Samples, objective: Objective, start: Weights, anchor: int | None) -> None:
        self._samples = samples
        self._columns = np.ascontiguousarray(samples.parts.T)  # (P, total)
        self._answered = np.zeros(len(samples), np.bool_)
        if len(samples.parts):
            self._answered[np.searchsorted(samples.starts, np.flatnonzero(samples.relevant), "right") - 1] = True
        self._kind, self._depth = kind_and_depth(objective)
        self.looks = 0
        count = len(start)
        everything = np.arange(len(samples), dtype=np.int64)
        alone = [self.figure(row, everything) for row in np.eye(count)]
        self.hopeless = not samples.relevant.any()
        self.anchor = int(np.argmax(alone)) if anchor is None else anchor
        self._scale = float(start[self.anchor]) or 1.0
        self._start = start.copy()
        self._start[self.anchor] = self._scale
        spread = rank_metrics.spreads(samples.parts, samples.starts)
        own = spread[self.anchor] or 1.0
        self._unit = np.where(spread > 0, self._scale * own / np.where(spread > 0, spread, 1.0), 0.0)

    def values(self, weights: Weights, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """The objective of each chosen moment, (len(chosen),)."""
        self.looks += 1
        ours = self._samples
        found: NDArray[np.float64] = rank_metrics.values(
            ours.parts, ours.starts, ours.relevant, ours.wanted, weights, self._kind, self._depth, chosen
        )
        return found

    def figure(self, weights: Weights, chosen: NDArray[np.int64]) -> float:
        """Its mean."""
        return float(self.values(weights, chosen).mean()) if len(chosen) else 0.0

    def _along(self, weights: Weights, part: int, grid: Weights, chosen: NDArray[np.int64]) -> Weights:
        """The objective as one weight takes each value of a grid, (G,)."""
        self.looks += len(grid)
        ours = self._samples
        telling = chosen[self._answered[chosen]]  # the others add nothing
        sums: Weights = rank_metrics.along(
            self._columns,
            ours.starts,
            ours.relevant,
            ours.wanted,
            weights,
            part,
            grid,
            self._kind,
            self._depth,
            telling,
        )
        return sums / len(chosen)

    def best(
        self,
        chosen: NDArray[np.int64],
        allowed: frozenset[int],
        more: Sequence[Weights] = (),
        trace: list[Trial] | None = None,
    ) -> Weights:
        """The best weights that climbing from any start finds, of the allowed parts alone."""
        starts = [self._start, self._logit(chosen), self._unit, *more]
        found: tuple[float, Weights, list[Trial]] | None = None
        for begin in starts:
            way: list[Trial] = []
            weights, figure = self.climb(self._only(begin, allowed), chosen, allowed, way)
            if found is None or figure > found[0] + _LEAST:
                found = figure, weights, way
        assert found is not None  # there is always the given start
        if trace is not None:
            trace += found[2]
        return found[1]

    def climb(
        self, weights: Weights, chosen: NDArray[np.int64], allowed: frozenset[int], way: list[Trial]
    ) -> tuple[Weights, float]:
        """Coordinate ascent: each weight in turn to the best of its grid, until a round gains nothing."""
        weights = weights.copy()
        figure = self.figure(weights, chosen)
        for _ in range(_ROUNDS):
            before = figure
            for part in sorted(allowed - {self.anchor}):
                now = float(weights[part])
                grid = np.concatenate([[0.0], now * _FACTORS if now > 0 else self._unit[part] * _FIRST])
                reached = self._along(weights, part, grid, chosen)
                best = int(reached.argmax())
                if reached[best] > figure + _LEAST:
                    figure, weights[part] = float(reached[best]), grid[best]
                    way.append(Trial(part, float(grid[best]), figure))
            if figure <= before + _LEAST:
                break
        return weights, figure

    def worth(
        self,
        part: int,
        halves: Sequence[NDArray[np.int64]],
        per_half: Sequence[Weights],
        allowed: frozenset[int],
    ) -> tuple[float, float, list[Weights]]:
        """What a part gains on the half that weights were not chosen on, its standard error, and each half's weights
        without it."""
        without, gained = [], []
        for half, other, weights in zip(halves, halves[::-1], per_half, strict=True):
            lesser, _ = self.climb(self._only(weights, allowed - {part}), half, allowed - {part}, [])
            without.append(lesser)
            gained.append(self.values(weights, other) - self.values(lesser, other))
        difference = np.concatenate(gained)
        error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
        return float(difference.mean()), error, without

    def _only(self, weights: Weights, allowed: frozenset[int]) -> Weights:
        """These weights without those of other parts, in the anchor's scale."""
        kept = np.array([weight if part in allowed else 0.0 for part, weight in enumerate(weights)])
        kept[self.anchor] = self._scale
        return kept

    def _logit(self, chosen: NDArray[np.int64]) -> Weights:
        """Weights by conditional logit, never negative, scaled to the anchor's."""
        ours = self._samples
        slope = np.zeros(len(self._start))
        unit = self._unit  # so that one step moves each part alike

        def loss(weights: Weights) -> tuple[float, Weights]:
            self.looks += 1
            value = rank_metrics.choice_loss(ours.parts, ours.starts, ours.relevant, weights * unit, chosen, slope)
            return value, slope * unit

        found = minimize(
            loss, np.full(len(unit), 0.5), jac=True, bounds=[(0.0, 50.0)] * len(unit), options={"maxiter": 60}
        )
        weights: Weights = found.x * unit
        return weights * (self._scale / weights[self.anchor]) if weights[self.anchor] > 0 else self._start
