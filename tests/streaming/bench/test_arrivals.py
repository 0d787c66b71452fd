"""Arrivals come as a Poisson process does, oftener in a burst, and wait for nobody."""

from __future__ import annotations

import numpy as np
import pytest

from streaming.bench.arrivals import Burst, arrivals, backlog
from streaming.errors import InputError


def test_gaps_are_exponential() -> None:
    due = arrivals(1000, 60, seed=1)
    gaps = np.diff(due)
    assert due[0] >= 0
    assert due[-1] < 60
    assert len(due) == pytest.approx(60_000, rel=0.02)
    assert gaps.mean() == pytest.approx(0.001, rel=0.02)
    assert gaps.std() == pytest.approx(0.001, rel=0.03)  # as long as their mean: no clock, no batches
    assert (gaps > 0.001).mean() == pytest.approx(np.exp(-1), rel=0.03)


def test_a_burst_is_as_dense_as_asked_for_and_leaves_the_rest_alone() -> None:
    due = arrivals(100, 60, seed=2, burst=Burst(20, 10, 5))
    within = (due >= 10) & (due < 15)
    assert within.sum() == pytest.approx(20 * 100 * 5, rel=0.05)
    assert (~within).sum() == pytest.approx(100 * 55, rel=0.05)
    assert (np.diff(due) >= 0).all()


def test_a_burst_after_the_end_changes_nothing() -> None:
    assert (arrivals(100, 5, seed=3, burst=Burst(20, 10, 5)) == arrivals(100, 5, seed=3)).all()


def test_a_backlog_is_due_at_once() -> None:
    assert backlog(3).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (float("inf"), 1), (10, -1), (10, float("nan"))])
def test_what_is_no_rate_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(InputError, match="expected a finite number above 0"):
        arrivals(rate, seconds, seed=1)


@pytest.mark.parametrize("text", ["20", "20:1", "a:b:c", "0:1:1", "20:-1:1", "20:1:0"])
def test_what_is_no_burst_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="FACTOR:BEGIN:SECONDS"):
        Burst.parse(text)
