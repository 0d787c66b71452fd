import itertools

import numpy as np

from index.live import SLACK
from index.nearest import FLAT_TO, IVF_FROM, Flat, Inverted, Kind, choose, cost, kind_for, lists, padded, train
from tests.suites.vector_index_suite import crowd


def ticking(step: float):
    """A clock by which each search takes `step` seconds."""
    return itertools.count(0.0, step).__next__


def test_flat_while_a_search_stays_within_the_budget():
    rows = np.zeros((IVF_FROM, 4), dtype=np.float32)
    assert choose(rows, budget_us=200, batch=32, clock=ticking(32 * 200e-6 * 0.99)) == Kind.FLAT
    assert choose(rows, budget_us=200, batch=32, clock=ticking(32 * 200e-6 * 1.01)) == Kind.IVF_PQ
    assert choose(rows, budget_us=200, batch=8, clock=ticking(32 * 200e-6 * 0.99)) == Kind.IVF_PQ


def test_few_rows_are_not_even_measured():
    def broken() -> float:
        raise AssertionError("asked the time")

    assert choose(np.zeros((IVF_FROM - 1, 4), dtype=np.float32), clock=broken) == Kind.FLAT


def test_cost_is_the_best_of_several_batches_by_query():
    times = iter([0, 9, 10, 14, 20, 22, 30, 33, 40, 48])
    asked = []
    spent = cost(lambda queries, k: asked.append((len(queries), k)), np.zeros((4, 2)), 7, clock=lambda: next(times))
    assert spent == 2 / 4 * 1e6
    assert asked == [(4, 7)] * 5


def test_lists_grow_with_the_root():
    assert [lists(count) for count in (1, 1000, 40_000, 16_000_000)] == [1, 32, 256, 4096]


def test_padding_changes_no_product():
    rows = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
    wide = padded(rows)
    assert wide.shape == (5, 16)
    assert np.array_equal(wide[:, :11], rows)
    assert not wide[:, 11:].any()
    assert padded(wide).shape == (5, 16)


def test_effort_visits_more_lists_until_all_are_seen():
    vectors, queries = crowd(40)
    ones = np.ones(vectors.shape[1], dtype=np.float32)
    inverted = Inverted(train(vectors, ones), 1, ones)
    assert [inverted.probes_at(effort) for effort in range(4)] == [1, 4, 16, 32]
    seen = [(inverted.search(queries, 2000, effort)[1] >= 0).sum(axis=1) for effort in (0, 1, 3)]
    assert (seen[0] < seen[1]).all()
    assert (seen[2] == 2000).all()
    _, truth = Flat(vectors).search(queries, 10)
    found = inverted.search(queries, 10 * inverted.refine + SLACK, 3)[1]
    assert np.mean([np.isin(right, near).mean() for right, near in zip(truth, found, strict=True)]) > 0.95


def test_the_kind_of_an_index_is_told_by_its_size_alone():
    sizes = (0, 1, FLAT_TO, FLAT_TO + 1, 100_000_000)
    assert [kind_for(size) for size in sizes] == [Kind.FLAT] * 3 + [Kind.IVF_PQ] * 2
