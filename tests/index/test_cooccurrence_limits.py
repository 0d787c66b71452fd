import itertools
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.co_settings import CoSettings
from index.cooccurrence import CoOccurrence
from index.lesson import Lesson
from index.meetings import MEMORY, lesson_context
from index.vocabulary import Vocabulary
from tests.index.counted import (
    MINUTE,
    fitted,
    support,
    together,
)


def test_a_full_row_keeps_its_heaviest():
    options = CoSettings(neighbours=3, backward=0)
    table = CoOccurrence(Vocabulary(), options)
    for number in range(40):
        for _ in range(3 if number < 3 else 1):
            table.observe(Lesson(f"x{number:02}", ["a"], "click", 0, number, number))
    row = table.to_frame().filter(pl.col("item_id") == "a")
    kept = {table.to_frame()["item_id"][place] for place in row["after"][0]}
    assert {"x00", "x01", "x02"} <= kept
    assert len(kept) <= 6
    assert [item for item, _, _ in together(table, [("a", 1.0)], 3)] == ["x00", "x01", "x02"]
    assert row["total"][0] == (40 + 6) * 65536
    fit = CoOccurrence.fit(Vocabulary(), np.arange(92) // 2, ["a", "x"] * 46, settings=options)
    assert support(fit, "a", "x") == 46


@pytest.mark.parametrize("neighbours", [1, 2, 5, 100])
def test_rows_that_move_while_they_grow_lose_nothing(neighbours):
    """Against a dictionary, with rows of all sizes that take one another's room."""
    source = np.random.default_rng(neighbours)
    options = CoSettings(neighbours=neighbours, backward=0, by_distance=False)
    table, expected = CoOccurrence(Vocabulary(), options), {}
    few = 2 * neighbours if neighbours < 100 else 150
    for number in range(4000):
        before, after = f"b{source.integers(0, 30)}", f"a{source.integers(0, few)}"
        table.observe(Lesson(after, [before], "click", 0, number, number))
        expected[before, after] = expected.get((before, after), 0) + 1
    assert {pair: support(table, *pair) for pair in expected} == expected


def test_strangers_are_let_in_up_to_a_limit():
    table = CoOccurrence(Vocabulary(["a", "b"]), CoSettings(strangers=2))
    for number in range(5):
        table.observe(Lesson(f"x{number}", ["a", "b"], "click", 0, number, number))
        table.observe(Lesson("a", [f"y{number}"], "click", 0, number, number))
    assert table.vocabulary.all() == ["a", "b", "x0", "y0"]
    assert table.seen(table.vocabulary.codes(["a", "x0"])).tolist() == [5, 1]
    assert support(table, "y0", "a") == 1


def test_a_cold_item_borrows_from_its_nearest_until_it_has_been_seen():
    options = CoSettings(cold_below=2, cold_factor=0.5, doubt=1, damping=0, backward=0)
    table = CoOccurrence.fit(Vocabulary(["cold"]), [1, 1, 2, 2, 2], ["a", "x", "a", "x", "y"], settings=options)
    cold, x, y = table.vocabulary.codes(["cold", "x", "y"])
    history = np.array([table.vocabulary.code("a")], np.int32), np.ones(1)
    warm = dict(zip(*table.together(*history, 9)[:2], strict=True))
    assert set(warm) == {x, y}
    table.cold(np.array([cold]), np.array([[x, y, -1, x]]), np.array([[0.8, 0.4, 0.9, -0.5]], np.float32))
    for _ in range(2):  # nothing is left over from the call before
        lent = table.together(*history, 9)
        scores = dict(zip(*lent[:2], strict=True))
        assert {code: scores[code] for code in warm} == warm
        assert scores[cold] == pytest.approx(0.5 * (0.8 * warm[x] + 0.4 * warm[y]) / 4)
        assert set(lent.evidence.tolist()) == {int(history[0][0])}
    assert cold not in table.together(*history, 2).codes
    both = np.array([history[0][0], cold], np.int32)
    assert cold not in table.together(both, np.ones(2), 9, repeats=False).codes
    for _ in range(2):
        assert cold in table.together(*history, 9).codes
        table.observe(Lesson("cold", ["y"], "click", 0, 0, 0))
    assert cold not in table.together(*history, 9).codes


def test_a_cold_item_with_a_row_of_its_own_has_both():
    options = CoSettings(cold_below=5, cold_factor=1, doubt=1, damping=0, backward=0)
    table = CoOccurrence.fit(Vocabulary(), [1, 1, 2, 2], ["a", "x", "b", "cold"], settings=options)
    a, b, x, cold = table.vocabulary.codes(["a", "b", "x", "cold"])
    table.cold(np.array([cold]), np.array([[x]]), np.ones((1, 1), np.float32))
    found = table.together(np.array([a, b], np.int32), np.array([3.0, 1.0]), 9)
    at = found.codes.tolist().index(cold)
    assert found.scores[at] == pytest.approx(0.25 / 2 + 0.75 / 2)
    assert found.evidence[at] == a
    found = table.together(np.array([a, b], np.int32), np.array([1.0, 3.0]), 9)
    assert found.evidence[found.codes.tolist().index(cold)] == b


def test_settings_and_columns_that_make_no_sense_are_refused():
    for wrong in (
        {"window": 0},
        {"window": 63},
        {"backward": 1.1},
        {"doubt": -1},
        {"damping": -1},
        {"half_life_days": 0},
        {"neighbours": 0},
        {"per_session": 0},
        {"strangers": -1},
    ):
        with pytest.raises(ValueError, match="expected"):
            CoSettings(**wrong)
    with pytest.raises(ValueError, match=r"lengths \[2, 1\]"):
        CoOccurrence.fit(Vocabulary(), ["s", "s"], ["a"])
    with pytest.raises(ValueError, match="no times"):
        CoOccurrence.fit(Vocabulary(), ["s"], ["a"], settings=CoSettings(half_life_days=1))
    with pytest.raises(ValueError, match="expected 0 to 0"):
        CoOccurrence.fit(Vocabulary(["a"]), [1], np.array([1]))
    with pytest.raises(ValueError, match="shapes"):
        fitted("a", "b").cold(np.array([0]), np.zeros((2, 10), np.int32), np.zeros((2, 10), np.float32))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=MEMORY + 10),
    st.lists(st.integers(0, 25 * MINUTE), min_size=MEMORY + 10, max_size=MEMORY + 10),
    st.integers(1, 6),
)
def test_a_lesson_names_each_item_once_at_its_nearest_and_none_just_met(items, waits, window):
    times = list(itertools.accumulate(waits))[: len(items)]
    context = lesson_context(items, times, window)
    assert len(context) == min(window, len(items) - 1)
    named = [item for item in context if item]
    assert len(named) == len(set(named))
    for distance, item in enumerate(context, 1):
        assert item in ("", items[-1 - distance])
    alone = {item for item in items[:-1] if items[-1] not in items[:-1]}
    assert alone & set(items[-1 - window : -1]) <= set(named)


def test_it_is_fast():
    source = np.random.default_rng(0)
    items = (5000 * source.random(100_000) ** 2).astype(np.int32)
    vocabulary = Vocabulary(f"i{number}" for number in range(5000))
    together(fitted("a", "b"), [("a", 1.0)])  # compiled by now
    start = time.process_time()
    table = CoOccurrence.fit(vocabulary, np.arange(100_000) // 7, items, np.arange(100_000) * 1000)
    assert time.process_time() - start < 3  # 0.15 s on two cores
    histories = items[:20_000].reshape(-1, 20)
    weights = 0.6 ** np.arange(20.0)[::-1]
    start = time.process_time()
    for history in histories:
        table.together(history, weights, 200)
    assert (time.process_time() - start) / len(histories) < 1e-3  # 50 us
