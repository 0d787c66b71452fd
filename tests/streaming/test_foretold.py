"""Hits where the right answer is known, once with structure and once with noise."""

from __future__ import annotations

import numpy as np
import pytest

from streaming.foretold import Sessions, best_of, interval, measure

POPULAR = [f"p{n}" for n in range(20)]


def test_an_item_counts_only_if_it_comes_strictly_later_in_the_same_session() -> None:
    sessions = Sessions([("a", "tea"), ("b", "jam"), ("a", "mug"), ("a", "milk")])
    found = measure({0: ["mug"], 2: ["tea"], 1: ["mug"], 3: ["tea"]}, sessions, POPULAR)
    # Event 0 hits; 2 offers what came before; 1 and 3 are the last of their sessions and are left out.
    assert (found.n, found.sessions, found.hit_rate) == (2, 1, 0.5)


def test_popularity_is_asked_for_as_many_items_and_none_that_was_had() -> None:
    sessions = Sessions([("a", "p0"), ("a", "p1"), ("a", "p3")])
    assert measure({0: ["x"]}, sessions, POPULAR).hit_rate_popularity == 1  # p1, for p0 was had
    assert measure({1: ["x"]}, sessions, POPULAR).hit_rate_popularity == 0  # p2 alone
    assert measure({1: ["x", "y"]}, sessions, POPULAR).hit_rate_popularity == 1  # p2 and p3
    assert best_of(POPULAR, {"p0", "p2"}, 2) == ["p1", "p3"]
    assert best_of(["p0"], {"p0"}, 2) == []


def test_a_prediction_that_is_always_right_beats_one_that_never_is() -> None:
    events = [(f"s{n}", item) for n in range(40) for item in (f"first{n}", f"next{n}")]
    found = measure({2 * n: [f"next{n}"] for n in range(40)}, Sessions(events), POPULAR)
    assert (found.n, found.hit_rate, found.hit_rate_popularity) == (40, 1.0, 0.0)
    assert (found.low, found.high) == (1.0, 1.0)


def test_of_noise_the_interval_holds_zero() -> None:
    chance = np.random.default_rng(1)
    hits = [(f"s{n // 3}", bool(chance.random() < 0.3), bool(chance.random() < 0.3)) for n in range(600)]
    low, high = interval(hits)
    assert low < 0 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(2 * 0.3 * 0.7 / 600), rel=0.25)
    assert interval(hits) == (low, high)


def test_nothing_offered_is_nothing_measured() -> None:
    assert measure({}, Sessions([("a", "tea")]), POPULAR).n == 0
    assert measure({0: []}, Sessions([("a", "tea"), ("a", "mug")]), POPULAR).n == 0
