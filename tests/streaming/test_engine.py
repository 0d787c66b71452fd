from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.session import PooledSessionEncoder
from index.calibration import Calibration
from index.lesson import Lesson
from streaming import codec, sessions
from streaming.changes import Change
from streaming.decisions import Decision, Due, Noticed, Work, prediction_id
from streaming.engine import Engine
from streaming.errors import InputError
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.ladder import LEVELS
from streaming.ranking import RankingSettings
from streaming.records import CLICK_KINDS, Item, Level
from streaming.sessions import SessionState
from tests.stories.small_shop import CATALOGUE, MINUTE, SECOND, START, Visitor, engine_for, fitted, offers, stocked

IDS = [*CATALOGUE, "unknown-1", "unknown-2"]


def stream(seed: int, count: int, sessions_: int = 4) -> list[Work]:
    """Events of several sessions, some late, some repeated, some of unknown items; among them due times and notices."""
    draw = random.Random(seed)
    offsets = [0, 0]
    made: list[Work] = []
    now = START
    for _ in range(count):
        now += draw.choice([0, SECOND, 25 * SECOND, 6 * MINUTE, 40 * MINUTE])
        session = f"s{draw.randrange(sessions_)}"
        if draw.random() < 0.1:
            made.append(Due(session, now))
            continue
        if draw.random() < 0.1:
            price = draw.choice([1.0, 2.0])
            trigger = draw.choice(["price_drop", "back_in_stock"])
            change = Change(draw.choice(list(CATALOGUE)), trigger, 0, len(made), now, 9.0, price, "EUR")  # type: ignore[arg-type]
            made.append(Noticed(session, now, change))
            continue
        kind = draw.choice(sessions.KINDS)
        topic = 0 if kind in CLICK_KINDS else 1
        offsets[topic] += 1
        item = draw.choice(IDS)
        made.append(
            Event(
                source=Source(topic, 0, offsets[topic], now),
                session=session,
                user=draw.choice([None, "user"]),
                kind=kind,
                time=now - draw.choice([0, 0, 0, 90 * SECOND]),
                item_id=None if kind in ("search", "exit", "impression") else item,
                query=draw.choice(["stoneware", "winter hat"]) if kind == "search" else None,
                title=draw.choice([None, "steel bow saw", "felt hat"]) if item.startswith("unknown") else None,
                event_id=draw.choice([None, None, f"e{draw.randrange(30)}"]),
                consent=draw.choice([None, None, None, True, False]),
            )
        )
    return made


def fed(target: Engine, events: list[Work], sizes: list[int]) -> tuple[dict[str, SessionState], list[Decision]]:
    """Steps over the events in batches of these sizes, over and over."""
    states: dict[str, SessionState] = {}
    decisions: list[Decision] = []
    place = turn = 0
    while place < len(events):
        batch = events[place : place + sizes[turn % len(sizes)]]
        changed, made = target.step(batch, states)
        states.update(changed)
        decisions += made
        place, turn = place + len(batch), turn + 1
    return states, decisions


def as_bytes(states: dict[str, SessionState], decisions: list[Decision]) -> list[Any]:
    outputs: list[Any] = [(session, codec.encode(state)) for session, state in sorted(states.items())]
    for decision in decisions:
        records = (decision.prediction, decision.suppressed, decision.closed)
        outputs.append([decision.silent, decision.taught, *(r and codec.encode(r) for r in records)])
    return outputs


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 20), min_size=1, max_size=4), st.sampled_from(LEVELS))
def test_a_batch_equals_its_events_one_by_one(seed: int, sizes: list[int], level: Level) -> None:
    events = stream(seed, 60)
    for make in (stocked, fitted):  # words alone, and all that a past teaches
        one_by_one = as_bytes(*fed(at(level, make), events, [1]))
        assert as_bytes(*fed(at(level, make), events, sizes)) == one_by_one
        assert as_bytes(*fed(at(level, make), events, [len(events)])) == one_by_one


