from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from index.counts import Counts
from streaming.errors import InputError
from streaming.ranking import Candidate, Ranking, RankingSettings, Scored, Selection, Sight, decayed, rank, select
from streaming.records import IndexVersion, Item, Offer, Prediction
from streaming.said import NOTHING, after_sending
from streaming.sessions import FRESH, SessionState, advance
from tests.stories.small_shop import START, Visitor, engine_for, stocked

SETTINGS = RankingSettings()
VISITOR = Visitor(engine_for())


def state_after(*events: tuple[str, str]) -> SessionState:
    visitor, state = Visitor(VISITOR.engine), FRESH
    for at, (kind, item_id) in enumerate(events):
        state = advance(state, visitor.event(at, kind, item_id))
    return state


def pairs(*sessions: str) -> Counts:
    """Counts of sessions written as `a>b`."""
    lines = [(str(n), item) for n, session in enumerate(sessions) for item in session.split(">")]
    return Counts.fit([line[0] for line in lines], [line[1] for line in lines])


def ranked(state: SessionState, shop: Any, *, vector: bool = True, settings: RankingSettings = SETTINGS) -> Ranking:
    folded = shop.index.vector(state.history[-1].subject) if vector else np.zeros(shop.dimension, dtype=np.float32)
    nearest = shop.index.nearest(folded[None, :], settings.nearest)[0] if vector else []
    return rank(state, Sight(folded, shop.words_of(state.history)), nearest, shop, settings)


def test_the_score_is_what_its_formula_says() -> None:
    shop = stocked(pairs("mug-1>saw-2", "mug-1>saw-2", "mug-1>hat-1", "saw-1"))
    found = {c.item_id: c for c in ranked(state_after(("view", "mug-1")), shop).candidates}
    hat = found["hat-1"]
    neighbours = {item: score for item, score, _ in shop.counts.neighbours([("mug-1", 1.0)], 5)}
    cosine = float(shop.index.vector("hat-1") @ shop.index.vector("mug-1"))  # type: ignore[operator]
    assert hat.together == pytest.approx(neighbours["hat-1"] / neighbours["saw-2"])  # relative to the best neighbour
    assert found["saw-2"].together == 1.0
    assert hat.together < 0.9
    assert hat.near == pytest.approx(0.8 * max(0.0, cosine), abs=1e-6)
    assert hat.prior == pytest.approx(0.05 * shop.counts.prior("hat-1"))
    assert hat.score == pytest.approx(1 - np.exp(-(hat.near + hat.together + hat.prior)), abs=1e-6)
    assert hat.evidence == "mug-1"
    assert found["saw-1"].evidence is None


def test_candidates_come_from_all_three_sources_best_first() -> None:
    shop = stocked(pairs("mug-1>hat-1", "saw-2", "saw-2"))
    few = RankingSettings(nearest=2, neighbours=1, popular=1)
    ranking = ranked(state_after(("view", "mug-1")), shop, settings=few)
    assert {c.item_id for c in ranking.candidates} == {"mug-1", "mug-3", "hat-1", "saw-2"}
    scores = [c.score for c in ranking.candidates]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score < 1 for score in scores)
    saw = next(c for c in ranking.candidates if c.item_id == "saw-2")
    cosine = float(shop.index.vector("saw-2") @ shop.index.vector("mug-1"))  # type: ignore[operator]
    assert saw.near == pytest.approx(0.8 * max(0.0, cosine), abs=1e-6)  # not among the hits, and scored all the same


@pytest.mark.parametrize(
    ("vector", "counts", "level"), [(True, True, "full"), (False, True, "graph"), (False, False, "popular")]
)
def test_the_level_tells_what_had_its_say(vector: bool, counts: bool, level: str) -> None:
    shop = stocked(pairs("mug-1>hat-1") if counts else pairs("saw-1"))
    assert ranked(state_after(("view", "mug-1")), shop, vector=vector).level == level


def test_equal_scores_stand_in_the_order_of_their_ids() -> None:
    shop = stocked(titles={f"item {n}": "the same words" for n in (3, 1, 2)})
    ranking = ranked(state_after(("view", "item 1")), shop)
    assert [c.item_id for c in ranking.candidates] == ["item 1", "item 2", "item 3"]


def test_the_history_decays_from_its_newest_item_and_passes_searches_over() -> None:
    state = state_after(("view", "a"), ("view", "b"))
    visitor = Visitor(VISITOR.engine)
    searched = advance(FRESH, visitor.event(0, "view", "a"))
    searched = advance(searched, visitor.event(1, "search", query="words"))
    assert decayed(state.history, 0.5) == [("a", 0.5), ("b", 1.0)]
    assert decayed(searched.history, 0.5) == [("a", 1.0)]


# ----------------------------------------------------------------------------------------------------------- select
def choose(state: SessionState, order: str, time: int = START, **over: Any) -> Selection:
    items = order.split()
    ranking = Ranking([Candidate(item, 0.9 - 0.1 * n) for n, item in enumerate(items)], "full")
    shop = stocked()
    shop.upsert(
        [Item(item_id="hat-1", title="felt winter hat", available=False), Item(item_id="hat-2", title="h", stock=0)]
    )
    options = {"time": time, "count": 2, "cooldown_ms": 1_800_000, "repeat": False, "enough": 1.0} | over
    return select(ranking, state, shop, **options)


