"""The life of a session: what replaces and withdraws what, what is never offered, late and repeated events, the end."""

from __future__ import annotations

from streaming import sessions
from streaming.records import Item
from streaming.sessions import SessionState
from tests.stories.small_shop import MINUTE, SECOND, START, Visitor, engine_for, offers, stocked


def sent_id(visitor: Visitor, at: int, kind: str, item_id: str) -> str:
    prediction = visitor.does(at, kind, item_id).prediction
    assert prediction is not None
    return prediction.prediction_id


def test_a_new_prediction_replaces_the_live_one_and_no_older() -> None:
    visitor = Visitor(engine_for())
    first = sent_id(visitor, 0, "view", "mug-1")
    second = visitor.does(MINUTE, "view", "hat-1").prediction
    assert second is not None
    assert (second.supersedes, second.cancels) == ([first], [])
    third = visitor.does(2 * MINUTE, "view", "saw-1").prediction
    assert third is not None
    assert third.supersedes == [second.prediction_id]
    late = visitor.does(32 * MINUTE, "view", "mug-2").prediction
    assert late is not None
    assert late.supersedes == []  # it has expired by itself


def test_a_purchase_withdraws_what_offered_it() -> None:
    visitor = Visitor(engine_for())
    first = sent_id(visitor, 0, "view", "mug-1")
    withdrawal = visitor.does(SECOND, "purchase", "mug-3").prediction
    assert withdrawal is not None
    assert (withdrawal.items, withdrawal.cancels, withdrawal.supersedes) == ([], [first], [])
    assert withdrawal.trigger == "next_item"
    again = visitor.does(2 * SECOND, "purchase", "mug-3")
    assert again.prediction is None  # it is withdrawn already


def test_a_withdrawal_is_held_back_by_nothing() -> None:
    visitor = Visitor(engine_for())
    first = sent_id(visitor, 0, "view", "mug-1")
    withdrawal = visitor.does(SECOND, "purchase", "mug-3", consent=False).prediction
    assert withdrawal is not None
    assert withdrawal.cancels == [first]


def test_a_purchase_that_leads_to_a_new_prediction_cancels_by_it() -> None:
    visitor = Visitor(engine_for(triggers={"offers": 1}))
    visitor.does(0, "view", "saw-1")
    first = sent_id(visitor, MINUTE, "view", "mug-1")
    decision = visitor.does(2 * MINUTE, "purchase", "mug-3")
    assert offers(decision) == ["mug-2"]
    assert decision.prediction is not None
    assert (decision.prediction.cancels, decision.prediction.supersedes) == ([first], [])


def test_a_purchase_of_something_else_withdraws_nothing() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    decision = visitor.does(SECOND, "purchase", "saw-1")
    assert decision.suppressed is not None
    assert decision.suppressed.prediction.cancels == []


def test_what_was_bought_is_not_offered_again_in_the_session() -> None:
    def offered_after(kind: str) -> set[str]:
        visitor = Visitor(engine_for(rules={"item_cooldown_ms": 0}))
        offered = set(offers(visitor.does(0, kind, "mug-3")))
        for n in range(1, 60):
            item = ["pot-1", "hat-1", "saw-1"][n % 3]
            decision = visitor.does(n * 31 * SECOND, "view", item)
            if n % 10 == 0:
                decision = visitor.does(n * 31 * SECOND + 1, "search", query="stoneware coffee mug large")
            offered |= set(offers(decision)) if decision.prediction is not None else set()
        assert visitor.state is not None
        assert "mug-3" not in {step.subject for step in visitor.state.history}
        return offered

    assert "mug-3" in offered_after("view")
    assert "mug-3" not in offered_after("purchase")


def test_what_is_removed_or_unavailable_is_not_offered() -> None:
    shop = stocked()
    shop.remove(["mug-3"])
    shop.upsert([Item(item_id="mug-2", title="stoneware tea mug", available=False)])
    decision = Visitor(engine_for(shop)).does(0, "view", "mug-1")
    assert offers(decision)[0] == "pot-1"
    assert not {"mug-2", "mug-3"} & set(offers(decision))


def test_a_new_item_is_offered_at_once() -> None:
    shop = stocked()
    engine = engine_for(shop)
    shop.upsert([Item(item_id="new", title="coffee mug stoneware"), Item(item_id="far", title="garden hose")])
    assert offers(Visitor(engine).does(0, "view", "mug-1"))[0] == "new"


def test_what_was_sent_is_not_sent_again_within_the_cool_down() -> None:
    visitor = Visitor(engine_for())
    assert offers(visitor.does(0, "view", "mug-1")) == ["mug-3", "mug-2"]
    visitor.does(20 * MINUTE, "view", "hat-1")
    soon = visitor.does(29 * MINUTE, "search", query="stoneware mug")
    assert soon.prediction is None or not {"mug-2", "mug-3"} & set(offers(soon))
    later = visitor.does(50 * MINUTE, "search", query="stoneware tea mug")
    assert offers(later)[0] == "mug-2"


def test_a_late_event_finds_its_place_in_the_history() -> None:
    in_order, late = Visitor(engine_for()), Visitor(engine_for())
    for visitor, order in ((in_order, [0, 1, 2]), (late, [0, 2, 1])):
        events = [
            visitor.event(0, "view", "mug-1"),
            visitor.event(5000, "click", "hat-1"),
            visitor.event(9000, "view", "saw-1"),
        ]
        for place in order:
            visitor.meets([events[place]])
    assert in_order.state is not None
    assert late.state is not None
    assert sessions.events_only(in_order.state) == sessions.events_only(late.state)
    assert [step.subject for step in late.state.history] == ["mug-1", "hat-1", "saw-1"]


