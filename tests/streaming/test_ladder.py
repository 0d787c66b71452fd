"""The ladder: down at once by age, up a rung at a time once it is calm; and what a step leaves out on each rung."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from encoders.text import DummyTextEncoder, Vectors
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.ladder import CALM_S, LEVELS, Ladder
from streaming.privacy import Pseudonyms
from streaming.records import Item, Learned, Prediction, Transition
from streaming.sessions import SessionState
from streaming.settings import RuleSettings, Settings, WorkerSettings
from streaming.worker_process import metric
from tests.streaming.batch_bench import Bench, tick, view

NOW = 1_700_000_000_000
OPEN = RuleSettings(quiet_ms=0, trigger_cooldown_ms=0, item_cooldown_ms=0, min_gain=0, daily_cap=1_000_000)


@pytest.mark.parametrize(
    ("age", "level"), [(0, "full"), (100, "full"), (101, "cached"), (201, "graph"), (401, "popular"), (1e9, "popular")]
)
def test_it_goes_down_at_once_as_far_as_the_age_asks(age: float, level: str) -> None:
    ladder = Ladder(100)
    assert ladder.settle(age, 0) == ladder.level == level
    assert (ladder.reason is None) == (level == "full")


def test_it_goes_up_a_rung_at_a_time_and_only_when_it_is_calm() -> None:
    ladder = Ladder(100)
    ladder.settle(1000, 0)
    seen = [ladder.settle(10, 0.1 * n) for n in range(1, 40)]
    assert seen[0] == "popular"
    assert list(dict.fromkeys(seen)) == list(reversed(LEVELS))
    assert seen.index("graph") == pytest.approx(CALM_S / 0.1, abs=1)
    assert ladder.reason is None


def test_it_does_not_swing_around_the_budget() -> None:
    ladder = Ladder(100)
    ages = [90, 110] * 50
    seen = [ladder.settle(age, 0.1 * n) for n, age in enumerate(ages)]
    assert seen[1:] == ["cached"] * 99
    assert "budget is 100 ms" in str(ladder.reason)


def test_a_wave_in_the_calm_begins_it_anew() -> None:
    ladder = Ladder(100)
    ladder.settle(150, 0)
    assert [ladder.settle(age, at) for age, at in ((10, 1), (60, 1.9), (10, 2.1), (10, 3.0), (10, 3.2))] == [
        *["cached"] * 4,
        "full",
    ]


def test_without_a_budget_all_is_done_however_late() -> None:
    ladder = Ladder(0)
    assert ladder.settle(1e9, 0) == "full"
    assert ladder.reason is None


# ------------------------------------------------------------------------------------------------------- in the engine
class CountingEncoder(DummyTextEncoder):
    """Counts the texts that it encodes."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.encoded += texts
        return super().encode(texts)


@pytest.fixture
def texts() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def engine(texts: CountingEncoder) -> Engine:
    """Kettles and boots; visitors of `i0` went on to `i9`, a boot."""
    shop = Shop(texts)
    shop.upsert([Item(item_id=f"i{n}", title=f"{'kettle' if n < 6 else 'boots'} number{n}") for n in range(12)])
    goes = [("i0", "i9"), ("i0", "i9"), ("i3", "i4"), ("i5", "i6"), ("i7", "i8")]
    pairs = [Transition(n, a, b, "view", NOW, n, n, [a]) for n, (a, b) in enumerate(goes * 20)]
    shop.learn(Learned(topic="browses", partition=0, transitions=pairs))
    settings = Settings(no_pseudonyms=True, rules=OPEN)
    engine = Engine(settings, shop, shop.tables.session_encoder(), Pseudonyms(None))
    engine.forgets = True
    return engine


def _event(number: int, kind: str, about: str, session: str = "s", time: int = NOW) -> Event:
    what = {"query": about} if kind == "search" else {"item_id": about}
    return Event(Source(1, 0, number, NOW), session, None, kind, time, event_id=f"e{number}", **what)


def _answer(engine: Engine, event: Event, states: dict[str, SessionState] | None = None) -> Prediction:
    changed, (decision,) = engine.step([event], states or {})
    if states is not None:
        states.update(changed)
    assert decision.prediction is not None
    return decision.prediction


