"""Why a visitor is not addressed: each rule once, and what it leaves behind."""

from __future__ import annotations

from streaming.privacy import Pseudonyms
from streaming.records import Item
from tests.stories.small_shop import MINUTE, SECOND, START, Visitor, engine_for, offers, rule, stocked

HOUR = 60 * MINUTE


def test_without_consent_nothing_is_sent_until_it_is_given_and_nothing_after_it_is_taken() -> None:
    visitor = Visitor(engine_for())
    assert rule(visitor.does(0, "view", "mug-1", consent=False)) == "no_consent"
    assert rule(visitor.does(SECOND, "view", "hat-1")) == "no_consent"
    assert offers(visitor.does(2 * SECOND, "view", "saw-1", consent=True)) == ["saw-3", "saw-2"]
    assert rule(visitor.does(MINUTE, "view", "hat-1", consent=False)) == "no_consent"


def test_where_all_that_is_left_is_gone_that_is_said() -> None:
    shop = stocked(titles={"mug-1": "stoneware mug", "mug-2": "stoneware tea mug"})
    visitor = Visitor(engine_for(shop))
    shop.upsert([Item(item_id="mug-2", title="stoneware tea mug", stock=0)])
    decision = visitor.does(0, "view", "mug-1")
    assert rule(decision) == "gone"
    assert decision.suppressed is not None
    assert [offer.item_id for offer in decision.suppressed.prediction.items] == ["mug-2"]
    shop.upsert([Item(item_id="mug-2", title="stoneware tea mug", stock=1)])
    assert offers(visitor.does(SECOND, "view", "mug-1")) == ["mug-2"]


def test_a_trigger_cools_down() -> None:
    visitor = Visitor(engine_for(rules={"trigger_cooldown_ms": 5 * MINUTE}, triggers={"shift_cosine": -1.0}))
    visitor.does(0, "view", "mug-1")
    assert offers(visitor.does(MINUTE, "view", "hat-1"))
    assert rule(visitor.does(5 * MINUTE, "view", "saw-1")) == "trigger_cooldown"
    assert offers(visitor.does(6 * MINUTE, "view", "saw-1"))


def test_there_is_quiet_between_predictions_whatever_their_trigger() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    assert rule(visitor.does(20 * SECOND - 1, "view", "hat-1")) == "quiet"
    assert offers(visitor.does(20 * SECOND, "view", "hat-1"))


def test_the_daily_cap_ends_at_the_visitors_midnight() -> None:
    # START is 22:13 UTC, so 23:13 an hour to the east
    visitor = Visitor(engine_for(rules={"daily_cap": 1}))
    assert offers(visitor.does(0, "view", "mug-1", utc_offset_min=60))
    assert rule(visitor.does(25 * MINUTE, "view", "hat-1")) == "daily_cap"
    assert rule(visitor.does(46 * MINUTE, "view", "hat-1")) == "daily_cap"
    assert offers(visitor.does(47 * MINUTE, "view", "hat-1"))


def test_the_daily_cap_ends_at_the_shops_midnight_where_the_visitors_is_not_known() -> None:
    visitor = Visitor(engine_for(rules={"daily_cap": 1}, worker={"utc_offset_min": 60, "session_idle_ms": 2 * HOUR}))
    assert offers(visitor.does(0, "view", "mug-1"))
    assert rule(visitor.does(46 * MINUTE, "view", "hat-1")) == "daily_cap"
    assert offers(visitor.does(47 * MINUTE, "view", "hat-1"))


def test_what_gains_too_little_over_what_is_live_is_not_sent() -> None:
    visitor = Visitor(engine_for(rules={"min_gain": 0.6}))
    visitor.does(0, "view", "mug-1")
    decision = visitor.does(MINUTE, "view", "saw-1")
    assert rule(decision) == "small_gain"
    assert offers(visitor.does(30 * MINUTE, "view", "saw-1"))  # nothing is live any more


def test_the_hold_out_is_sent_nothing_under_the_same_throttle() -> None:
    shown, kept = Visitor(engine_for()), Visitor(engine_for(rules={"holdout_percent": 100}))
    events = [
        (0, "view", "mug-1"),
        (10 * SECOND, "view", "hat-1"),
        (25 * SECOND, "view", "hat-1"),
        (MINUTE, "view", "hat-2"),
        (2 * MINUTE, "view", "saw-1"),
        (3 * MINUTE, "exit", None),
    ]
    for event in events:
        treated, held = shown.does(*event), kept.does(*event)
        if treated.prediction is None:
            assert held.silent == treated.silent
            assert (held.suppressed and held.suppressed.rule) == (treated.suppressed and treated.suppressed.rule)
            continue
        assert rule(held) == "holdout"
        assert held.suppressed is not None
        assert held.suppressed.prediction.items == treated.prediction.items
        assert held.suppressed.prediction.arm == "holdout"
    assert shown.state is not None
    assert kept.state is not None
    assert shown.state.said.sent > 1
    assert kept.state.said.sent == 0


def test_the_arm_is_that_of_the_user_else_of_the_session() -> None:
    arms = Pseudonyms(None)
    names = [f"name {n}" for n in range(40)]
    for name in names:
        by_user = Visitor(engine_for(rules={"holdout_percent": 50})).does(0, "view", "mug-1", user=name)
        by_session = Visitor(engine_for(rules={"holdout_percent": 50}), name).does(0, "view", "mug-1")
        for decision in (by_user, by_session):
            assert (decision.suppressed is not None) == (arms.percent(name) < 50)
    assert 5 < sum(arms.percent(name) < 50 for name in names) < 35


def test_the_detail_says_the_figures() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    decision = visitor.does(12_345, "view", "hat-1")
    assert decision.suppressed is not None
    assert decision.suppressed.detail == "12345 ms after the last prediction"
    assert decision.suppressed.prediction.event_time == START + 12_345


def test_a_shop_without_counts_or_words_in_common_offers_what_is_popular() -> None:
    shop = stocked("saw-1", "saw-1", "hat-1")
    decision = Visitor(engine_for(shop)).does(0, "impression")
    assert offers(decision) == ["saw-1", "hat-1"]
    assert decision.prediction is not None
    assert decision.prediction.level == "popular"
    assert decision.prediction.items[0].reasons[0].code == "popular"


def test_a_shop_that_cannot_read_what_was_seen_answers_from_its_tables() -> None:
    shop = stocked(*["gone-1>saw-2"] * 3, "hat-1", "hat-1")  # the catalogue does not have what others began with
    decision = Visitor(engine_for(shop)).does(0, "view", "gone-1")
    assert offers(decision) == ["saw-2", "hat-1"]
    assert decision.prediction is not None
    assert decision.prediction.level == "graph"
    reasons = [offer.reasons[0] for offer in decision.prediction.items]
    assert [(reason.code, reason.items) for reason in reasons] == [("neighbours", ["gone-1"]), ("popular", [])]
    assert reasons[0].sentence.endswith("chose it along with an item which you viewed.")
