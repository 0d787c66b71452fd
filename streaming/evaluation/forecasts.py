"""What a ranking says of its own chances, held against what came: calibration, and precision at what coverage.

What is foretold: an item comes among the next events of its session within the horizon, as the product's calibration
has it. A moment is covered where the ranking speaks, which it does where it is sure enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from index.calibrating import Bin, auc, brier, ece, reliability
from streaming.evaluation.answers import Answers
from streaming.evaluation.evaluation import Told
from streaming.evaluation.log import Log
from streaming.evaluation.moments import Split
from streaming.fitting import HORIZON_EVENTS, HORIZON_MS

OFFERS = 10
"""Items that a prediction offers: those whose probabilities are shown."""
ASKED = 0.3
"""Precision that is asked for."""
DOUBT = 0.1
"""Chance that a threshold may fail the precision that it was chosen for."""
_STEPS = np.linspace(0.02, 1.0, 99)
"""Coverages at which a threshold is tried, and a curve drawn."""
_LEAST = 100
"""Moments at least above a threshold: of fewer too little is known to begin with them."""

Hits = NDArray[np.bool_]
Figures = NDArray[np.float64]


class Calibrated(NamedTuple):
    """How far probabilities of one kind can be trusted."""

    n: int
    rate: float
    """Share that came."""
    ece: float
    brier: float
    auc: float
    bins: Sequence[Bin]

    def as_json(self) -> dict[str, Any]:
        """One object."""
        told = {name: round(value, 5) for name, value in self._asdict().items() if isinstance(value, float)}
        bins = [[round(each.probability, 5), round(each.hit_rate, 5), each.n] for each in self.bins]
        return {"n": self.n, **told, "reliability": bins}


class Promise(NamedTuple):
    """A precision that was asked for, and what a threshold that was to keep it gave."""

    asked: float
    threshold: float | None
    """Of the confidence; None: no threshold kept it where it was chosen."""
    n: int
    """Moments that it was measured on, which it was not chosen on."""
    covered: int
    """Of them, those above the threshold."""
    precision: float
    low: float
    high: float
    """95 % of the precision, by Clopper and Pearson."""

    @property
    def coverage(self) -> float:
        """Share of the moments."""
        return self.covered / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What rankings said of their chances."""

    calibrated: Mapping[str, Calibrated]
    """Of the product, by what the probability is of: an offer, the first offer, a prediction; empty: it says none."""
    curves: Mapping[str, tuple[Figures, Figures]]
    """By ranker: coverage, and precision of the first item where the ranker is surest."""
    promise: Promise | None
    """Of the product's first offer; None: it says no probability."""

    def as_json(self) -> dict[str, Any]:
        """One object."""
        promise = None
        if self.promise is not None:
            promise = {
                name: round(value, 5) if isinstance(value, float) else value
                for name, value in {**self.promise._asdict(), "coverage": self.promise.coverage}.items()
            }
        return {
            "horizon": {"events": HORIZON_EVENTS, "ms": HORIZON_MS},
            "calibration": {name: each.as_json() for name, each in self.calibrated.items()},
            "asked_precision": promise,
            "precision_at_coverage": {
                name: {f"{share:.1f}": round(float(np.interp(share, *curve)), 5) for share in (0.1, 0.2, 0.4, 0.6, 1.0)}
                for name, curve in self.curves.items()
            },
        }


