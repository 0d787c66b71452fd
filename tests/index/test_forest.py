from dataclasses import fields, replace

import lightgbm
import numpy as np
import pytest

from index.errors import IndexingError
from index.forest import Forest
from index.forest_fitting import ForestSettings, Lists, grow

SMALL = ForestSettings(trees=20, leaves=8, depth=4, least=5)


def rankings(count=200, seed=0):
    """What is right has most of the first feature, mostly; the second says the opposite; the third nothing."""
    source = np.random.default_rng(seed)
    rows = source.normal(size=(count * 10, 3)).astype(np.float32)
    rows[:, 1] = -rows[:, 0] + source.normal(size=count * 10)
    wanted = rows[:, 0] + source.normal(size=count * 10) * 0.3
    right = np.zeros((count, 10), bool)
    right[np.arange(count), wanted.reshape(count, 10).argmax(axis=1)] = True
    return Lists(rows, np.full(count, 10, np.int64), right.ravel())


def firsts(forest, lists):
    """Share of rankings whose best is right."""
    best = forest.scores(lists.rows).reshape(-1, 10).argmax(axis=1)
    return lists.right.reshape(-1, 10)[np.arange(len(best)), best].mean()


def test_it_ranks_what_is_right_first_and_tells_how_it_went():
    grown = grow(rankings(), [0, 0, 0], SMALL, aside=rankings(seed=1))
    assert firsts(grown.forest, rankings(seed=2)) > 0.6
    assert len(grown.ndcg_10) == len(grown.forest.roots) == 20
    assert grown.ndcg_10[-1] > grown.ndcg_10[0]
    assert grown.forest.depths.max() <= 4


def test_its_first_trees_are_the_forest_that_it_was():
    whole, less = (grow(rankings(), [0, 0, 0], replace(SMALL, trees=trees)).forest for trees in (20, 7))
    assert whole.first(7).digest == less.digest
    assert whole.first(20).digest == whole.first(99).digest == whole.digest


def test_it_scores_as_lightgbm_does(monkeypatch):
    kept = []
    train = lightgbm.train
    monkeypatch.setattr(lightgbm, "train", lambda *args, **more: kept.append(train(*args, **more)) or kept[0])
    lists = rankings()
    forest = grow(lists, [0, 0, 0], SMALL).forest
    assert forest.scores(lists.rows) == pytest.approx(kept[0].predict(lists.rows.astype(np.float64)), abs=1e-12)
    assert forest.scores(lists.rows[:0]).shape == (0,)


def test_more_of_what_must_not_hurt_does_not():
    lists = rankings()
    forest = grow(Lists(lists.rows, lists.sizes, lists.right), [1, 1, 0], SMALL).forest
    more = lists.rows.copy()
    more[:, 1] += 2
    assert (forest.scores(more) >= forest.scores(lists.rows)).all()
    free = grow(lists, [0, 0, 0], SMALL).forest
    assert (free.scores(more) < free.scores(lists.rows)).any()


def test_all_cannot_be_given_up():
    with pytest.raises(ValueError, match="given_up of at least 0, below 1"):
        ForestSettings(given_up=1)


def test_a_forest_that_is_raised_has_one_tree_more():
    forest, rows = grow(rankings(), [1, 0, 0], SMALL).forest, rankings().rows
    more = forest.raised(2, 0.25, 0.75)
    assert more.scores(rows).tolist() == pytest.approx((forest.scores(rows) + 0.75 * (rows[:, 2] <= 0.25)).tolist())
    assert more.first(len(forest.roots)).digest == forest.digest


def test_equal_rankings_give_equal_forests():
    assert grow(rankings(), [1, 0, 0], SMALL).forest.digest == grow(rankings(), [1, 0, 0], SMALL).forest.digest


def test_rankings_without_an_answer_teach_nothing():
    lists = rankings(4)
    lists.right[:20] = False
    assert len(lists.answered().sizes) == 2
    assert len(lists.some(np.array([True, False, False, True])).rows) == 20
    lists.right[:] = False
    with pytest.raises(ValueError, match="no ranking holds what came"):
        grow(lists, [0, 0, 0], SMALL)


def test_what_is_saved_is_loaded_and_what_is_damaged_is_named(tmp_path):
    forest = grow(rankings(), [0, 0, 0], SMALL).forest
    forest.save(tmp_path / "forest")
    assert Forest.load(tmp_path / "forest").digest == forest.digest
    (tmp_path / "forest").write_bytes((tmp_path / "forest").read_bytes()[:-9])
    with pytest.raises(IndexingError, match="train the model anew"):
        Forest.load(tmp_path / "forest")


def test_a_forest_that_would_read_beyond_its_arrays_is_refused():
    forest = grow(rankings(), [0, 0, 0], SMALL).forest
    for name, value in (("children", 10**6), ("roots", -1), ("features", 3)):
        array = getattr(forest, name).copy()
        array.flat[0] = value
        with pytest.raises(ValueError, match="points at"):
            replace(forest, **{name: array})
    for entry in fields(forest):
        if entry.name != "width":
            with pytest.raises(ValueError, match="do not fit"):
                replace(forest, **{entry.name: getattr(forest, entry.name)[:-1]})
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        forest.scores(np.zeros((2, 4), np.float32))


@pytest.mark.parametrize("wrong", [{"trees": 0}, {"leaves": 1}, {"rows": 0}, {"features": 1.1}, {"learning_rate": 0}])
def test_settings_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        ForestSettings(**wrong)