def at(level: Level, make: Callable[[], Shop]) -> Engine:
    """An engine over this shop that does no more than the level allows."""
    engine = engine_for(make())
    engine.level = level
    return engine


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_each_event_ends_in_exactly_one_decision_and_a_replay_in_none_that_leaves(seed: int) -> None:
    events = stream(seed, 60)
    target = engine_for()
    states, decisions = fed(target, events, [7])
    for event, decision in zip(events, decisions, strict=True):
        assert decision.event is event
        outcomes = (decision.prediction, decision.suppressed, decision.silent)
        assert sum(outcome is not None for outcome in outcomes) == 1
    again = [event for event in events if isinstance(event, Event)]
    changed, replayed = target.step(again, states)
    assert changed == {}
    assert {decision.silent for decision in replayed} == {"applied"}
    assert all(decision.taught is None and decision.closed is None for decision in replayed)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_but_for_what_was_said_a_state_is_that_of_the_set_of_its_events(seed: int, draw: random.Random) -> None:
    events = stream(seed, 60, sessions_=1)
    met = [event for event in events if isinstance(event, Event)]
    topics = [[event for event in met if event.source.topic == topic] for topic in (0, 1)]
    others = [event for event in events if isinstance(event, Noticed)]
    mixed: list[Work] = []
    while topics[0] or topics[1]:
        mixed.append(draw.choice([topic for topic in topics if topic]).pop(0))
        mixed += [draw.choice(others)] if others and draw.random() < 0.3 else []
    endless = {"session_idle_ms": 0}
    states, _ = fed(engine_for(worker=endless), mixed, [5])
    alone, _ = fed(engine_for(worker=endless), list(met), [1])
    assert {name: sessions.events_only(state) for name, state in states.items()} == {
        name: sessions.events_only(state) for name, state in alone.items()
    }
    assert all(len(codec.encode(state)) <= sessions.MOST_BYTES for state in states.values())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_no_prediction_ever_offers_what_it_must_not(seed: int, size: int) -> None:
    events = stream(seed, 80)
    rules = {"quiet_ms": 0, "trigger_cooldown_ms": 0, "min_gain": 0.0}
    target = engine_for(rules=rules)
    bought: dict[str, set[str]] = {}
    sent: dict[str, dict[str, int]] = {}
    predictions = 0
    for decision in fed(target, events, [size])[1]:
        session = decision.event.session
        if decision.closed is not None:
            bought[session], sent[session] = set(), {}
        event = decision.event
        if isinstance(event, Event) and event.kind == "purchase" and decision.silent not in ("repeat", "applied"):
            bought.setdefault(session, set()).add(str(event.item_id))
        if decision.prediction is None:
            continue
        predictions += 1
        told = sent.setdefault(session, {})
        for item in [offer.item_id for offer in decision.prediction.items]:
            assert item in CATALOGUE
            assert item not in bought.get(session, ())
            time = decision.prediction.event_time
            assert time - told.get(item, -(10**15)) >= target.rules.item_cooldown_ms
            told[item] = time
    assert predictions


def test_a_new_vector_of_an_item_reaches_the_sessions_that_saw_it() -> None:
    target = engine_for(rules={"quiet_ms": 0, "trigger_cooldown_ms": 0})
    visitor = Visitor(target)
    assert offers(visitor.does(0, "view", "mug-1"))[0] == "mug-3"
    target.shop.upsert([Item(item_id="mug-1", title="felt winter hat")])
    assert offers(visitor.does(SECOND, "view", "mug-1"))[0] == "hat-1"


def test_new_words_are_encoded_in_one_call_a_batch() -> None:
    target = engine_for()
    calls: list[list[str]] = []
    encode = target.shop.texts.encode
    target.shop.texts.encode = lambda texts: calls.append(list(texts)) or encode(texts)  # type: ignore[method-assign,func-returns-value]
    one, two = Visitor(target, "one"), Visitor(target, "two")
    batch = [
        one.event(0, "search", query="tea mug"),
        two.event(1, "search", query="red hat"),
        two.event(2, "view", "new", title="red felt hat"),
        one.event(3, "search", query="tea mug"),
    ]
    _, decisions = target.step(batch, {})
    assert calls == [["tea mug", "red hat", "red felt hat"]]
    assert offers(decisions[0])[0] == "mug-2"
    assert offers(decisions[1])[0] == "hat-3"


def test_made_at_is_wall_time_where_it_is_given() -> None:
    visitor = Visitor(engine_for())
    event = visitor.event(0, "view", "mug-1")
    for now, expected in ((None, START), (42, 42)):
        _, (decision,) = visitor.engine.step([event], {}, now)
        assert decision.prediction is not None
        assert decision.prediction.made_at == expected
        assert decision.prediction.event_time == START
        assert decision.prediction.expires_at == START + 30 * MINUTE


