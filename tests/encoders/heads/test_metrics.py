from __future__ import annotations

import numpy as np
import pytest

from encoders.heads.metrics import by_group, expected_calibration_error, interval


def test_calibration_error_is_the_gap_weighed_by_rows() -> None:
    sure = np.array([0.95, 0.95, 0.95, 0.95, 0.52, 0.52])
    right = np.array([True, True, True, False, True, False])
    assert expected_calibration_error(sure, right) == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.02)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0


def test_groups_are_ranked_each_for_itself() -> None:
    relevance = np.array([0.0, 2.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    scores = np.array([3.0, 2.0, 1.0, 5.0, 4.0, 1.0, 1.0])
    gains, ranks = by_group(scores, relevance, [np.arange(3), np.array([3, 4]), np.array([5, 6])])
    first = (2 / np.log2(3) + 1 / 2) / (2 + 1 / np.log2(3))
    tied = (1 + 1 / np.log2(3)) / 2
    assert gains == pytest.approx([first, tied])  # the second group has nothing to be told apart
    assert ranks == pytest.approx([1 / 2, 1 / 1.5])


def test_an_interval_holds_the_mean_and_is_the_same_for_one_seed() -> None:
    better = np.random.default_rng(0).normal(0.2, 1, 400)
    found = interval(better, 1)
    assert found["low"] < found["gain"] < found["high"]
    assert found["gain"] == pytest.approx(better.mean())
    assert found["high"] - found["low"] == pytest.approx(4 * better.std() / 20, rel=0.1)
    assert interval(better, 1) == found