def test_a_late_event_does_not_slip_past_the_throttle() -> None:
    visitor = Visitor(engine_for())
    visitor.does(MINUTE, "view", "mug-1")
    decision = visitor.does(0, "purchase", "hat-1")
    assert decision.suppressed is not None
    assert decision.suppressed.rule == "quiet"


def test_a_repeat_of_the_site_is_ignored_and_counted() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1", event_id="once")
    assert visitor.does(MINUTE, "view", "hat-1", event_id="once").silent == "repeat"
    assert visitor.state is not None
    assert visitor.state.repeats == 1
    assert [step.subject for step in visitor.state.history] == ["mug-1"]


def test_a_replayed_offset_changes_and_emits_nothing() -> None:
    visitor = Visitor(engine_for())
    event = visitor.event(0, "view", "mug-1")
    visitor.meets([event])
    before = visitor.state
    (decision,) = visitor.meets([event])
    assert (decision.silent, decision.taught, decision.closed) == ("applied", None, None)
    assert visitor.state is before


def test_a_batch_that_was_cut_short_decides_the_same_under_the_same_ids() -> None:
    visitor = Visitor(engine_for())
    events = [visitor.event(0, "view", "mug-1"), visitor.event(MINUTE, "view", "hat-1")]
    states: dict[str, SessionState] = {}
    assert visitor.engine.step(events, states) == visitor.engine.step(events, states)


def test_a_tick_closes_a_session_that_went_quiet() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1", user="someone")
    visitor.does(SECOND, "view", "mug-3")
    visitor.does(2 * SECOND, "click", "mug-2")
    assert visitor.ticks(30 * MINUTE).silent == "not_due"
    decision = visitor.ticks(31 * MINUTE)
    assert decision.silent == "closed"
    closed = decision.closed
    assert closed is not None
    assert closed.events == {"clicks": 1, "browses": 2}
    assert (closed.session_id, closed.user_id) == ("visitor", "someone")
    assert (closed.first_time, closed.last_time) == (START, START + 2 * SECOND)
    assert closed.sent == 1
    assert (closed.became.view, closed.became.click, closed.became.purchase) == (1, 1, 0)
    places = [(1, 0, 0), (1, 0, 1), (0, 0, 0)]
    assert closed.digest == sum(sessions.offset_digest(*place) for place in places) % 2**64
    assert visitor.state is not None
    assert visitor.state.closed
    assert visitor.ticks(60 * MINUTE).silent == "not_due"


def test_an_event_after_too_long_ends_the_session_and_begins_another() -> None:
    visitor = Visitor(engine_for())
    first = visitor.event(0, "view", "mug-1")
    visitor.meets([first])
    decision = visitor.does(30 * MINUTE + 1, "view", "hat-1")
    assert decision.closed is not None
    assert decision.closed.events == {"browses": 1}
    assert decision.prediction is not None
    assert decision.prediction.trigger == "cold_start"
    assert visitor.state is not None
    assert visitor.state.counts == (0, 1)
    assert visitor.meets([first])[0].silent == "applied"


def test_both_ways_of_ending_tell_the_same() -> None:
    by_tick, by_event = Visitor(engine_for()), Visitor(engine_for())
    for visitor in (by_tick, by_event):
        visitor.does(0, "view", "mug-1")
        visitor.does(MINUTE, "view", "hat-1")
    told = by_tick.ticks(32 * MINUTE).closed
    after = by_tick.does(40 * MINUTE, "view", "saw-1")
    at_once = by_event.does(40 * MINUTE, "view", "saw-1")
    assert at_once.closed == told
    assert at_once.prediction == after.prediction
    assert by_event.state == by_tick.state


def test_a_session_that_never_expires_goes_on() -> None:
    visitor = Visitor(engine_for(worker={"session_idle_ms": 0}))
    visitor.does(0, "view", "mug-1")
    decision = visitor.does(400 * 24 * 60 * MINUTE, "view", "hat-1")
    assert decision.closed is None
    assert visitor.state is not None
    assert visitor.state.counts == (0, 2)


def test_a_tick_for_a_session_that_is_not_there_is_answered() -> None:
    visitor = Visitor(engine_for())
    assert visitor.ticks(0).silent == "not_due"
    assert visitor.state is None


def test_two_visitors_do_not_see_each_other() -> None:
    engine = engine_for()
    alone, one, two = Visitor(engine, "one"), Visitor(engine, "one"), Visitor(engine, "two")
    expected = alone.does(0, "view", "mug-1")
    batch = [two.event(0, "view", "hat-1"), one.event(0, "view", "mug-1"), two.event(1, "purchase", "mug-3")]
    changed, decisions = engine.step(batch, {})
    assert decisions[1].prediction == expected.prediction
    assert set(changed) == {"one", "two"}


def test_a_session_ends_at_its_time_whether_a_tick_or_the_next_event_comes_first() -> None:
    ticked, alone = Visitor(engine_for()), Visitor(engine_for())
    for visitor in (ticked, alone):
        visitor.does(0, "view", "mug-1")
    assert ticked.ticks(30 * MINUTE).closed is not None
    for visitor, closed_by_it in ((ticked, False), (alone, True)):
        decision = visitor.does(30 * MINUTE, "view", "hat-1")
        assert decision.prediction is not None
        assert decision.prediction.trigger == "cold_start"
        assert (decision.closed is not None) == closed_by_it
