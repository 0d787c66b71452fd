from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.session import PooledSessionEncoder
from index.calibration import Calibration
from index.lesson import Lesson
from index.vocabulary import Vocabulary
from streaming.errors import InputError
from streaming.gating import CONTEXT
from streaming.items import Shop
from streaming.ranking import (
    HISTORY,
    Candidate,
    Ranking,
    RankingSettings,
    Raw,
    Scored,
    decayed,
    gather,
    weigh,
    weighted,
)
from streaming.reranking import PARTS
from streaming.sessions import FRESH, SessionState, advance
from streaming.sights import Sight, Sights, search
from streaming.teaching import session_tag
from tests.stories.small_shop import CATALOGUE, START, Visitor, engine_for, fitted, stocked

SETTINGS = RankingSettings()
ALL = RankingSettings(behaviour=0.3)
"""Every part weighs something."""
VISITOR = Visitor(engine_for())
FITTED = fitted()


def state_after(*events: tuple[str, str]) -> SessionState:
    visitor, state = Visitor(VISITOR.engine), FRESH
    for at, (kind, item_id) in enumerate(events):
        state = advance(state, visitor.event(at, kind, item_id))
    return state


def seen(*item_ids: str) -> SessionState:
    return state_after(*[("view", item_id) for item_id in item_ids])


def gathered(
    state: SessionState, shop: Shop, its: RankingSettings, *, vector: bool = True, own: str = "s"
) -> tuple[Raw, Sight]:
    sight = Sights(shop, PooledSessionEncoder(shop.dimension)).of(own, state.history)
    sight = sight if vector else sight._replace(vector=np.zeros_like(sight.vector), blank=True)
    (near,) = search(shop, [sight], its.query_weights, its.nearest, cold=its.cold)
    return gather(decayed(state.history, its.decay), sight, near, shop, its, session_tag(own)), sight


def ranked(state: SessionState, shop: Shop, its: RankingSettings = SETTINGS, **given: Any) -> Ranking:
    raw, sight = gathered(state, shop, its, **given)
    return weigh(raw, shop, its, sight)


def found(ranking: Ranking) -> dict[str, Candidate]:
    return {candidate.item_id: candidate for candidate in ranking.candidates}


def parts_of(candidate: Candidate) -> dict[str, float]:
    return dict(zip(PARTS, candidate.parts, strict=True))


def test_each_part_is_what_its_formula_says() -> None:
    shop, its = FITTED, RankingSettings(0.9, 0.5, 0.8, 0.2, 0.3, 0.7, 0.05)
    code, rows = shop.vocabulary.code, {item_id: shop.row_of(item_id) for item_id in CATALOGUE}
    history = shop.vocabulary.codes(["mug-2", "mug-1"])
    together = shop.counts.together(history, np.array([0.6, 1.0]), 100)
    neighbours = shop.knn.scores(history, 100)
    pooled = PooledSessionEncoder(shop.dimension)
    session = pooled.start()
    for item_id in ("mug-2", "mug-1"):
        row = rows[item_id]
        assert row is not None
        session = pooled.step(session, row[: shop.dimension], "view", 0)
    candidates = found(ranked(seen("mug-2", "mug-1"), shop, its))
    assert set(candidates) == set(CATALOGUE)
    for item_id, candidate in candidates.items():
        row, parts = rows[item_id], parts_of(candidate)
        assert row is not None
        by_counts = dict(zip(together.codes.tolist(), together.scores.tolist(), strict=True))
        by_neighbours = dict(zip(neighbours.codes.tolist(), neighbours.scores.tolist(), strict=True))
        assert parts["counts"] == pytest.approx(0.9 * by_counts.get(code(item_id), 0))
        assert parts["neighbours"] == pytest.approx(0.5 * by_neighbours.get(code(item_id), 0))
        for block, part in zip(shop.layout.slices, ("text", "graph", "behaviour"), strict=False):
            length = np.linalg.norm(session[block])
            cosine = float(session[block] @ row[block]) / length
            assert parts[part] == pytest.approx(getattr(its, part) * max(0.0, cosine), abs=1e-6), (item_id, part)
        assert parts["prior"] == pytest.approx(0.05 * shop.counts.prior(shop.vocabulary.codes([item_id]))[0])
    assert all(any(parts_of(each)[part] > 0 for each in candidates.values()) for part in PARTS if part != "sequence")


