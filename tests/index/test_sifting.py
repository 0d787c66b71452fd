"""The small compiled steps around a search, against the same in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from index.sifting import NO_SCORE, sifted, visits, within

SOURCE = np.random.default_rng(3)


@pytest.mark.parametrize("probes", [1, 5, 32])
def test_the_nearest_lists_are_visited(probes: int) -> None:
    queries = SOURCE.normal(size=(4, 13)).astype(np.float32)
    emphasis = SOURCE.uniform(0.5, 2, 13).astype(np.float32)
    centres = SOURCE.normal(size=(32, 16)).astype(np.float32)
    asked, lists, scores = visits(queries, emphasis, centres, probes)
    assert asked[:, :13].tobytes() == (queries / emphasis).tobytes()
    assert not asked[:, 13:].any()
    near = asked @ centres.T
    for place in range(4):
        assert set(lists[place]) == set(np.argsort(-near[place])[:probes])
        assert scores[place] == pytest.approx(near[place, lists[place]], rel=1e-5)


def test_of_lists_that_are_equally_near_as_many_are_visited_as_are_wanted() -> None:
    centres = np.ones((6, 8), np.float32)
    centres[4] = 2
    _, lists, _ = visits(np.ones((1, 8), np.float32), np.ones(8, np.float32), centres, 3)
    assert len(set(lists[0].tolist())) == 3
    assert 4 in lists[0]


def test_what_is_no_item_and_what_ties_with_the_last_one_fetched_is_nothing() -> None:
    scores = np.array([[9, 8, 7, 5.1, 5]], np.float32)
    rows, by_row = np.array([[2, 0, 3, 1, 4]]), np.array([10, 11, 12, 13, 14], np.int32)
    gone, ties = np.array([True, False, False, False, False]), np.array([0.2], np.float32)
    kept, codes, rest = sifted(scores, rows, by_row, gone, ties, True, True)
    assert (kept.tolist(), codes.tolist()) == ([[9, NO_SCORE, 7, NO_SCORE, NO_SCORE]], [[12, -1, 13, -1, -1]])
    assert rest.tolist() == [5]
    kept, codes, rest = sifted(scores, rows, by_row, np.empty(0, np.bool_), ties, False, True)
    assert (codes.tolist(), rest.tolist()) == ([[12, 10, 13, 11, 14]], [NO_SCORE])
    rows[0, 3:] = -1
    kept, codes, rest = sifted(scores, rows, by_row, gone, ties, True, False)
    assert (codes.tolist(), rest.tolist()) == ([[12, -1, 13, -1, -1]], [NO_SCORE])


def test_of_those_that_tie_at_the_border_none_is_within() -> None:
    scores = np.array([[3, 1, 2, 1, NO_SCORE], [5, 4, 3, 2, 1]], np.float32)
    codes = np.array([[7, 1, 4, 2, -1], [9, 8, 3, 2, 1]], np.int32)
    found, sizes = within(scores, codes, 3)
    assert [row[:size].tolist() for row, size in zip(found, sizes.tolist(), strict=True)] == [[4, 7], [3, 8, 9]]
    found, sizes = within(scores, codes, 5)
    assert [row[:size].tolist() for row, size in zip(found, sizes.tolist(), strict=True)] == [
        [1, 2, 4, 7],
        [1, 2, 3, 8, 9],
    ]
