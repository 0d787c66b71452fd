"""When a visitor is addressed: the eight triggers, with time given by the events alone."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.decisions import Decision, Noticed, prediction_id
from streaming.engine import Engine
from streaming.items import Shop
from streaming.records import Item
from tests.stories.small_shop import CATALOGUE, MINUTE, SECOND, START, Visitor, engine_for, offers, rule, stocked


def trigger(visitor: Visitor, at: int, kind: str, item_id: str | None = None) -> str | None:
    decision = visitor.does(at, kind, item_id)
    return decision.prediction.trigger if decision.prediction is not None else decision.silent


def test_cold_start_greets_the_first_event_and_no_other() -> None:
    visitor = Visitor(engine_for())
    decision = visitor.does(0, "view", "mug-1")
    assert offers(decision) == ["mug-3", "mug-2"]
    assert decision.prediction is not None
    assert decision.prediction.trigger == "cold_start"
    (reason,) = decision.prediction.items[0].reasons
    assert (reason.sentence, reason.items) == ("Close to stoneware coffee mug, which you viewed.", ["mug-1"])
    assert trigger(visitor, MINUTE, "view", "hat-1") == "next_item"


def test_cold_start_is_said_once_even_where_it_was_held_back() -> None:
    visitor = Visitor(engine_for(rules={"assume_consent": False}))
    assert rule(visitor.does(0, "view", "mug-1")) == "no_consent"
    decision = visitor.does(SECOND, "view", "mug-1", consent=True)
    assert decision.prediction is not None
    assert decision.prediction.trigger == "next_item"


def test_cold_start_with_a_search() -> None:
    decision = Visitor(engine_for()).does(0, "search", query="red winter hat")
    assert offers(decision)[0] == "hat-3"
    assert decision.prediction is not None
    (reason,) = decision.prediction.items[0].reasons
    assert reason.sentence == "Close to “red winter hat”, which you searched for."


def test_next_item_follows_the_visitor_to_another_shelf() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    decision = visitor.does(30 * SECOND, "view", "saw-1")
    assert offers(decision) == ["saw-3", "saw-2"]
    assert decision.prediction is not None
    assert decision.prediction.trigger == "next_item"


def test_next_item_is_silent_where_the_visitor_has_the_best_already() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    assert trigger(visitor, MINUTE, "view", "mug-1") == "unchanged"


def test_events_that_tell_nothing_are_silent() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    assert trigger(visitor, MINUTE, "impression") == "impression"
    assert trigger(visitor, MINUTE, "cart_remove", "hat-1") == "no_trigger"
    assert trigger(visitor, MINUTE, "exit") == "no_trigger"


SHORT = {"horizon_ms": 4 * MINUTE}
"""Predictions that have expired by the time the cart is idle, so that they leave something to gain."""


def test_a_cart_left_alone_is_recalled_once_a_spell() -> None:
    visitor = Visitor(engine_for(triggers=SHORT))
    visitor.does(0, "view", "mug-1")
    visitor.does(SECOND, "cart_add", "mug-1")
    assert visitor.ticks(5 * MINUTE).silent == "not_due"
    decision = visitor.ticks(5 * MINUTE + SECOND)
    assert decision.prediction is not None
    assert decision.prediction.trigger == "cart_idle"
    assert decision.prediction.event_time == START + SECOND + 5 * MINUTE
    assert visitor.ticks(6 * MINUTE).silent == "not_due"
    visitor.does(10 * MINUTE, "view", "hat-1")
    again = visitor.ticks(15 * MINUTE)
    assert again.prediction is not None
    assert again.prediction.trigger == "cart_idle"
    assert again.prediction.prediction_id != decision.prediction.prediction_id


@pytest.mark.parametrize("last", ["cart_remove", "purchase"])
def test_an_emptied_cart_is_not_recalled(last: str) -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "cart_add", "mug-1")
    visitor.does(SECOND, last, "mug-1")
    assert visitor.ticks(10 * MINUTE).silent == "not_due"


def test_how_often_ticks_come_does_not_matter() -> None:
    outcomes = []
    for every in (SECOND, MINUTE, 4 * MINUTE):
        visitor = Visitor(engine_for(triggers=SHORT))
        visitor.does(0, "cart_add", "mug-1")
        decisions = [visitor.ticks(at) for at in range(every, 13 * MINUTE, every)]
        outcomes.append([d.prediction for d in decisions if d.silent != "not_due"])
    (prediction,) = outcomes[0]
    assert prediction is not None
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_spell_that_is_noticed_too_late_is_passed_over() -> None:
    visitor = Visitor(engine_for(worker={"session_idle_ms": 0}))
    visitor.does(0, "cart_add", "mug-1")
    assert visitor.ticks(40 * MINUTE).silent == "late"
    assert visitor.ticks(41 * MINUTE).silent == "not_due"


@pytest.mark.parametrize("before", [[("view", "mug-1"), ("view", "mug-2")], [("cart_add", "mug-1")]])
def test_a_visitor_who_leaves_gets_a_last_word(before: list[tuple[str, str]]) -> None:
    visitor = Visitor(engine_for(worker={"session_idle_ms": 60 * MINUTE}))
    for at, (kind, item) in enumerate(before):
        visitor.does(at, kind, item)
    decision = visitor.does(30 * MINUTE, "exit")
    assert decision.prediction is not None
    assert decision.prediction.trigger == "exit_intent"
    assert trigger(visitor, 60 * MINUTE, "exit") == "no_trigger"


def test_an_exit_after_one_view_is_none_of_our_business() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    visitor.does(SECOND, "view", "mug-1", dwell_ms=900)  # the same page, left
    assert trigger(visitor, MINUTE, "exit") == "no_trigger"


def test_an_exit_that_was_held_back_may_be_tried_again() -> None:
    visitor = Visitor(engine_for(triggers=SHORT))
    visitor.does(0, "view", "mug-1")
    visitor.does(30 * SECOND, "view", "saw-1")
    assert rule(visitor.does(31 * SECOND, "exit")) == "quiet"
    decision = visitor.does(5 * MINUTE, "exit")
    assert decision.prediction is not None
    assert decision.prediction.trigger == "exit_intent"


# ---------------------------------------------------------------------------------------------------- repeat_interest
OPEN: dict[str, float] = {"quiet_ms": 0, "trigger_cooldown_ms": 0, "item_cooldown_ms": 0, "min_gain": 0}
"""Rules that hold nothing back but what is no better than before."""


def sent(decision: Decision) -> str | None:
    return decision.prediction.trigger if decision.prediction is not None else None


def shelves() -> Shop:
    """The small shop with a leaf category for each kind of thing."""
    shop = stocked()
    leaf = {"mug": "Kitchen > Mugs", "pot": "Kitchen > Pots", "hat": "Clothes > Hats", "saw": "Tools > Saws"}
    shop.upsert(
        [Item(item_id=item_id, title=title, category=leaf[item_id[:3]]) for item_id, title in CATALOGUE.items()]
    )
    return shop


def test_who_comes_back_to_an_item_a_third_time_is_spoken_to_once() -> None:
    visitor = Visitor(engine_for(rules=OPEN))
    triggers = [sent(visitor.does(n * MINUTE, "view", "mug-1")) for n in range(6)]
    assert triggers == ["cold_start", None, "repeat_interest", None, None, None]


def test_an_interest_that_was_held_back_may_be_tried_again() -> None:
    visitor = Visitor(engine_for(rules=OPEN | {"quiet_ms": 90 * SECOND}))
    outcomes = [visitor.does(n * 40 * SECOND, "view", "mug-1") for n in range(4)]
    assert outcomes[2].suppressed is not None
    assert (rule(outcomes[2]), outcomes[2].suppressed.prediction.trigger) == ("quiet", "repeat_interest")
    assert sent(outcomes[3]) == "repeat_interest"


def test_a_page_that_is_opened_and_left_is_looked_at_once() -> None:
    visitor = Visitor(engine_for(rules=OPEN))
    for n in range(2):
        assert sent(visitor.does(n * MINUTE, "view", "mug-1")) != "repeat_interest"
        assert sent(visitor.does(n * MINUTE + SECOND, "view", "mug-1", dwell_ms=900)) != "repeat_interest"
    assert sent(visitor.does(3 * MINUTE, "view", "mug-1")) == "repeat_interest"


def test_what_is_in_the_cart_already_is_no_interest_to_tell_of() -> None:
    visitor = Visitor(engine_for(rules=OPEN))
    visitor.does(0, "cart_add", "mug-1")
    assert "repeat_interest" not in [sent(visitor.does(n * MINUTE, "view", "mug-1")) for n in range(1, 5)]
    visitor.does(6 * MINUTE, "cart_remove", "mug-1")
    assert sent(visitor.does(7 * MINUTE, "view", "mug-1")) == "repeat_interest"


def test_five_visits_in_a_leaf_category_are_an_interest_once() -> None:
    visitor = Visitor(engine_for(shelves(), rules=OPEN, triggers={"shift_cosine": -1.0}))
    items = ["hat-1", "hat-2", "mug-1", "hat-3", "hat-1", "hat-2", "hat-3"]
    triggers = [sent(visitor.does(n * MINUTE, "view", item)) for n, item in enumerate(items)]
    assert triggers[5] == "repeat_interest"
    assert triggers.count("repeat_interest") == 1
    beside = Visitor(engine_for(shelves(), rules=OPEN, triggers={"shift_cosine": -1.0}))
    beside.does(0, "cart_add", "hat-3")
    assert "repeat_interest" not in [
        sent(beside.does(n * MINUTE, "view", item)) for n, item in enumerate(items[:3] * 2)
    ]


# ------------------------------------------------------------------------------------------------------- intent_shift
def wandered(engine: Engine, items: list[str]) -> list[str | None]:
    visitor = Visitor(engine)
    return [sent(visitor.does(n * MINUTE, "view", item)) for n, item in enumerate(items)]


MUGS, SAWS = ["mug-1", "mug-2", "mug-3"], ["saw-1", "saw-2", "saw-3"]


def test_a_visitor_who_turns_to_something_else_is_told() -> None:
    triggers = wandered(engine_for(rules=OPEN), [*MUGS, *SAWS])
    assert "intent_shift" not in triggers[:3]  # all of one kind
    assert triggers[3:].count("intent_shift") == 1


def test_no_shift_is_told_before_three_events_and_the_next_after_five_more() -> None:
    wander = ["mug-1", "hat-1", "saw-1", "saw-2", "saw-3", "saw-1", "hat-1", "hat-2", "hat-3"]
    triggers = wandered(engine_for(rules=OPEN), wander)
    assert [n for n, trigger in enumerate(triggers) if trigger == "intent_shift"] == [2, 7]


def test_a_shift_that_was_held_back_waits_for_five_events_too() -> None:
    wander = ["mug-1", "hat-1", "saw-1", "saw-2", "saw-3", "saw-1", "hat-1", "hat-2", "hat-3"]
    visitor = Visitor(engine_for(rules={"quiet_ms": 60 * MINUTE, "min_gain": 0}))
    decisions = [visitor.does(n * MINUTE, "view", item) for n, item in enumerate(wander)]
    held = [each.suppressed.prediction.trigger if each.suppressed is not None else None for each in decisions]
    assert [n for n, trigger in enumerate(held) if trigger == "intent_shift"] == [2, 7]


# ------------------------------------------------------------------------------------------ price_drop, back_in_stock
def priced(item_id: str, price: float | None = 50.0, **fields: Any) -> Item:
    return Item(item_id=item_id, title=CATALOGUE[item_id], price=price, currency="EUR", **fields)


def dear(**given: Any) -> tuple[Visitor, Engine]:
    shop = stocked()
    shop.upsert([priced(item_id) for item_id in CATALOGUE])
    engine = engine_for(shop, **given)
    return Visitor(engine), engine


@pytest.mark.parametrize("kind", ["view", "click", "cart_add"])
def test_a_lower_price_is_told_to_who_saw_the_item_or_has_it_in_the_cart(kind: str) -> None:
    visitor, _ = dear()
    visitor.does(0, kind, "mug-1")
    (decision,) = visitor.hears(2 * MINUTE, priced("mug-1", 40.0))
    assert sent(decision) == "price_drop"
    assert offers(decision)[0] == "mug-1"
    assert len(offers(decision)) > 1
    assert decision.prediction is not None
    (reason,) = decision.prediction.items[0].reasons
    assert (reason.code, reason.old_price, reason.price, reason.items) == ("price_drop", 50.0, 40.0, ["mug-1"])
    assert reason.sentence == "stoneware coffee mug: now 40.00 EUR, before 50.00 EUR."
    assert "40.00 EUR" in reason.sentence_zh
    assert decision.prediction.event_time == START + 2 * MINUTE


def test_a_price_that_falls_by_less_or_of_something_else_is_not_told() -> None:
    visitor, _ = dear()
    visitor.does(0, "view", "mug-1")
    assert visitor.hears(MINUTE, priced("mug-1", 47.51)) == []
    assert [decision.silent for decision in visitor.hears(2 * MINUTE, priced("saw-1", 1.0))] == ["not_due"]
    assert visitor.hears(3 * MINUTE, priced("mug-1", 60.0)) == []


def test_a_price_is_told_once_and_the_next_one_again() -> None:
    visitor, engine = dear(rules=OPEN)
    visitor.does(0, "view", "mug-1")
    (first,) = visitor.hears(MINUTE, priced("mug-1", 40.0))
    assert first.prediction is not None
    assert isinstance(first.event, Noticed)
    (again,) = visitor.meets([first.event])
    assert (again.silent, again.prediction) == ("not_due", None)
    engine.shop.upsert([priced("mug-1")])
    assert [decision.silent for decision in visitor.hears(2 * MINUTE, priced("mug-1", 40.0), 5)] == ["not_due"]
    (second,) = visitor.hears(3 * MINUTE, priced("mug-1", 30.0), 6)
    assert sent(second) == "price_drop"
    assert second.prediction is not None
    assert second.prediction.prediction_id != first.prediction.prediction_id


def test_who_saw_the_new_price_is_not_told_of_it() -> None:
    visitor, _ = dear()
    visitor.does(0, "view", "mug-1")
    visitor.does(3 * MINUTE, "view", "mug-1")
    assert [decision.silent for decision in visitor.hears(2 * MINUTE, priced("mug-1", 40.0))] == ["not_due"]


def test_a_price_that_has_risen_again_is_not_told() -> None:
    visitor, engine = dear()
    visitor.does(0, "view", "mug-1")
    finder_says = visitor.hears(MINUTE, priced("mug-1", 40.0))[0].event
    other = Visitor(engine, "other")
    other.does(0, "view", "mug-1")
    engine.shop.upsert([priced("mug-1", 45.0)])
    assert isinstance(finder_says, Noticed)
    (decision,) = other.meets([Noticed("other", START + MINUTE, finder_says.change)])
    assert decision.silent == "outdated"


@pytest.mark.parametrize("before", [{"stock": 0}, {"available": False}])
def test_what_is_there_again_is_told_once(before: dict[str, Any]) -> None:
    visitor, engine = dear(rules=OPEN)
    visitor.does(0, "view", "mug-1")
    engine.shop.upsert([priced("mug-1", **before)])
    (decision,) = visitor.hears(MINUTE, priced("mug-1", stock=3))
    assert (sent(decision), offers(decision)[0]) == ("back_in_stock", "mug-1")
    assert decision.prediction is not None
    (reason,) = decision.prediction.items[0].reasons
    assert (reason.code, reason.price) == ("back_in_stock", 50.0)
    assert reason.sentence == "stoneware coffee mug is available again, for 50.00 EUR."
    engine.shop.upsert([priced("mug-1", **before)])
    assert [each.silent for each in visitor.hears(2 * MINUTE, priced("mug-1"), 4)] == ["not_due"]


def test_what_the_catalogue_says_is_held_back_like_anything_else() -> None:
    def told(*events: tuple[int, str], **given: Any) -> Decision:
        visitor, _ = dear(**given)
        for at, kind in events:
            visitor.does(at, kind, "mug-1")
        return visitor.hears(2 * MINUTE, priced("mug-1", 40.0))[0]

    assert rule(told((2 * MINUTE - SECOND, "view"))) == "quiet"
    assert rule(told((0, "view"), rules={"assume_consent": False})) == "no_consent"
    assert rule(told((0, "view"), (SECOND, "purchase"))) == "gone"
    assert rule(told((0, "view"), rules={"daily_cap": 1})) == "daily_cap"
    assert rule(told((0, "view"), rules={"min_gain": 1.0})) == "small_gain"
    held = told((0, "view"), rules={"holdout_percent": 100})
    assert (rule(held), held.suppressed and held.suppressed.prediction.trigger) == ("holdout", "price_drop")


def test_what_was_sent_within_the_cool_down_is_not_offered_for_its_price_either() -> None:
    visitor, _ = dear()
    assert "mug-3" in offers(visitor.does(0, "view", "mug-1"))
    visitor.does(SECOND, "view", "mug-3")
    (decision,) = visitor.hears(2 * MINUTE, priced("mug-3", 40.0))
    assert decision.silent == "nothing_to_offer"


def test_a_session_that_has_ended_hears_nothing() -> None:
    visitor, _ = dear()
    visitor.does(0, "view", "mug-1")
    assert [each.silent for each in visitor.hears(31 * MINUTE, priced("mug-1", 40.0))] == ["not_due"]
    visitor.ticks(32 * MINUTE)
    assert [each.silent for each in visitor.hears(33 * MINUTE, priced("mug-1", 30.0), 2)] == ["not_due"]


def test_two_notices_of_one_change_in_one_batch_are_told_once_and_under_one_id() -> None:
    visitor, _ = dear(rules=OPEN)
    visitor.does(0, "view", "mug-1")
    (first,) = visitor.hears(MINUTE, priced("mug-1", 40.0), 9)
    assert first.prediction is not None
    assert isinstance(first.event, Noticed)
    other = Visitor(visitor.engine)
    other.does(0, "view", "mug-1")
    one, two = other.meets([first.event, first.event])
    assert (one.prediction, two.silent) == (first.prediction, "not_due")
    assert first.prediction.prediction_id == prediction_id(first.event, "price_drop", 0)