WEIGHTS = st.lists(st.sampled_from([0.0, 0.05, 0.5, 1.0, 7.3]), min_size=len(PARTS), max_size=len(PARTS))
HISTORIES = st.lists(st.sampled_from([*CATALOGUE, "unknown"]), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(HISTORIES, WEIGHTS)
def test_a_score_is_the_exact_sum_of_its_parts_and_all_that_is_ranked_follows_from_it(
    history: list[str], weights: list[float]
) -> None:
    its = RankingSettings(*weights)
    candidates = list(ranked(seen(*history), FITTED, its).candidates)
    for each in candidates:
        assert each.z == round(math.fsum(each.parts), 9)
        assert each.score == pytest.approx(1 - math.exp(-each.z), abs=1e-12)
        assert all(0 <= part <= weight for part, weight in zip(each.parts, weights, strict=True))
        assert each.code == FITTED.vocabulary.code(each.item_id)
    order = [(-each.z, each.item_id) for each in candidates]
    assert order == sorted(order)


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.sampled_from(PARTS))
def test_a_part_of_weight_nothing_is_out_of_the_score_and_leaves_the_others_as_they_are(
    history: list[str], part: str
) -> None:
    whole, without = (
        found(ranked(seen(*history), FITTED, its))
        for its in (ALL, RankingSettings(**{"behaviour": 0.3} | {part: 0.0}))  # type: ignore[arg-type]
    )
    assert set(without) <= set(whole)
    for item_id, candidate in without.items():
        expected = parts_of(whole[item_id]) | {part: 0.0}
        assert parts_of(candidate) == pytest.approx(expected)
        assert candidate.z == pytest.approx(sum(expected.values()), abs=2e-9)


