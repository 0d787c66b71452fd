"""The forest that ranks the best once more: which candidates it sees, what it is told of them, and how it is grown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoders.text import DummyTextEncoder
from index.candidates import Column
from index.forest import Features, Forest
from index.forest_fitting import ForestSettings
from index.lesson import Lesson
from streaming.forest_choice import Asked, grow_forest
from streaming.items import Shop
from streaming.ranking import RankingSettings, gather
from streaming.records import Fact, Facts, Item
from streaming.reranking import AT, FADING, FEATURES, NEVER, Shortlist, largest, reordered, shortlist
from streaming.sessions import Step
from streaming.sights import Sights, search


def test_what_a_forest_is_told_of_what_candidate_and_history_have_in_common() -> None:
    told = [("a", "Orly", "Nails > Polish"), ("b", "orly", "Nails > Files"), ("c", None, "Nails"), ("d", "Orly", None)]
    shop = Shop(DummyTextEncoder())
    shop.upsert([Item(item_id=name, title=name, brand=brand, category=path) for name, brand, path in told])
    codes, known = shop.vocabulary.codes(["a", "b", "c"]), shop.vocabulary.codes(["a", "b", "d"])
    linked = shop.links.around(known, fading=FADING)
    rows = shortlist(codes, np.zeros((3, 7)), np.array([0.3, 0.2, 0.1]), known, linked, shop).rows
    seen = {name: rows[:, place].round(6).tolist() for place, name in enumerate(FEATURES)}
    whole = 1 + 0.6 + 0.36
    assert seen["brand_last"] == [1, 0, 0]
    assert seen["brand_share"] == pytest.approx([1.36 / whole, 0.6 / whole, 0], abs=1e-6)
    assert seen["category_last"] == [0, 0, 0]
    assert seen["category_share"] == pytest.approx([0.36 / whole, 0.6 / whole, 0], abs=1e-6)
    assert seen["section_share"] == pytest.approx([0.96 / whole, 0.96 / whole, 0], abs=1e-6)
    assert seen["since_last"] == seen["since_fourth"] == [NEVER] * 3  # nobody has had them
    assert seen["age_share"] == [-1] * 3


def test_items_that_facts_join_with_the_history_are_candidates_and_ranked_once_more_and_the_forest_is_told() -> None:
    names = [f"i{number:03d}" for number in range(400)]
    shop = Shop(DummyTextEncoder())
    shop.upsert([Item(item_id=name, title=name) for name in names])
    shop.upsert_facts(Facts(head="i399", facts=[Fact(relation="made_for", tail="i000")]))
    codes, known = shop.vocabulary.codes(names), shop.vocabulary.codes(["i000"])
    z = np.linspace(1.0, 0.0, len(names))
    best = shortlist(codes, np.zeros((len(names), 7)), z, known, shop.links.around(known, fading=FADING), shop)
    assert best.places.tolist() == [*range(100), 399]
    assert best.rows[-1, [FEATURES.index("links_last"), FEATURES.index("links_share")]].tolist() == [1, 1]
    assert not best.rows[:-1, FEATURES.index("links_share")].any()
    settings = RankingSettings(nearest=1, together=1, alike=1, popular=1)
    sight = Sights(shop, shop.encoder).of("", ())
    raw = gather([("i000", 1.0)], sight, known[:0], shop, settings, 0)
    assert shop.vocabulary.code("i399") in raw.codes
    shop.remove_facts("i399")
    assert shop.vocabulary.code("i399") not in gather([("i000", 1.0)], sight, known[:0], shop, settings, 0).codes


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 31))
def test_of_equals_the_first_are_among_the_largest(values: list[int], n: int) -> None:
    best = sorted(range(len(values)), key=lambda at: -values[at])[:n]
    assert np.flatnonzero(largest(np.array(values, np.float64), n)).tolist() == sorted(best)


def test_cold_items_that_are_like_the_session_are_candidates_and_ranked_once_more() -> None:
    """Of a shop in which the others have been had, by texts that say which item is like which."""
    names = [f"i{number:03d}" for number in range(400)]
    shop = Shop(DummyTextEncoder())
    shop.upsert([Item(item_id=name, title=name) for name in names])
    for turn in range(2):
        for number, name in enumerate(names[:390]):
            shop.observe(Lesson(name, [], "view", 1_000_000 * turn + number, number, number))
    codes, known = shop.vocabulary.codes(names), shop.vocabulary.codes(["i000"])
    text = np.zeros((len(names), 7))
    text[:, AT.text] = np.linspace(0.5, 1.0, len(names))
    text[398, AT.text] = 0.0  # is not like it at all
    linked = shop.links.around(known, fading=FADING)
    best = shortlist(codes, text, np.linspace(1.0, 0.0, len(names)), known, linked, shop)
    assert best.places.tolist() == [*range(100), *range(390, 398), 399]
    sight = Sights(shop, shop.encoder).of("", (Step(0, 0, 0, "i395"),))
    few = RankingSettings(nearest=0, together=0, alike=0, popular=0, rising=0, linked=0, cold=3)
    (near,) = search(shop, [sight], few.query_weights, 1, cold=few.cold)
    found = near[1:]
    rows = {name: shop.row_of(name) for name in names[390:]}
    like = sorted(names[390:], key=lambda name: -float(rows[name][:128] @ rows["i395"][:128]))  # type: ignore[index]
    assert set(shop.vocabulary.ids(found)) == set(like[:3])
    assert not set(search(shop, [sight], few.query_weights, 1, cold=0)[0][1:])


def test_too_few_answers_grow_no_forest() -> None:
    rows = np.zeros((2, len(FEATURES)), np.float32)
    asked = [
        Asked(np.zeros(2), Shortlist(np.arange(2), rows), np.ones(2, bool), np.array([True, False])) for _ in range(50)
    ]
    assert grow_forest(asked, np.arange(50).astype(np.uint8) % 2, ForestSettings()) is None


def test_what_is_said_out_of_fold_is_of_the_scale_of_the_forest_that_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """One half is easy to rank and the other noise, so that of themselves they would be best of other numbers of
    trees."""
    source, count, width = np.random.default_rng(5), 600, len(FEATURES)
    asked = []
    for number in range(count):
        rows = source.random((20, width)).astype(np.float32)
        score = rows[:, 0] if number % 2 else source.random(20)
        right = np.arange(20) == int(np.argmax(score))
        asked.append(Asked(np.zeros(20), Shortlist(np.arange(20), rows), np.ones(20, bool), right))
    used = []

    def noted(z: Column, places: NDArray[np.int64], rows: Features, forest: Forest) -> Column:
        used.append(len(forest.roots))
        return reordered(z, places, rows, forest)

    monkeypatch.setattr("streaming.forest_choice.reordered", noted)
    grown = grow_forest(asked, np.arange(count).astype(np.uint8) % 2, ForestSettings(trees=60))
    assert grown is not None
    assert len({int(np.argmax(curve)) for curve in grown.ndcg_10.values()}) == 2
    assert set(used) == {len(grown.forest.roots)}
    assert len(used) == len(grown.out_of_fold) == count


def test_new_items_rank_higher_as_far_as_that_gives_up_no_more_than_was_granted() -> None:
    """Each moment has one such among twenty, and in one of ten it is what came; else what has most of the first
    feature, as far as that can be told."""
    source, plain = np.random.default_rng(7), []
    for number in range(1000):
        rows, new = source.random((20, len(FEATURES))).astype(np.float32), number % 10 == 0
        rows[:, AT.log_seen] = 1.0
        rows[0, AT.log_seen] = 0.0
        right = np.arange(20) == (0 if new else 1 + int(np.argmax(rows[1:, 0] + 0.05 * source.random(19))))
        plain.append(Asked(np.zeros(20), Shortlist(np.arange(20), rows), np.ones(20, bool), right))
    folds = np.arange(1000).astype(np.uint8) % 2

    def grown(given_up: float) -> tuple[float, float]:
        """Place of the new item in the mean, and NDCG@10, by forests that did not see the moment."""
        forest = grow_forest(plain, folds, ForestSettings(trees=20, given_up=given_up))
        assert forest is not None
        places, gains = [], []
        for order, moment in zip(forest.out_of_fold, plain, strict=True):
            least = order[moment.right][0]
            rank = 1 + (order > least).sum() + ((order == least).sum() - 1) / 2
            places.append((order > order[0]).sum())
            gains.append(1 / np.log2(rank + 1) if rank <= 10 else 0.0)
        return float(np.mean(places)), float(np.mean(gains))

    (place, gained), (little, _), (some, left), (much, less) = map(grown, (0.0, 1e-9, 0.05, 0.2))
    assert place >= little > some > much
    assert left >= 0.95 * gained
    assert left > less >= 0.8 * gained


def test_fewer_trees_are_kept_where_that_is_surely_better() -> None:
    """One tree finds what decides; those after it learn noise by heart."""
    source, asked = np.random.default_rng(6), []
    for _ in range(600):
        rows = source.random((20, len(FEATURES))).astype(np.float32)
        right = np.arange(20) == int(np.argmax(rows[:, 0] + 0.3 * source.random(20)))
        asked.append(Asked(np.zeros(20), Shortlist(np.arange(20), rows), np.ones(20, bool), right))
    folds = np.arange(600).astype(np.uint8) % 2
    wild = ForestSettings(trees=60, learning_rate=1.0, least=1, features=1.0)
    calm, greedy = grow_forest(asked, folds, ForestSettings(trees=5)), grow_forest(asked, folds, wild)
    assert calm is not None
    assert len(calm.forest.roots) == 5
    assert greedy is not None
    assert len(greedy.forest.roots) < 60
