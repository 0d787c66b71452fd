"""A logistic model and the gate made of it: where the truth is known, on noise, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from index.calibrating import ece
from index.gate import Gate, Threshold
from index.gate_fitting import fit_gate
from index.logistic import Logistic
from index.logistic_fitting import LEAST, fit_logistic
from index.regression import Hits, Rows

NAMES = ("telling", "noise", "same")


def _moments(count: int, seed: int, slope: float = 2.0) -> tuple[Rows, Hits, NDArray[np.int64]]:
    """The first feature tells, the second does not, the third is the same everywhere."""
    chance = np.random.default_rng(seed)
    features = np.column_stack([chance.normal(size=(count, 2)), np.ones(count)])
    return features, chance.random(count) < expit(slope * features[:, 0] - 1), np.arange(count) // 3


def test_it_finds_what_tells_and_says_honestly_how_much() -> None:
    features, hit, sessions = _moments(6000, 1)
    model, out_of_fold = fit_logistic(NAMES, features, hit, sessions)
    assert (model.intercept, *model.slopes) == pytest.approx((-1, 2, 0, 0), abs=0.15)
    assert model.slopes[2] == 0
    assert model.quality is not None
    assert (model.quality.n, model.quality.hits) == (6000, int(hit.sum()))
    assert model.quality.auc > 0.85
    assert model.quality.ece == pytest.approx(ece(out_of_fold, hit))
    fresh, came, _ = _moments(6000, 2)
    said = np.array([model.probability(row) for row in fresh.tolist()])
    assert ece(said, came) < 0.03
    assert said == pytest.approx(expit(2 * fresh[:, 0] - 1), abs=0.05)


def test_on_noise_it_says_the_base_rate_and_does_not_boast_of_it() -> None:
    features, hit, sessions = _moments(3000, 3, slope=0.0)
    model, _ = fit_logistic(NAMES, features, hit, sessions)
    assert model.quality is not None
    assert model.quality.auc == pytest.approx(0.5, abs=0.04)
    assert [model.probability(row) for row in features[:50].tolist()] == pytest.approx([expit(-1)] * 50, abs=0.06)


def test_what_was_never_seen_counts_as_the_farthest_that_was() -> None:
    features, hit, sessions = _moments(1000, 4)
    model, _ = fit_logistic(NAMES, features, hit, sessions)
    most = float(features[:, 0].max())
    assert model.probability([1e9, 0.0, 1.0]) == model.probability([most, 0.0, 1.0]) < 1
    assert model.probability([math.inf, 0.0, 7.0]) == model.probability([most, 0.0, 1.0])


@pytest.mark.parametrize("hits", [0, LEAST - 1, 3000 - LEAST + 1, 3000])
def test_of_too_little_nothing_is_fitted_and_the_reason_given(hits: int) -> None:
    features, _, sessions = _moments(3000, 5)
    model, out_of_fold = fit_logistic(NAMES, features, np.arange(3000) < hits, sessions)
    assert (model.fitted, len(out_of_fold)) == (False, 0)
    assert f"{hits} hits among 3000 moments" in model.why
    with pytest.raises(ValueError, match="no model"):
        model.probability([0.0, 0.0, 1.0])
    one = fit_logistic(NAMES, features, np.arange(3000) % 2 == 0, np.zeros(3000, np.int64))
    assert "1 sessions" in one.model.why
    with pytest.raises(ValueError, match="not finite"):
        fit_logistic(NAMES, np.full((3, 3), np.nan), np.ones(3, np.bool_), np.arange(3))


def test_a_gate_keeps_its_promises_on_moments_that_it_never_saw() -> None:
    """Each threshold of each of 20 gates; one in ten may fail."""
    broken = promised = 0
    features, hit, _ = _moments(100_000, 99)
    for seed in range(20):
        gate = fit_gate(NAMES, *_moments(3000, seed))
        assert gate.confidence == pytest.approx(0.9)
        said = expit(gate.model.intercept + features @ gate.model.slopes)
        for precision, least, coverage in gate.thresholds:
            above = said >= least
            promised += 1
            broken += hit[above].mean() < precision
            assert above.mean() == pytest.approx(coverage, abs=0.05)
    assert promised > 200
    assert broken <= promised * 0.1 + 3 * (promised * 0.09) ** 0.5


def test_the_next_precision_in_the_table_is_kept_where_another_is_asked_for() -> None:
    gate = fit_gate(NAMES, *_moments(4000, 6))
    precisions = [each.precision for each in gate.thresholds]
    assert precisions == sorted(precisions)
    assert [each.probability for each in gate.thresholds] == sorted(each.probability for each in gate.thresholds)
    thirty, between = gate.threshold_for(0.3), gate.threshold_for(0.26)
    assert thirty is not None and thirty.precision == 0.3  # noqa: PT018
    assert between == thirty
    assert gate.threshold_for(0.999) is None


def test_it_is_kept_as_json_and_comes_back_the_same() -> None:
    gate = fit_gate(NAMES, *_moments(2000, 7))
    assert Gate.from_dict(json.loads(json.dumps(gate.to_dict())), NAMES) == gate
    none = Gate.none("too little")
    assert Gate.from_dict(json.loads(json.dumps(none.to_dict())), NAMES) == none
    assert (none.fitted, none.threshold_for(0.1)) == (False, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [{"precision": 0.3}]}, "no gate"),
        ({"model": 3}, "no logistic model|no gate"),
        ({"thresholds": [Threshold(0.5, 0.5, 1)._asdict(), Threshold(0.3, 0.6, 1)._asdict()]}, "rising"),
        ({"thresholds": [Threshold(0.5, 1.5, 1)._asdict()]}, "rising"),
        ({"confidence": 1.0}, "rising"),
    ],
)
def test_a_gate_that_is_none_is_refused(change: dict[str, Any], message: str) -> None:
    told = fit_gate(NAMES, *_moments(2000, 8)).to_dict() | change
    with pytest.raises(ValueError, match=message):
        Gate.from_dict(told, NAMES)


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["telling"]},
        {"slopes": [1.0]},
        {"least": [0.0, math.nan, 0.0]},
        {"intercept": math.inf},
        {"why": None},
    ],
)
def test_a_model_of_other_features_is_refused(change: dict[str, Any]) -> None:
    told = fit_logistic(NAMES, *_moments(2000, 9)).model.to_dict() | change
    if change == {"why": None}:
        del told["most"]
    with pytest.raises(ValueError, match="logistic model"):
        Logistic.from_dict(told, NAMES)
    with pytest.raises(ValueError, match="of 3 features"):
        Logistic.from_dict(fit_logistic(NAMES, *_moments(2000, 9)).model.to_dict(), ("another", *NAMES[1:]))