def test_a_prediction_says_what_made_it() -> None:
    prediction = Visitor(engine_for()).does(0, "view", "mug-1", user="someone").prediction
    assert prediction is not None
    assert (prediction.session_id, prediction.user_id, prediction.model) == ("visitor", "someone", "small")
    assert (prediction.level, prediction.arm, prediction.calibrated) == ("full", "treatment", False)
    assert len(prediction.index.snapshot) == 33
    assert codec.decode(codec.encode(prediction), type(prediction)) == prediction


def test_scores_are_probabilities_where_the_model_says_so() -> None:
    shop = stocked()
    shop.calibration = Calibration(True, "", intercept=-1.0, slopes=(0.0,) * 4)
    prediction = Visitor(engine_for(shop)).does(0, "view", "mug-1").prediction
    plain = Visitor(engine_for()).does(0, "view", "mug-1").prediction
    assert prediction is not None
    assert plain is not None
    assert prediction.calibrated
    for offer, other in zip(prediction.items, plain.items, strict=True):
        z = -math.log(1 - other.score)
        assert (offer.item_id, offer.score) == (other.item_id, pytest.approx(1 / (1 + math.exp(1 - z))))


def test_of_one_brand_there_is_half_a_prediction_at_most() -> None:
    shop = stocked()
    kitchen = [item_id for item_id in CATALOGUE if item_id[0] in "mp"]
    shop.upsert([Item(item_id=item_id, title=CATALOGUE[item_id], brand="Ox") for item_id in kitchen])
    best = offers(Visitor(engine_for(shop, triggers={"offers": 4})).does(0, "view", "mug-1"))
    assert [item_id in kitchen for item_id in best] == [True, True, False, False]
    free = engine_for(shop, triggers={"offers": 4}, ranking=RankingSettings(brand_share=1.0))
    assert [item_id in kitchen for item_id in offers(Visitor(free).does(0, "view", "mug-1"))] == [True] * 3 + [False]


def test_a_visitor_is_no_neighbour_of_their_own() -> None:
    rules = {"quiet_ms": 0, "trigger_cooldown_ms": 0, "item_cooldown_ms": 0, "min_gain": 0}
    alike = RankingSettings(counts=0, text=0, graph=0, prior=0, repeat=True)
    taught, untaught = (Visitor(engine_for(rules=rules, ranking=alike), "me") for _ in range(2))
    for n, item_id in enumerate(["mug-1", "saw-1", "hat-1", "mug-1"]):
        ours, theirs = taught.does(n * MINUTE, "view", item_id), untaught.does(n * MINUTE, "view", item_id)
        assert (ours.prediction, ours.suppressed) == (theirs.prediction, theirs.suppressed)
        assert ours.taught is not None
        lesson = ours.taught
        taught.engine.shop.knn.observe(
            Lesson(lesson.after, lesson.context, lesson.kind, lesson.time, lesson.session, lesson.visitor)
        )
    another = Visitor(taught.engine, "another").does(0, "view", "saw-1").prediction
    assert another is not None
    assert {offer.item_id for offer in another.items} == {"mug-1", "hat-1"}
    assert all(offer.score > 0 for offer in another.items)


def test_a_notice_of_an_item_that_is_not_known_names_no_other() -> None:
    target = engine_for()
    target.ranked = 20
    visitor = Visitor(target)
    visitor.does(0, "view", "never heard of")
    change = Change("never heard of", "price_drop", 0, 7, START + MINUTE, 2.0, 1.0, None)
    (decision,) = visitor.meets([Noticed("visitor", START + MINUTE, change)])
    assert decision.suppressed is not None
    assert [offer.item_id for offer in decision.suppressed.prediction.items] == ["never heard of"]
    assert decision.suppressed.rule == "gone"
    assert decision.ranked == ()


def test_ids_of_predictions_follow_the_contract() -> None:
    event = Visitor(engine_for()).event(0, "view", "mug-1")

    def hashed(*parts: str) -> str:
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    assert prediction_id(event, "next_item", START) == hashed("offset", "browses", "0", "0", "next_item")
    with_id = Visitor(engine_for()).event(0, "view", "mug-1", event_id="e")
    assert prediction_id(with_id, "exit_intent", START) == hashed("event", "e", "exit_intent")
    assert prediction_id(Due("s", START + 9), "cart_idle", START) == hashed("due", "s", str(START), "cart_idle")
    noticed = Noticed("s", START, Change("tea", "price_drop", 0, 7, START, 2.0, 1.0, None))
    place = ("offset", "catalogue", "0", "7", "s")
    assert prediction_id(noticed, "price_drop", START) == hashed(*place, "price_drop")


