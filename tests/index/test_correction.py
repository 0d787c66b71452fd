"""A running correction: it follows what comes, is slow to believe, keeps the order and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from index.calibrating import ece
from index.correction import FARTHEST, PRIOR, STEEPEST, Correction


def heard(correction: Correction, said: np.ndarray, truth: np.ndarray, seed: int = 0, at_once: int = 10) -> np.ndarray:
    """What was said in its place, each before its outcome was heard."""
    came = np.random.default_rng(seed).random(len(said)) < truth
    told = []
    for start in range(0, len(said), at_once):
        part = slice(start, start + at_once)
        told.append(correction.apply(said[part]))
        correction.hear(said[part].tolist(), came[part].tolist())
    return np.concatenate(told)


@pytest.mark.parametrize(("shift", "stretch"), [(-0.6, 1.0), (0.5, 1.0), (0.0, 0.7), (0.4, 1.3)])
def test_it_finds_out_by_how_much_it_was_wrong(shift: float, stretch: float) -> None:
    said = expit(np.random.default_rng(1).normal(-1.5, 0.8, 40_000))
    truth = expit(shift + stretch * (logit(said) + 1.5) - 1.5)
    correction = Correction()
    heard(correction, said, truth)
    assert np.abs(correction.apply(said) - truth).mean() < 0.01 < np.abs(said - truth).mean()
    assert correction.outcomes == 40_000
    assert correction.said == pytest.approx(said.mean(), abs=0.01)
    assert correction.seen == pytest.approx(truth.mean(), abs=0.01)


def test_it_mends_a_middle_that_was_too_low_between_two_ends_that_were_right() -> None:
    """The best shift and stretch that there are cannot."""
    said = expit(np.random.default_rng(5).normal(-2, 0.8, 40_000))
    odds = logit(said)
    truth = expit(np.interp(odds, [-14, -3, -2, -1, 14], [-14, -3, -1.5, -1, 14]))
    correction = Correction(half_life=4_000)
    told = heard(correction, said, truth)[8_000:]
    came = np.random.default_rng(0).random(len(said)) < truth
    sides = np.where(came, 1, -1)
    shift, stretch = minimize(lambda line: np.logaddexp(0, -sides * (line[0] + line[1] * odds)).sum(), [0, 1]).x
    assert ece(told, came[8_000:]) < 0.012 < 0.015 < ece(expit(shift + stretch * odds), came) < ece(said, came)


def test_of_what_was_honest_next_to_nothing_is_changed() -> None:
    said = expit(np.random.default_rng(2).normal(-1.5, 0.8, 20_000))
    correction = Correction()
    told = heard(correction, said, said)
    assert np.abs(told - said).mean() < 0.01


def test_a_few_outcomes_change_little_and_many_within_bounds() -> None:
    """All came, though hardly any should have."""
    few, many = Correction(every=10), Correction(every=10)
    said = np.full(20_000, 0.05)
    few.hear(said[:20].tolist(), [True] * 20)
    assert few.apply_one(0.05) < 0.12 < 0.2 < 0.05 * PRIOR
    many.hear(said.tolist(), [True] * len(said))
    assert many.apply_one(0.05) == pytest.approx(expit(logit(0.05) + FARTHEST))


def test_it_follows_when_what_comes_changes() -> None:
    said = expit(np.random.default_rng(3).normal(-1.5, 0.8, 60_000))
    truth = np.where(np.arange(60_000) < 30_000, said, expit(logit(said) - 0.7))
    correction = Correction(half_life=2_000)
    told = heard(correction, said, truth)
    before, after = slice(10_000, 30_000), slice(40_000, 60_000)
    came = np.random.default_rng(0).random(60_000) < truth
    assert ece(told[before], came[before]) < 0.015
    assert ece(told[after], came[after]) < 0.015 < 0.05 < ece(said[after], came[after])


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300),
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_the_order_stays_and_all_are_probabilities(
    outcomes: list[tuple[float, bool]], said: list[float]
) -> None:
    correction = Correction(half_life=50, every=7)
    for probability, came in outcomes:
        correction.hear([probability], [came])
    slopes = np.diff(correction.corrected) / np.diff(correction.odds)
    assert (slopes > 1 / STEEPEST - 1e-9).all()
    assert (slopes < STEEPEST + 1e-9).all()
    rising = np.sort(np.array(said))
    told = correction.apply(rising)
    assert (np.diff(told) >= 0).all()
    assert ((told >= 0) & (told <= 1)).all()
    assert [correction.apply_one(each) for each in rising.tolist()] == pytest.approx(told.tolist(), abs=1e-9)


def test_equal_outcomes_in_equal_order_correct_alike() -> None:
    said = np.random.default_rng(4).random(3000)
    one, other = Correction(), Correction()
    assert heard(one, said, said**2).tolist() == heard(other, said, said**2).tolist()
    assert (one.odds, one.corrected) == (other.odds, other.corrected)
    assert one.corrected != one.odds
    assert Correction().said == Correction().seen == 0