def test_full_and_cached_are_alike_where_all_is_at_hand(engine: Engine) -> None:
    full = _answer(engine, _event(1, "view", "i1"))
    engine.level = "cached"
    cached = _answer(engine, _event(1, "view", "i1"))
    assert (full.level, cached.level) == ("full", "cached")
    assert [offer.item_id for offer in full.items] == [offer.item_id for offer in cached.items]


def test_without_the_encoder_new_words_are_passed_over_and_later_read(engine: Engine, texts: CountingEncoder) -> None:
    engine.level = "cached"
    states: dict[str, SessionState] = {}
    texts.encoded.clear()
    first = _answer(engine, _event(1, "search", "boots"), states)
    assert texts.encoded == []
    assert first.level == "popular"  # nothing is known of this session
    engine.level = "full"
    again = _answer(engine, _event(2, "search", "boots"), states)
    assert texts.encoded == ["boots"]
    assert again.level == "full"
    fresh = Engine(engine.settings, engine.shop, engine.shop.tables.session_encoder(), Pseudonyms(None))
    vector = engine._sights.of("s", states["s"].history).vector
    assert np.array_equal(vector, fresh._sights.of("other", states["s"].history).vector)  # as if never left out


def test_without_the_encoder_what_is_near_is_told_of_the_words_that_are_at_hand(engine: Engine) -> None:
    states: dict[str, SessionState] = {}
    _answer(engine, _event(1, "search", "kettle number2"), states)
    engine.level = "cached"
    for number, words in ((2, "something else"), (3, "and more")):
        told = _answer(engine, _event(number, "search", words), states)
        near = {reason.sentence for offer in told.items for reason in offer.reasons if reason.code == "near"}
        assert near == {"Close to “kettle number2”, which you searched for."}