def ids(candidates: list[Candidate]) -> list[str]:
    return [candidate.item_id for candidate in candidates]


def told(state: SessionState, *items: str) -> SessionState:
    sent = Prediction(
        prediction_id="0" * 32,
        session_id="s",
        trigger="next_item",
        items=[Offer(item_id=item, score=0.5, reasons=[]) for item in items],
        model="m",
        index=IndexVersion(snapshot="i"),
        level="full",
        arm="treatment",
        event_time=START,
        made_at=START,
        expires_at=START + 1_800_000,
    )
    return msgspec.structs.replace(state, said=after_sending(NOTHING, sent, b"", 0, 1_800_000, held=False))


def test_what_may_not_be_offered_is_passed_over() -> None:
    state = state_after(("view", "mug-1"), ("cart_add", "mug-2"), ("cart_remove", "mug-2"), ("cart_add", "mug-3"))
    state = advance(state, Visitor(VISITOR.engine).event(9, "view", "seen"))
    chosen = choose(state, "unknown mug-1 mug-3 hat-1 hat-2 pot-1 saw-1 saw-2")
    assert ids(chosen.offers) == ["pot-1", "saw-1"]
    assert chosen.head is not None
    assert chosen.head.item_id == "pot-1"


def test_a_shop_that_allows_repeats_offers_the_history_but_not_the_cart() -> None:
    state = state_after(("view", "mug-1"), ("cart_add", "mug-3"))
    assert ids(choose(state, "mug-1 mug-3 pot-1", repeat=True).offers) == ["mug-1", "pot-1"]


def test_what_was_bought_is_never_offered_even_where_repeats_are() -> None:
    state = state_after(("purchase", "mug-1"))
    assert ids(choose(state, "mug-1 pot-1", repeat=True).offers) == ["pot-1"]


def test_the_cool_down_bars_items_but_not_from_being_the_head() -> None:
    chosen = choose(told(FRESH, "mug-1", "mug-2"), "mug-1 mug-2 pot-1 saw-1")
    assert ids(chosen.offers) == ["pot-1", "saw-1"]
    assert chosen.head is not None
    assert chosen.head.item_id == "mug-1"
    assert chosen.live == pytest.approx(0.9)
    assert chosen.gain == pytest.approx(0.7 - 0.9)


def test_the_walk_ends_where_the_gain_is_enough() -> None:
    state = told(FRESH, "saw-2")
    order = "mug-1 mug-2 pot-1 saw-1 saw-2"
    assert choose(state, order, enough=1.0).live == pytest.approx(0.5)
    assert choose(state, order, enough=0.45).live == pytest.approx(0.5)
    assert choose(state, order, enough=0.15).live == 0.0
    assert choose(state, order, enough=0.15).gain >= 0.15


def test_after_the_cool_down_items_come_back() -> None:
    chosen = choose(told(FRESH, "mug-1"), "mug-1 mug-2", time=START + 2_700_001)
    assert ids(chosen.offers) == ["mug-1", "mug-2"]
    assert (chosen.live, chosen.gain) == (0.0, pytest.approx(0.9))


def test_what_is_gone_is_told_only_where_nothing_is_left() -> None:
    state = state_after(("purchase", "mug-1"))
    assert ids(choose(state, "mug-1 hat-1 pot-1").gone) == []
    alone = choose(state, "unknown mug-1 hat-1 hat-2")
    assert (ids(alone.offers), ids(alone.gone)) == ([], ["mug-1", "hat-1"])
    assert alone.head is not None
    assert alone.gain == pytest.approx(0.8)


def test_of_nothing_nothing_is_chosen() -> None:
    chosen = choose(FRESH, "unknown")
    assert (chosen.offers, chosen.gone, chosen.head, chosen.gain) == ([], [], None, 0.0)


def test_a_model_may_bring_its_own_weights() -> None:
    shop = stocked()
    shop.weights = {"near": 0.3, "repeat": True}  # type: ignore[dict-item]
    assert RankingSettings.of(shop) == RankingSettings(near=0.3, repeat=True)
    shop.weights = {"no_such": 1.0}
    with pytest.raises(InputError, match="no_such"):
        RankingSettings.of(shop)


def test_candidates_can_be_gone_through_again_and_equals_keep_the_order_of_their_ids() -> None:
    columns = [np.array([0.5, 0.7, 0.5, 0.7, 0.1])] + [np.zeros(5)] * 3
    scored = Scored(["d", "c", "b", "a", "e"], *columns, evidence={"b": "x"})
    assert [(c.item_id, c.score, c.evidence) for c in scored] == [
        ("a", 0.7, None),
        ("c", 0.7, None),
        ("b", 0.5, "x"),
        ("d", 0.5, None),
        ("e", 0.1, None),
    ]
    assert list(scored) == list(scored)