def test_candidates_come_from_every_source_and_each_has_all_its_parts() -> None:
    shop = stocked(titles=CATALOGUE | {"axe": "axe", "bag": "bag", "cup": "cup", "den": "den"})
    for n, pair in enumerate([("bag", "mug-1"), ("bag", "mug-1"), ("axe", "mug-1")]):
        shop.counts.observe(Lesson(pair[0], pair[1:], "view", START, n, n))
        shop.counts.observe(Lesson("saw-2", [], "view", START, n, n))
    for n, item_id in enumerate(["mug-1", "cup", "den", "den"]):
        shop.knn.observe(Lesson(item_id, ["mug-1"][: n % 3], "view", START + n, n // 3, 0))
    few: dict[str, Any] = {"nearest": 2, "together": 1, "alike": 2, "popular": 1, "cold": 0}
    by_index, by_counts, by_neighbours, by_popularity = {"mug-1", "mug-3"}, {"bag"}, {"cup", "den"}, {"saw-2"}
    candidates = found(ranked(seen("mug-1"), shop, RankingSettings(**few)))
    assert set(candidates) == by_index | by_counts | by_neighbours | by_popularity
    more = found(ranked(seen("mug-1"), shop, RankingSettings(**few | {"together": 2, "alike": 1, "nearest": 3})))
    assert set(more) - set(candidates) >= {"axe"}
    assert len(set(candidates) - set(more)) == 1  # the weaker of the neighbours' two
    unmet = found(ranked(seen("mug-1"), shop, RankingSettings(**few | {"cold": 3})))
    assert set(unmet) - set(candidates) == {"mug-2"}  # the third nearest of those that nobody has had
    saw, mug = shop.row_of("saw-2"), shop.row_of("mug-1")
    assert saw is not None
    assert mug is not None
    cosine = float(saw[: shop.layout.text] @ mug[: shop.layout.text])
    assert parts_of(candidates["saw-2"])["text"] == pytest.approx(0.8 * cosine, abs=1e-6)  # not among the hits
    assert cosine > 0


def test_what_counts_and_neighbours_owe_most_to_is_named() -> None:
    shop = stocked(*["mug-1>saw-2"] * 3, *["hat-1>saw-3"] * 3, "pot-1", "pot-1")
    code = shop.vocabulary.code
    ranking = found(ranked(seen("mug-1", "hat-1"), shop))
    assert (ranking["saw-2"].pair, ranking["saw-2"].alike) == (code("mug-1"), code("mug-1"))
    assert (ranking["saw-3"].pair, ranking["saw-3"].alike) == (code("hat-1"), code("hat-1"))
    assert (ranking["pot-1"].pair, ranking["pot-1"].alike) == (-1, -1)


def test_ones_own_session_is_no_neighbour() -> None:
    shop, state = stocked(), seen("mug-1", "saw-2")
    before = found(ranked(state, shop, own="me"))
    for n, (item_id, context) in enumerate([("mug-1", []), ("saw-2", ["mug-1"])]):
        shop.knn.observe(Lesson(item_id, context, "view", START + n, session_tag("me"), 1))
    assert found(ranked(state, shop, own="me")) == before
    assert all(parts_of(each)["neighbours"] == 0 for each in before.values())
    another = found(ranked(state, shop, own="another"))
    assert parts_of(another["saw-2"])["neighbours"] > 0
    assert parts_of(another["mug-1"])["neighbours"] > 0


@pytest.mark.parametrize(
    ("past", "vector", "level"),
    [
        (["mug-1>hat-1"], True, "full"),
        (["mug-1>hat-1"], False, "graph"),
        (["saw-1"], True, "full"),
        (["saw-1"], False, "popular"),
        ([], True, "full"),
    ],
)
def test_the_level_tells_what_had_its_say(past: list[str], vector: bool, level: str) -> None:
    assert ranked(seen("mug-1"), stocked(*past), vector=vector).level == level


def test_neighbours_alone_are_tables_too() -> None:
    shop = stocked()
    for n, item_id in enumerate(["mug-1", "saw-2"]):
        shop.knn.observe(Lesson(item_id, ["mug-1"][:n], "view", START + n, 5, 5))
    ranking = ranked(seen("mug-1"), shop, vector=False)
    assert (ranking.level, next(each.item_id for each in ranking.candidates)) == ("graph", "saw-2")
    assert ranked(seen("mug-1"), shop, RankingSettings(neighbours=0.0), vector=False).level == "popular"


def test_a_session_of_which_nothing_is_known_gets_what_is_popular() -> None:
    shop = stocked("saw-1", "saw-1", "hat-1")
    ranking = ranked(seen("nobody-knows-1", "nobody-knows-2"), shop)
    assert ranking.level == "popular"
    assert [each.item_id for each in ranking.candidates] == ["saw-1", "hat-1"]


def test_a_calibration_makes_probabilities_of_scores_and_keeps_their_order() -> None:
    shop, state = stocked("mug-1>hat-1", "saw-1"), seen("mug-1")
    plain = ranked(state, shop)
    assert not plain.calibrated
    shop.calibration = Calibration(True, "", intercept=-3.0, slope=0.5, slopes=(0.1, 0.2, 0.3, 0.4))
    raw, sight = gathered(state, shop, SETTINGS)
    calibrated = weigh(raw, shop, SETTINGS, sight)
    assert calibrated.calibrated
    assert [each.item_id for each in calibrated.candidates] == [each.item_id for each in plain.candidates]
    context = dict(zip(CONTEXT, raw.context, strict=True))
    assert context["best_text"] == pytest.approx(1.0, abs=1e-6)  # the item that was seen itself
    assert context["log_history"] == pytest.approx(math.log(2))
    assert context["best_counts"] == max(parts_of(each)["counts"] for each in plain.candidates)
    assert context["best_neighbours"] == pytest.approx(2 * max(each.parts[1] for each in plain.candidates))
    for each in calibrated.candidates:
        odds = -3.0 + 0.5 * each.z + float(np.dot(raw.context, [0.1, 0.2, 0.3, 0.4]))
        assert each.score == pytest.approx(1 / (1 + math.exp(-odds)))


def test_equal_scores_stand_in_the_order_of_their_ids() -> None:
    shop = stocked(titles={f"item {n}": "the same words" for n in (3, 1, 2)})
    ranking = ranked(seen("item 1"), shop)
    assert [c.item_id for c in ranking.candidates] == ["item 1", "item 2", "item 3"]


def test_the_history_decays_from_its_newest_item_and_passes_searches_over() -> None:
    visitor = Visitor(VISITOR.engine)
    searched = advance(FRESH, visitor.event(0, "view", "a"))
    searched = advance(searched, visitor.event(1, "search", query="words"))
    assert decayed(seen("a", "b").history, 0.5) == [("a", 0.5), ("b", 1.0)]
    assert decayed(searched.history, 0.5) == [("a", 1.0)]
    long = weighted([f"i{n}" for n in range(HISTORY + 5)], 0.9)
    assert [item_id for item_id, _ in long] == [f"i{n}" for n in range(5, HISTORY + 5)]
    assert (long[-1][1], long[-2][1]) == (1.0, 0.9)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text": -0.1}, "expected finite numbers of at least 0"),
        ({"prior": math.nan}, "expected finite numbers of at least 0"),
        ({"decay": 0.0}, "expected above 0, at most 1"),
        ({"brand_share": 1.5}, "expected above 0, at most 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        RankingSettings(**given)  # type: ignore[arg-type]


def test_a_model_may_bring_its_own_weights() -> None:
    shop = stocked()
    shop.ranking = {"text": 0.3, "repeat": True}
    assert RankingSettings.of(shop) == RankingSettings(text=0.3, repeat=True)
    shop.ranking = {"no_such": 1.0}
    with pytest.raises(InputError, match="no_such"):
        RankingSettings.of(shop)


def test_candidates_can_be_gone_through_again_and_equals_keep_the_order_of_their_ids() -> None:
    z = np.array([0.5, 0.7, 0.5, 0.7, 0.1])
    parts = np.zeros((5, len(PARTS)))
    parts[:, 2] = z
    evidence = np.array([[-1, -1, 7, -1, -1], [-1, 3, -1, -1, -1]], np.int32)
    scored = Scored(Vocabulary("dcbae"), np.arange(5, dtype=np.int32), z, z / 2, parts, evidence)
    assert [(c.item_id, c.score, c.z, c.parts[2], c.pair, c.alike) for c in scored] == [
        ("a", 0.35, 0.7, 0.7, -1, -1),
        ("c", 0.35, 0.7, 0.7, -1, 3),
        ("b", 0.25, 0.5, 0.5, 7, -1),
        ("d", 0.25, 0.5, 0.5, -1, -1),
        ("e", 0.05, 0.1, 0.1, -1, -1),
    ]
    assert list(scored) == list(scored)