def test_graph_asks_what_goes_together_and_not_what_is_near(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.level = "graph"
    monkeypatch.setattr(engine.shop.index, "search", lambda *_: pytest.fail("searched"))
    found = _answer(engine, _event(1, "view", "i0"))
    assert found.level == "graph"
    assert found.items[0].item_id == "i9"
    assert found.items[0].reasons[0].code == "together"


def test_popular_asks_nothing_of_the_session(engine: Engine) -> None:
    engine.level = "popular"
    first, second = (_answer(engine, _event(n, "view", item, f"s{n}")) for n, item in ((1, "i0"), (2, "i7")))
    assert first.level == second.level == "popular"
    shared = {offer.item_id for offer in first.items} & {offer.item_id for offer in second.items}
    assert first.items[0].item_id == "i9"
    assert [offer.item_id for offer in first.items if offer.item_id in shared] == [
        offer.item_id for offer in second.items if offer.item_id in shared
    ]
    assert {reason.code for offer in first.items for reason in offer.reasons} <= {"popular"}


def test_at_popular_a_batch_is_told_as_its_events_alone(engine: Engine) -> None:
    rarely = Transition(100, "i0", "i2", "view", NOW, 100, 100, ["i0"])
    engine.shop.learn(Learned(topic="browses", partition=0, transitions=[rarely]))
    engine.level = "popular"
    events = [_event(n, "view", item, f"s{n}") for n, item in enumerate(("i0", "i9", "i7", "i9"), 1)]
    together = [decision.prediction for decision in engine.step(events, {})[1]]
    alone = [engine.step([event], {})[1][0].prediction for event in events]
    assert together == alone
    firsts = [told.items[0].item_id for told in together if told is not None]
    assert len(set(firsts)) > 1  # what a session has seen is not offered: they are not all the same
    assert {bool(offer.reasons) for told in together if told is not None for offer in told.items} == {True, False}


# -------------------------------------------------------------------------------------------------------------- floods
def test_a_flood_is_counted_and_not_answered_and_others_are() -> None:
    shop = Shop(DummyTextEncoder())
    shop.upsert([Item(item_id=f"i{n}", title=f"kettle number{n}") for n in range(40)])
    settings = Settings(no_pseudonyms=True, rules=OPEN, worker=WorkerSettings(session_events_per_s=5))
    engine = Engine(settings, shop, shop.tables.session_encoder(), Pseudonyms(None))
    engine.forgets = True
    bot = [_event(n, "view", f"i{n % 40}", "bot", NOW + n) for n in range(100)]
    human = _event(1000, "view", "i3", "human", NOW + 50)
    changed, decisions = engine.step([*bot[:50], human, *bot[50:]], {})
    told = [decision for decision in decisions if decision.event.session == "bot"]
    assert [decision.silent for decision in told] == [None] * 5 + ["flood"] * 95
    assert changed["bot"].counts == (0, 100)
    assert decisions[50].prediction is not None
    slow = [_event(2000 + n, "view", f"i{n}", "slow", NOW + 250 * n) for n in range(20)]
    assert all(decision.silent is None for decision in engine.step(slow, {})[1])
    later = engine.step([_event(3000, "view", "i1", "bot", NOW + 5000)], changed)[1]
    assert later[0].prediction is not None


# ------------------------------------------------------------------------------------------------------- what is stale
def _patient(texts: DummyTextEncoder, **worker: Any) -> Engine:
    """Answers what is 2 s old at most."""
    shop = Shop(texts)
    shop.upsert([Item(item_id=f"i{n}", title=f"kettle number{n}") for n in range(40)])
    settings = Settings(no_pseudonyms=True, rules=OPEN, worker=WorkerSettings(stale_ms=2000, **worker))
    return Engine(settings, shop, shop.tables.session_encoder(), Pseudonyms(None))


def test_what_waited_for_too_long_is_counted_and_teaches_and_is_not_answered() -> None:
    texts = CountingEncoder()
    engine = _patient(texts)
    texts.encoded.clear()
    states: dict[str, SessionState] = {}
    events = [_event(1, "view", "i1"), _event(2, "search", "blue kettle"), _event(3, "view", "i2")]
    changed, decisions = engine.step(events, states, NOW + 2001)
    assert [decision.silent for decision in decisions] == ["stale"] * 3
    assert decisions[2].taught is not None
    assert changed["s"].counts == (0, 3)
    assert len(changed["s"].history) == 3
    assert texts.encoded == []
    (now,) = engine.step([_event(4, "view", "i3")], changed, NOW + 2000)[1]
    assert now.prediction is not None
    assert texts.encoded == ["blue kettle"]  # of the history, now that it is asked for


def test_what_is_stale_takes_an_offer_up_and_withdraws_it() -> None:
    engine, states = _patient(DummyTextEncoder()), dict[str, SessionState]()
    offered = _answer(engine, _event(1, "view", "i1"), states)
    bought = Event(Source(0, 0, 1, NOW), "s", None, "purchase", NOW + 10, offered.items[0].item_id, event_id="e2")
    changed, (decision,) = engine.step([bought], states, NOW + 60_000)
    assert decision.prediction is not None
    assert (decision.prediction.items, decision.prediction.cancels) == ([], [offered.prediction_id])
    assert sum(changed["s"].said.became) == 1


@pytest.mark.parametrize(
    ("worker", "sent", "now"),
    [({"clock": "record"}, NOW, NOW + 60_000), ({}, NOW, None), ({}, 0, NOW)],
    ids=["a replay", "no clock", "a record without a time"],
)
def test_nothing_is_stale_where_age_says_nothing(worker: dict[str, Any], sent: int, now: int | None) -> None:
    event = Event(Source(1, 0, 1, sent), "s", None, "view", NOW, "i1", event_id="e1")
    (decision,) = _patient(DummyTextEncoder(), **worker).step([event], {}, now)[1]
    assert decision.prediction is not None


# ------------------------------------------------------------------------------------------------------ in the batcher
@pytest.mark.parametrize(
    ("worker", "level", "rung"),
    [
        ({"latency_budget_ms": 1000}, "popular", 3),  # the event's record is of years ago
        ({"latency_budget_ms": 1e15}, "full", 0),
        ({"latency_budget_ms": 0}, "full", 0),
        ({"latency_budget_ms": 1000, "clock": "record"}, "full", 0),  # a replay: the past is no delay
    ],
)
def test_a_batch_is_decided_on_the_rung_of_its_oldest_event(worker: dict[str, Any], level: str, rung: int) -> None:
    bench = Bench(**worker)
    bench.run(view(0))
    assert bench.engine.level == level  # type: ignore[attr-defined]
    assert metric(bench.metrics.page().decode(), "beforehand_level") == rung
    bench.run(view(1), tick(0, NOW))
    assert bench.engine.level == level  # type: ignore[attr-defined]
