"""What a ranking says of its own chances, held against what came: calibration, and precision at what coverage.

What is foretold: an item comes among the next events of its session within the horizon, as the product's calibration
has it; also where a session ends and nothing comes. A moment is covered where the ranking speaks, which it does where
it is sure enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.calibrating import Bin, auc, brier, ece, reliability
from index.gate import Threshold
from index.promises import COVERAGES, exact, kept, tried
from streaming.evaluation.answers import Answers
from streaming.evaluation.evaluation import Told
from streaming.evaluation.log import Log
from streaming.evaluation.moments import Split
from streaming.gating import HORIZON_EVENTS, HORIZON_MS

OFFERS = 10
"""Items that a prediction offers: those whose probabilities are shown."""
ASKED = 0.3
"""Precision that is asked for."""
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

    def as_json(self) -> dict[str, Any]:
        """One object."""
        told = {**self._asdict(), "coverage": self.coverage}
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in told.items()}


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What rankings said of their chances."""

    calibrated: Mapping[str, Calibrated]
    """Of the product, by what the probability is of: an offer, the first offer, a prediction; empty: it says none."""
    curves: Mapping[str, tuple[Figures, Figures]]
    """By ranker: coverage, and precision of the first item where the ranker is surest."""
    promise: Promise | None
    """Of the product's first offer, or of the whole where it says that; None: it says no probability."""
    kept: Sequence[Promise] = ()
    """What the thresholds gave that the product's own gate would be served with, all of the moments being others than
    those that they were chosen on; none: it has no gate."""

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "horizon": {"events": HORIZON_EVENTS, "ms": HORIZON_MS},
            "calibration": {name: each.as_json() for name, each in self.calibrated.items()},
            "asked_precision": None if self.promise is None else self.promise.as_json(),
            "kept_precisions": [promise.as_json() for promise in self.kept],
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


def sessions_of(split: Split) -> NDArray[np.int64]:
    """(n + e,): of each moment, then of each ending, who it is of; those that began first have the lower numbers."""
    if not split.endings:
        return split.groups
    numbers = [moment.session for moment in (*split.moments, *split.endings)]
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def foretold(
    told: Sequence[Told],
    soon: Sequence[frozenset[int]],
    groups: NDArray[np.int64],
    thresholds: Sequence[Threshold] = (),
) -> Forecasts:
    """What the first of `told`, the product, says of its chances, and how sure all of them are where they are right.

    Args:
        soon: as `coming` gives it.
        groups: as `sessions_of` gives it: a threshold is chosen on the first half of them and measured on the others.
        thresholds: of the product's gate.
    """
    came = [_came(each.answers, soon) for each in told]
    curves = {
        each.name: precision_at(each.answers.scores, hits[:, 0])
        for each, hits in zip(told, came, strict=True)
        if each.family != "variant"
    }
    ours, (ended, acts_ended) = told[0].answers, told[0].answers.at_endings
    hits = np.concatenate([came[0], np.zeros((len(ended), came[0].shape[1]), np.bool_)])
    calibrated: dict[str, Calibrated] = {}
    said = np.concatenate([ours.probabilities, ended])[:, :OFFERS].astype(np.float64)
    whole = np.concatenate([ours.acts, acts_ended])
    shown = ~np.isnan(said)
    if not shown.any():
        return Forecasts(calibrated, curves, None)
    calibrated["an offer"] = _calibrated(said[shown], hits[:, :OFFERS][shown])
    first = shown[:, 0]
    calibrated["the first offer"] = _calibrated(said[first, 0], hits[first, 0])
    confidence, right = np.nan_to_num(said[:, 0]), hits[:, 0]
    acts = ~np.isnan(whole)
    if acts.any():
        any_of_them: Hits = np.logical_or.reduce(hits[:, :OFFERS], axis=1)
        calibrated["a prediction"] = _calibrated(whole[acts], any_of_them[acts])
        confidence, right = np.nan_to_num(whole), any_of_them
    told_by = [] if not acts.any() else thresholds
    shares = [_measured(each.precision, each.probability, whole[acts], right[acts]) for each in told_by]
    return Forecasts(calibrated, curves, promised(confidence, right, groups), shares)


def promised(confidence: Figures, right: Hits, groups: NDArray[np.int64], asked: float = ASKED) -> Promise:
    """Chooses a threshold on the groups that came first, and measures it on the others."""
    early = 2 * groups <= int(groups.max())
    step = kept(tried(confidence[early], right[early], groups=groups[early]), asked)
    return _measured(asked, None if step is None else step.threshold, confidence[~early], right[~early])


def _measured(asked: float, least: float | None, confidence: Figures, right: Hits) -> Promise:
    """What a threshold gave on moments that it was not chosen on."""
    taken = right[:0] if least is None else right[confidence >= least]
    low, high = exact(int(taken.sum()), len(taken), 0.05)
    return Promise(asked, least, len(right), len(taken), float(taken.mean()) if len(taken) else 0.0, low, high)


def precision_at(confidence: Figures, right: Hits) -> tuple[Figures, Figures]:
    """Coverages, and the precision of that share of the moments where the confidence is highest; without any
    confidence (NaN) a moment comes last."""
    order = np.argsort(-np.nan_to_num(confidence, nan=-np.inf), kind="stable")
    counts = np.maximum(np.round(COVERAGES * len(order)).astype(np.int64), 1)
    return COVERAGES, np.cumsum(right[order])[counts - 1] / counts


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
