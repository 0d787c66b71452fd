"""Thresholds for a precision: kept on what they were not chosen on, by simulation where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from index.promises import DOUBT, exact, kept, tried
from index.regression import Hits, Rows

TRIALS = 200
ALLOWED = DOUBT * TRIALS + 3 * (TRIALS * DOUBT * (1 - DOUBT)) ** 0.5
"""Promises of so many that chance may break."""


@given(st.integers(1, 400), st.floats(0.01, 0.99), st.floats(0.02, 0.4))
@settings(max_examples=100, deadline=None)
def test_the_bound_fails_no_oftener_than_it_may(count: int, share: float, doubt: float) -> None:
    """Exactly, by summing over all that could have come: the lower bound lies above the truth with a chance of half
    the doubt at most, and so the upper one below it."""
    hits = np.arange(count + 1)
    ends = np.array([exact(int(each), count, doubt) for each in hits])
    chance = binom.pmf(hits, count, share)
    assert chance[ends[:, 0] > share].sum() <= doubt / 2 + 1e-9
    assert chance[ends[:, 1] < share].sum() <= doubt / 2 + 1e-9


def _alike(chance: np.random.Generator, sessions: int, each: int) -> tuple[Rows, Hits, NDArray[np.int64]]:
    """Moments of sessions that have one fate: all of a session's are right, or none."""
    groups = np.repeat(np.arange(sessions), each)
    sure = chance.random(sessions) * 0.6
    right = chance.random(sessions) < sure
    return sure[groups], right[groups], groups


@pytest.mark.parametrize("asked", [0.1, 0.4])
def test_a_threshold_keeps_what_was_asked_for(asked: float) -> None:
    """Over 200 shops, the true precision above the threshold is below what was asked in no more than one in ten."""
    broken = found = 0
    for seed in range(TRIALS):
        chance = np.random.default_rng(seed)
        sure = chance.random(1500) * 0.6
        step = kept(tried(sure, chance.random(1500) < sure), asked)
        found += step is not None
        broken += step is not None and (step.threshold + 0.6) / 2 < asked  # mean of what lies above it
    assert broken <= ALLOWED
    assert found > TRIALS / 2  # and it does not keep it by saying nothing


def test_it_keeps_it_where_the_moments_of_a_session_are_alike_which_a_bound_over_moments_does_not() -> None:
    broken = {True: 0, False: 0}
    for seed in range(TRIALS):
        sure, right, groups = _alike(np.random.default_rng(seed), 300, 10)
        for by_session in broken:
            step = kept(tried(sure, right, groups=groups if by_session else None), 0.4)
            broken[by_session] += step is not None and (step.threshold + 0.6) / 2 < 0.4
    assert broken[True] <= ALLOWED < broken[False]


def test_a_session_of_one_moment_each_is_no_other_than_none_and_more_of_the_same_say_no_more() -> None:
    chance = np.random.default_rng(5)
    sure = chance.random(800)
    right = chance.random(800) < sure
    apart, plain = tried(sure, right, groups=np.arange(800)), tried(sure, right)
    assert [step[:3] for step in apart] == [step[:3] for step in plain]
    assert [step.bound for step in apart] == pytest.approx([step.bound for step in plain], abs=2e-3)
    again = tried(np.repeat(sure, 9), np.repeat(right, 9), groups=np.repeat(np.arange(800), 9))
    whole, repeated = plain[-1], again[-1]
    assert (repeated.coverage, repeated.precision) == (whole.coverage, whole.precision)
    assert repeated.bound == pytest.approx(whole.bound, abs=2e-3)


def test_equals_are_covered_together_and_what_cannot_be_kept_is_not_promised() -> None:
    right = np.arange(1000) % 2 == 0
    steps = tried(np.full(1000, 0.5), right)
    assert [(step.threshold, step.coverage, step.precision) for step in steps][-1] == (0.5, 1.0, 0.5)
    assert {step.coverage for step in steps} == {1.0}
    assert kept(steps, 0.6) is None
    assert kept(tried(np.empty(0), np.empty(0, np.bool_)), 0.1) is None
