"""Metrics where they can be reckoned by hand, and intervals where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from streaming.evaluation.bootstrap import draw, holm
from streaming.evaluation.metrics import NAMES, by_vectors, coverage, diversity, means, novelty, values_of

LISTS = np.array([[0, 1, -1], [0, 2, -1]], dtype=np.int32)


def test_metrics_of_ranks() -> None:
    found = means(values_of(np.array([1.0, 3.0, 15.0, 400.0])))
    assert found == {
        "hr_1": 0.25,
        "hr_5": 0.5,
        "hr_10": 0.5,
        "hr_20": 0.75,
        "ndcg_10": pytest.approx((1 + 0.5) / 4),
        "mrr_20": pytest.approx((1 + 1 / 3 + 1 / 15) / 4),
    }
    assert means(values_of(np.empty(0))) == dict.fromkeys(NAMES, 0.0)


def test_coverage_counts_items_that_stand_in_any_list() -> None:
    assert coverage(LISTS, 6) == 0.5
    assert coverage(np.full((2, 3), -1, dtype=np.int32), 6) == 0


def test_novelty_is_the_mean_surprise_in_bits() -> None:
    counts = np.array([3, 0, 0])  # shares 4/6, 1/6, 1/6
    expected = (2 * np.log2(6 / 4) + 2 * np.log2(6)) / 4
    assert novelty(LISTS, counts) == pytest.approx(expected)


def test_diversity_is_one_less_how_alike_the_items_of_a_list_are() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert diversity(LISTS, by_vectors(vectors)) == 0.5  # one list of twins, one of strangers
    assert diversity(np.array([[0, -1]], dtype=np.int32), by_vectors(vectors)) == 0


def test_an_interval_has_the_width_that_theory_gives() -> None:
    chance = np.random.default_rng(1)
    values = (chance.random((4000, 1)) < 0.2).astype(float)
    low, high = draw(values, np.arange(4000)).interval(0)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.2 * 0.8 / 4000), rel=0.1)


def test_sessions_are_drawn_whole() -> None:
    """Ten equal moments of one session say as much as one of them."""
    chance = np.random.default_rng(2)
    values = np.repeat((chance.random((400, 1)) < 0.5).astype(float), 10, axis=0)
    together = draw(values, np.repeat(np.arange(400), 10))
    apart = draw(values, np.arange(4000))
    wide, narrow = (np.subtract(*drawn.interval(0)[::-1]) for drawn in (together, apart))
    assert wide == pytest.approx(narrow * np.sqrt(10), rel=0.15)


def test_a_difference_is_paired() -> None:
    chance = np.random.default_rng(3)
    shared = chance.random(2000)
    values = np.stack([shared + 0.02, shared, shared + 0.1 * chance.standard_normal(2000)], axis=1)
    drawn = draw(values, np.arange(2000))
    assert drawn.difference(0, 1) == pytest.approx((0.02, 0.02))
    assert drawn.p_value(0, 1) == pytest.approx(2 / 2001)
    low, high = drawn.difference(1, 2)
    assert low < 0 < high
    assert drawn.p_value(1, 2) > 0.05


def test_equal_draws_for_equal_seeds_however_many_at_once() -> None:
    values = np.random.default_rng(4).random((50, 2))
    first, again = draw(values, np.arange(50), resamples=250), draw(values, np.arange(50), resamples=250)
    assert (first.means == again.means).all()
    assert (first.means != draw(values, np.arange(50), resamples=250, seed=1).means).any()
    with pytest.raises(ValueError, match="no moments"):
        draw(values[:0], np.arange(0))


def test_holm_never_lowers_a_p_value_nor_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