def test_what_an_event_teaches() -> None:
    visitor = Visitor(engine_for())
    taught = [
        visitor.does(at, kind, item, **fields).taught
        for at, (kind, item, fields) in enumerate(
            [
                ("view", "mug-1", {}),
                ("search", None, {"query": "hat"}),
                ("view", "hat-1", {"event_id": "e"}),
                ("view", "hat-1", {}),
                ("view", "saw-1", {"event_id": "e"}),
                ("impression", "saw-1", {}),
                ("purchase", "mug-2", {}),
            ]
        )
    ]
    steps = [t and (t.offset, t.before, t.after, t.kind, t.context) for t in taught]
    assert steps == [
        (0, "", "mug-1", "view", []),
        None,
        (2, "mug-1", "hat-1", "view", ["mug-1"]),
        (3, "hat-1", "hat-1", "view", ["hat-1", ""]),  # the same again; the pair met a moment ago
        None,  # a repeat of the site's
        None,
        (1, "hat-1", "mug-2", "purchase", ["hat-1", "", "mug-1"]),
    ]
    assert [t.time for t in taught if t] == [START, START + 2, START + 3, START + 6]


def test_a_late_event_teaches_what_came_before_it() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    visitor.does(10 * SECOND, "view", "saw-1")
    taught = visitor.does(5 * SECOND, "click", "hat-1").taught
    assert taught is not None
    assert (taught.before, taught.after) == ("mug-1", "hat-1")


# ---------------------------------------------------------------------------------------------------- changes at work
def test_a_rule_can_be_changed_between_steps() -> None:
    visitor = Visitor(engine_for())
    visitor.engine.set_rule("daily_cap", 0.0)
    decision = visitor.does(0, "view", "mug-1")
    assert decision.suppressed is not None
    assert decision.suppressed.rule == "daily_cap"
    visitor.engine.set_rule("assume_consent", 0.0)
    assert visitor.engine.rules.assume_consent is False
    assert visitor.engine.rules.daily_cap == 0


@pytest.mark.parametrize(
    ("name", "value"), [("no_such", 1.0), ("daily_cap", -1.0), ("daily_cap", 0.5), ("min_gain", 2)]
)
def test_a_rule_that_cannot_be_is_refused_and_nothing_changes(name: str, value: float) -> None:
    target = engine_for()
    before = target.rules
    with pytest.raises(InputError, match=name):
        target.set_rule(name, value)
    assert target.rules == before


def test_another_shop_can_be_served_between_steps() -> None:
    visitor = Visitor(engine_for())
    visitor.does(0, "view", "mug-1")
    shop = stocked(titles={"mug-1": "brass bell", "bell": "brass bell large"})
    visitor.engine.serve(shop, PooledSessionEncoder(shop.dimension))
    assert offers(visitor.does(MINUTE, "view", "mug-1")) == ["bell"]


def test_an_encoder_of_another_dimension_is_refused() -> None:
    target = engine_for()
    with pytest.raises(InputError, match="8 dimensions, expected 256"):
        target.serve(target.shop, PooledSessionEncoder(8))


def test_a_shop_that_cannot_be_served_leaves_the_old_one_in_place() -> None:
    target = engine_for()
    before = target.shop
    broken = stocked()
    broken.ranking = {"no_such": 1.0}
    with pytest.raises(InputError, match="no_such"):
        target.serve(broken, PooledSessionEncoder(broken.dimension))
    assert target.shop is before


def test_nothing_in_a_step_changes_its_arguments() -> None:
    target = engine_for()
    events = stream(9, 50)
    states, _ = fed(target, events[:25], [5])
    kept = {session: codec.encode(state) for session, state in states.items()}
    batch = list(events[25:])
    target.step(batch, states)
    assert batch == events[25:]
    assert {session: codec.encode(state) for session, state in states.items()} == kept
    assert not any(
        isinstance(getattr(state, name), np.ndarray) for state in states.values() for name in state.__struct_fields__
    )
