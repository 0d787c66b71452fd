"""What became of each prediction, as the record of the session's end tells it."""

from __future__ import annotations

from streaming.records import Outcome, SessionClosed
from tests.stories.small_shop import MINUTE, SECOND, Visitor, engine_for

OPEN = {"quiet_ms": 0, "trigger_cooldown_ms": 0, "item_cooldown_ms": 0, "min_gain": 0}


def closed(visitor: Visitor, at: int) -> SessionClosed:
    """Ticks until it ends: an idle cart comes first."""
    (record,) = [record for record in (visitor.ticks(at).closed for _ in range(3)) if record is not None]
    return record


def sent_id(visitor: Visitor, at: int, kind: str, item: str) -> str:
    prediction = visitor.does(at, kind, item).prediction
    assert prediction is not None
    return prediction.prediction_id


def test_each_prediction_has_what_was_taken_up_of_it() -> None:
    visitor = Visitor(engine_for())
    first = sent_id(visitor, 0, "view", "mug-1")  # offers mug-3 and mug-2
    visitor.does(SECOND, "view", "mug-3")
    second = sent_id(visitor, MINUTE, "view", "saw-1")  # offers saw-3 and saw-2
    visitor.does(MINUTE + SECOND, "click", "saw-2")
    visitor.does(MINUTE + SECOND, "cart_add", "saw-2")
    visitor.does(MINUTE + 2 * SECOND, "view", "mug-2")  # of the first, which was replaced
    visitor.does(MINUTE + 3 * SECOND, "impression", "saw-3")
    record = closed(visitor, 40 * MINUTE)
    assert record.predictions == [
        Outcome(first, "cold_start", viewed=1),
        Outcome(second, "next_item", clicked=1, carted=1),
    ]
    assert (record.sent, record.became.view, record.became.cart_add, record.became.click) == (2, 1, 1, 1)


def test_a_click_that_names_its_prediction_counts_for_that_one() -> None:
    visitor = Visitor(engine_for())
    first = sent_id(visitor, 0, "view", "mug-1")
    second = sent_id(visitor, MINUTE, "view", "saw-1")
    visitor.does(MINUTE + SECOND, "click", "mug-2", prediction_id=first)
    visitor.does(MINUTE + 2 * SECOND, "click", "saw-2", prediction_id="of another site")
    visitor.does(25 * MINUTE, "purchase", "mug-2", prediction_id=first)
    told = {outcome.prediction_id: outcome for outcome in closed(visitor, 60 * MINUTE).predictions}
    assert (told[first].clicked, told[first].purchased) == (1, 1)
    assert (told[second].clicked, told[second].purchased) == (1, 0)


def test_the_hold_out_tells_what_would_have_been_taken_up() -> None:
    visitor = Visitor(engine_for(rules={"holdout_percent": 100}))
    visitor.does(0, "view", "mug-1")
    visitor.does(SECOND, "view", "mug-3")
    record = closed(visitor, 40 * MINUTE)
    (outcome,) = record.predictions
    assert (outcome.trigger, outcome.held, outcome.viewed) == ("cold_start", True, 1)
    assert (record.sent, record.became.view) == (0, 0)


def test_of_many_predictions_the_newest_are_told_and_all_are_counted() -> None:
    visitor = Visitor(engine_for(rules=OPEN))
    shelves = ["mug-1", "hat-1", "saw-1"]
    sent = [visitor.does(n * MINUTE, "view", shelves[n % 3]).prediction for n in range(40)]
    ids = [prediction.prediction_id for prediction in sent if prediction is not None]
    record = closed(visitor, 90 * MINUTE)
    assert len(ids) > 12
    assert record.sent == len(ids)
    assert [outcome.prediction_id for outcome in record.predictions] == ids[-12:]


def test_a_session_that_begins_anew_has_new_predictions() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    decision = visitor.does(60 * MINUTE, "view", "mug-1")
    assert decision.closed is not None
    assert len(decision.closed.predictions) == 1
    assert [outcome.trigger for outcome in closed(visitor, 120 * MINUTE).predictions] == ["cold_start"]
