"""What may be offered of a ranking: `streaming.ranking.select`."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from index.vocabulary import Vocabulary
from streaming.ranking import Candidate, Ranking, Scored, Selection, select
from streaming.records import IndexVersion, Item, Offer, Prediction
from streaming.reranking import PARTS
from streaming.said import NOTHING, after_sending
from streaming.sessions import FRESH, SessionState, advance
from tests.stories.small_shop import START, Visitor, engine_for, stocked

VISITOR = Visitor(engine_for())


def state_after(*events: tuple[str, str]) -> SessionState:
    visitor, state = Visitor(VISITOR.engine), FRESH
    for at, (kind, item_id) in enumerate(events):
        state = advance(state, visitor.event(at, kind, item_id))
    return state


def ranking_of(vocabulary: Vocabulary, **scores: float) -> Ranking:
    """These items with these scores; nothing else is known of them."""
    codes, told = vocabulary.add_all(scores), np.array(list(scores.values()))
    nothing = np.full((2, len(told)), -1, np.int32)
    return Ranking(Scored(vocabulary, codes, told, told, np.zeros((len(told), len(PARTS))), nothing), "full")


def falling(vocabulary: Vocabulary, order: str) -> Ranking:
    """These items, the first with the highest score."""
    return ranking_of(vocabulary, **{item_id: 0.9 - 0.1 * n for n, item_id in enumerate(order.split())})


def choose(state: SessionState, order: str, time: int = START, **over: Any) -> Selection:
    shop = stocked()
    ranking = falling(shop.vocabulary, order)
    shop.upsert(
        [Item(item_id="hat-1", title="felt winter hat", available=False), Item(item_id="hat-2", title="h", stock=0)]
    )
    options = {
        "time": time,
        "count": 2,
        "cooldown_ms": 1_800_000,
        "repeat": False,
        "enough": 1.0,
        "brand_share": 1.0,
    } | over
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


# ---------------------------------------------------------------------------------------------------------- diversity
BRANDS = {"mug-1": "Ox", "mug-2": "Ox", "mug-3": "Ox", "pot-1": "Elm", "saw-1": "Elm", "hat-3": "Ox"}


def of_brands(order: str, *, count: int, share: float, **over: Any) -> list[str]:
    """Offers of a shop whose items have BRANDS; the others have none."""
    shop = stocked()
    ranking = falling(shop.vocabulary, order)
    shop.upsert([Item(item_id=item_id, title=item_id, brand=BRANDS.get(item_id)) for item_id in order.split()])
    options = {"time": START, "cooldown_ms": 0, "repeat": False, "enough": 1.0} | over
    return ids(select(ranking, FRESH, shop, count=count, brand_share=share, **options).offers)


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (4, 1.0, ["mug-1", "mug-2", "mug-3", "hat-3"]),
        (4, 0.5, ["mug-1", "mug-2", "pot-1", "saw-1"]),
        (4, 0.25, ["mug-1", "pot-1", "saw-2", "mug-2"]),  # no third brand, but one item without any
        (2, 0.5, ["mug-1", "pot-1"]),
        (1, 0.5, ["mug-1"]),
        (6, 0.5, ["mug-1", "mug-2", "mug-3", "pot-1", "saw-1", "saw-2"]),
    ],
)
def test_one_brand_has_no_more_than_its_share_where_there_are_others(
    count: int, share: float, expected: list[str]
) -> None:
    assert of_brands("mug-1 mug-2 mug-3 hat-3 pot-1 saw-1 saw-2", count=count, share=share) == expected


def test_where_all_is_of_one_brand_nothing_is_left_out_and_the_best_come_first() -> None:
    assert of_brands("mug-1 mug-2 mug-3 hat-3", count=4, share=0.5) == ["mug-1", "mug-2", "mug-3", "hat-3"]
    assert of_brands("mug-1 mug-2 mug-3 hat-3", count=3, share=0.3) == ["mug-1", "mug-2", "mug-3"]


def test_items_without_a_brand_are_of_no_brand() -> None:
    assert of_brands("hat-1 hat-2 saw-2 saw-3", count=4, share=0.25) == ["hat-1", "hat-2", "saw-2", "saw-3"]


def test_the_item_that_leads_counts_for_its_brand_and_comes_first() -> None:
    offered = of_brands("mug-1 mug-2 mug-3 pot-1", count=2, share=0.5, lead="mug-3")
    assert offered == ["mug-3", "pot-1"]


def test_what_is_over_the_share_of_its_brand_may_still_lead_the_ranking() -> None:
    shop = stocked()
    shop.upsert([Item(item_id=item_id, title=item_id, brand="Ox") for item_id in ("mug-1", "mug-2")])
    ranking = ranking_of(shop.vocabulary, **{"mug-1": 0.9, "mug-2": 0.8, "saw-1": 0.1})
    state = told(FRESH, "mug-2")
    chosen = select(ranking, state, shop, time=START, count=2, cooldown_ms=0, repeat=False, enough=1.0, brand_share=0.5)
    assert chosen.head is not None
    assert (chosen.head.item_id, chosen.live) == ("mug-1", 0.8)  # and what is live is found among the waiting
    assert ids(chosen.offers) == ["mug-1", "saw-1"]


# --------------------------------------------------------------------------------------------------------- a lead item
def test_the_item_that_gave_the_occasion_comes_first_be_it_in_the_cart_or_in_the_history() -> None:
    for kind in ("view", "cart_add"):
        assert ids(choose(state_after((kind, "mug-1")), "pot-1 mug-1 saw-1", lead="mug-1").offers) == ["mug-1", "pot-1"]
    unranked = choose(FRESH, "pot-1 saw-1", lead="mug-1").offers
    assert [(each.item_id, each.score) for each in unranked] == [("mug-1", 0.0), ("pot-1", 0.9)]
    assert unranked[0].code == stocked().vocabulary.code("mug-1") >= 0


def test_where_the_item_that_gave_the_occasion_may_not_be_offered_nothing_is() -> None:
    bought = choose(state_after(("purchase", "mug-1")), "pot-1 mug-1", lead="mug-1")
    assert (ids(bought.offers), ids(bought.gone)) == ([], ["mug-1"])
    for lead in ("hat-1", "hat-2", "unknown"):  # unavailable, out of stock, not in the catalogue
        assert (choose(FRESH, "pot-1", lead=lead).offers, ids(choose(FRESH, "pot-1", lead=lead).gone)) == ([], [lead])
    within_the_cool_down = choose(told(FRESH, "mug-1"), "mug-1 pot-1", lead="mug-1")
    assert (within_the_cool_down.offers, within_the_cool_down.gone) == ([], [])