def coming(log: Log, split: Split) -> list[frozenset[int]]:
    """Items of the session's next events after each moment that lie within the horizon."""
    order = np.argsort(log.sessions, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    found = []
    for row, moment in zip(split.target_rows.tolist(), split.moments, strict=True):
        at = place[row]
        rows = order[at : at + HORIZON_EVENTS]
        soon = (log.sessions[rows] == log.sessions[row]) & (log.times[rows] - moment.time <= HORIZON_MS)
        found.append(frozenset(log.codes[rows[soon]].tolist()))
    return found


def foretold(told: Sequence[Told], soon: Sequence[frozenset[int]], groups: NDArray[np.int64]) -> Forecasts:
    """What the first of `told`, the product, says of its chances, and how sure all of them are where they are right.

    Args:
        soon: as `coming` gives it.
        groups: (n,), sessions in the order in which they began: a threshold is chosen on the first half of them and
            measured on the others.
    """
    came = [_came(each.answers, soon) for each in told]
    curves = {
        each.name: precision_at(each.answers.scores, hits[:, 0])
        for each, hits in zip(told, came, strict=True)
        if each.family != "variant"
    }
    ours, hits = told[0].answers, came[0]
    calibrated: dict[str, Calibrated] = {}
    said = ours.probabilities[:, :OFFERS].astype(np.float64)
    shown = ~np.isnan(said)
    if not shown.any():
        return Forecasts(calibrated, curves, None)
    calibrated["an offer"] = _calibrated(said[shown], hits[:, :OFFERS][shown])
    first = shown[:, 0]
    calibrated["the first offer"] = _calibrated(said[first, 0], hits[first, 0])
    confidence, right = np.nan_to_num(said[:, 0]), hits[:, 0]
    acts = ~np.isnan(ours.acts)
    if acts.any():
        any_of_them: Hits = np.logical_or.reduce(hits[:, :OFFERS], axis=1)
        calibrated["a prediction"] = _calibrated(ours.acts[acts], any_of_them[acts])
        confidence, right = np.nan_to_num(ours.acts), any_of_them
    return Forecasts(calibrated, curves, promised(confidence, right, groups))


def promised(confidence: Figures, right: Hits, groups: NDArray[np.int64], asked: float = ASKED) -> Promise:
    """Chooses a threshold on the groups that came first, and measures it on the others."""
    early = 2 * groups <= int(groups.max())
    least = threshold_for(confidence[early], right[early], asked)
    rest, hits = confidence[~early], right[~early]
    taken = hits[:0] if least is None else hits[rest >= least]
    low, high = _exact(int(taken.sum()), len(taken), 0.05)
    return Promise(asked, least, len(rest), len(taken), float(taken.mean()) if len(taken) else 0.0, low, high)


def threshold_for(confidence: Figures, right: Hits, asked: float, doubt: float = DOUBT) -> float | None:
    """The lowest confidence above which the precision is at least what is asked, but for a chance of `doubt`.

    Thresholds are tried from the surest moments down, each by the exact lower bound of a binomial share (Clopper and
    Pearson 1934), until the first that does not hold: so all of them together hold with the same chance (fixed
    sequence testing; Angelopoulos et al. 2021). None: not even the first does.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, came = confidence[order], np.cumsum(right[order])
    found = None
    steps = np.ceil(_STEPS * len(order)).astype(np.int64)
    for count in np.unique(steps[steps >= min(_LEAST, len(order))]).tolist():
        while count < len(order) and sure[count] == sure[count - 1]:
            count += 1  # equals are covered together
        if _exact(int(came[count - 1]), count, 2 * doubt)[0] < asked:
            break
        found = float(sure[count - 1])
    return found


def precision_at(confidence: Figures, right: Hits) -> tuple[Figures, Figures]:
    """Coverages, and the precision of that share of the moments where the confidence is highest; without any
    confidence (NaN) a moment comes last."""
    order = np.argsort(-np.nan_to_num(confidence, nan=-np.inf), kind="stable")
    counts = np.maximum(np.round(_STEPS * len(order)).astype(np.int64), 1)
    return _STEPS, np.cumsum(right[order])[counts - 1] / counts


def _came(answers: Answers, soon: Sequence[frozenset[int]]) -> Hits:
    """(n, DEPTH): whether each listed item came within the horizon."""
    return np.array([[code in items for code in row] for row, items in zip(answers.lists.tolist(), soon, strict=True)])


def _calibrated(said: Figures, came: Hits) -> Calibrated:
    return Calibrated(
        len(said),
        float(came.mean()),
        ece(said, came),
        brier(said, came),
        auc(said, came),
        reliability(said, came),
    )


def _exact(hits: int, count: int, doubt: float) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share, each end missed with a chance of half the doubt; 0 to 1 of nothing."""
    low = float(beta.ppf(doubt / 2, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - doubt / 2, hits + 1, count - hits)) if hits < count else 1.0
    return low, high
