"""The engine over a log, where the right answer is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from streaming.backtest import Backtest
from streaming.decisions import Decision, Due
from streaming.intake import Event
from streaming.privacy import Pseudonyms, pseudonym
from streaming.replay import EventLog, Outgoing
from tests.stories.small_shop import MINUTE, SECOND, START, Visitor, engine_for, offers

MURMUR2 = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}
"""Hashes that Apache Kafka's own tests hold its partitioner to."""
SECRET = "a secret of the tests, long enough"


def log(*rows: tuple[int, str, str, str | None], **columns: Any) -> EventLog:
    """Events: ms after START, session, kind, item."""
    frame = pl.DataFrame(
        {
            "kind": [row[2] for row in rows],
            "session_id": [row[1] for row in rows],
            "time": [START + row[0] for row in rows],
            "item_id": [row[3] for row in rows],
        },
        schema_overrides={"item_id": pl.String},
    ).with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    return EventLog("small", frame)


def run(source: EventLog, **options: Any) -> list[Decision]:
    engine = options.pop("engine", None) or engine_for()
    return list(Backtest(engine, source, Pseudonyms(None), **options).decisions())


TWO_VISITORS = log(
    (0, "a", "view", "mug-1"),
    (SECOND, "b", "view", "hat-1"),
    (40 * SECOND, "a", "view", "saw-1"),
    (50 * SECOND, "b", "cart_add", "hat-2"),
)


def test_a_log_is_decided_as_the_engine_decides_its_events_one_by_one() -> None:
    visitor = Visitor(engine_for(), "a")
    alone = [visitor.does(0, "view", "mug-1"), visitor.does(40 * SECOND, "view", "saw-1")]
    found = [decision for decision in run(TWO_VISITORS) if decision.event.session == "a"]
    # Offsets differ, for b's events lie between: so do ids without an event id.
    assert [offers(decision) for decision in found] == [offers(decision) for decision in alone]
    assert [decision.event.time for decision in found] == [START, START + 40 * SECOND]
    assert found[0].prediction is not None
    assert found[0].prediction.trigger == "cold_start"
    assert found[0].prediction.made_at == START


def test_offsets_are_counted_by_topic_and_partition() -> None:
    sources = [decision.event.source for decision in run(TWO_VISITORS) if isinstance(decision.event, Event)]
    assert [(source.topic, source.partition, source.offset) for source in sources] == [
        (1, 0, 0),
        (1, 0, 1),
        (1, 0, 2),
        (0, 0, 0),
    ]


def test_a_session_stays_on_the_partition_that_kafka_gives_its_key() -> None:
    rows = [(n * SECOND, list(MURMUR2)[n % len(MURMUR2)], "view", "mug-1") for n in range(24)]
    events = [decision.event for decision in run(log(*rows), partitions=4) if isinstance(decision.event, Event)]
    of = {event.session: event.source.partition for event in events}
    assert of == {name: (found & 0x7FFFFFFF) % 4 for name, found in MURMUR2.items()}
    assert len(set(of.values())) > 2
    assert all(event.source.partition == of[event.session] for event in events)
    offsets: dict[int, list[int]] = {}
    for event in events:
        offsets.setdefault(event.source.partition, []).append(event.source.offset)
    assert all(found == list(range(len(found))) for found in offsets.values())


def test_time_passes_by_the_events_own_times() -> None:
    decisions = run(
        log((0, "a", "cart_add", "mug-1"), (20 * MINUTE, "b", "view", "hat-1"), (80 * MINUTE, "b", "view", "hat-2"))
    )
    due = [decision for decision in decisions if isinstance(decision.event, Due)]
    assert [(decision.event.session, decision.event.time) for decision in due] == [
        ("a", START + 5 * MINUTE),
        ("a", START + 30 * MINUTE),
        ("b", START + 50 * MINUTE),
    ]
    cart, *ends = due
    idle = cart.prediction or (cart.suppressed and cart.suppressed.prediction)
    assert idle
    assert (idle.trigger, idle.event_time) == ("cart_idle", START + 5 * MINUTE)
    assert decisions.index(cart) == 1  # before the other visitor comes
    assert all(decision.closed is not None for decision in ends)


def test_a_session_that_was_closed_begins_anew() -> None:
    decisions = run(
        log((0, "a", "view", "mug-1"), (60 * MINUTE, "b", "view", "hat-1"), (61 * MINUTE, "a", "view", "saw-1"))
    )
    spoken = [(d.event.session, d.prediction.trigger) for d in decisions if d.prediction is not None]
    assert spoken == [("a", "cold_start"), ("b", "cold_start"), ("a", "cold_start")]


def test_it_learns_from_an_event_after_it_was_decided() -> None:
    engine = engine_for()
    pairs = [(n * SECOND, f"s{n // 2}", "purchase", ("mug-1", "saw-2")[n % 2]) for n in range(8)]
    run(log(*pairs, (MINUTE, "new", "purchase", "mug-1")), engine=engine)
    assert _met(engine) > 0
    frozen = engine_for()
    run(log(*pairs), engine=frozen, learn=False)
    assert _met(frozen) == 0


def _met(engine: Any) -> int:
    """Records of what was taught that the shop has applied."""
    return int(engine.shop.learned)


def test_what_the_intake_refuses_is_counted_and_not_decided() -> None:
    rows = log((0, "a", "view", "mug-1"), (SECOND, "b", "view", "mug-1"))
    backtest = Backtest(engine_for(), _Damaged("damaged", rows), Pseudonyms(None))
    assert [decision.event.session for decision in backtest.decisions()] == ["b"]
    assert backtest.dead_letters == {"key_mismatch": 1}


class _Damaged(EventLog):
    """A log whose first record has another session's key."""

    def __init__(self, name: str, good: EventLog) -> None:
        self.name = name
        self._good = good

    def records(self, skip: int) -> Iterator[Outgoing]:
        for number, record in enumerate(self._good.records(skip)):
            yield replace(record, key=b"other") if number == 0 else record


def test_people_go_by_pseudonyms() -> None:
    decisions = list(Backtest(engine_for(), TWO_VISITORS, Pseudonyms(SECRET)).decisions())
    assert decisions[0].event.session == pseudonym("a", SECRET)


def test_rankings_are_told_as_long_as_asked_for() -> None:
    engine = engine_for()
    engine.ranked = 3
    first = run(TWO_VISITORS, engine=engine)[0]
    assert len(first.ranked) == 3
    assert first.ranked[0] in {"mug-2", "mug-3", "pot-1"}
    assert "mug-1" not in first.ranked
    assert run(TWO_VISITORS)[0].ranked == ()


def test_the_same_log_gives_the_same_decisions() -> None:
    assert run(TWO_VISITORS) == run(TWO_VISITORS)


def test_costs_are_those_of_the_clocks() -> None:
    ticks = iter(range(10_000))
    backtest = Backtest(
        engine_for(), TWO_VISITORS, Pseudonyms(None), clock=lambda: float(next(ticks)), cpu_clock=lambda: 0.0
    )
    list(backtest.decisions())
    costs = backtest.costs
    assert len(costs.steps_s) == 4
    laps = {stage: len(laps) for stage, laps in costs.stages_s.items()}
    assert laps == dict.fromkeys(("state", "encode", "search", "rank", "decide"), 4) | {"reasons": 3}
    assert sum(costs.steps_s) == pytest.approx(sum(sum(laps) for laps in costs.stages_s.values()) + 2 * 4)
    assert costs.cpu_s == 0
