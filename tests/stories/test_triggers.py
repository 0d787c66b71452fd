"""When a visitor is addressed: the four triggers, with time given by the events alone."""

from __future__ import annotations

import pytest

from tests.stories.small_shop import MINUTE, SECOND, START, Visitor, engine_for, offers, rule


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
    visitor = Visitor(engine_for())
    for at, (kind, item) in enumerate(before):
        visitor.does(at, kind, item)
    decision = visitor.does(40 * MINUTE - 10 * MINUTE, "exit")
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
