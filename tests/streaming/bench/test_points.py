"""Answers find their events, what does not is told, and latencies count from when events were due."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat

import numpy as np
import pytest
from kafka.errors import KafkaError

from streaming import codec, topics
from streaming.bench.costs import OTHER, STAGES, StageCosts
from streaming.bench.driver import TICK_S, Flight, _unconfirmed, _wait, _worked_off
from streaming.bench.load import Load, generated, searches
from streaming.bench.points import Point, Sample, Work, of_product, of_reference
from streaming.bench.report import ECHO, STOCK, Reference, Report, Size, highest
from streaming.bench.scaling import over_one
from streaming.decisions import prediction_id
from streaming.intake import Event, Source
from streaming.records import EventRecord, IndexVersion, Item, Level, Prediction, Suppressed

VISITS = [(n, f"i{n}") for n in range(4)]


def _flight(due: list[float]) -> Flight:
    load = Load.of("run-1", np.array(due), generated(VISITS))
    return Flight(load, began=100.0)


def _answer(number: int, level: Level = "full") -> Prediction:
    event = Event(Source(0, 3, 9, 7), "p", None, "click", 5, event_id=f"run-1-{number}")
    return Prediction(
        prediction_id=prediction_id(event, "next_item", 5),
        session_id="p",
        trigger="next_item",
        items=[],
        calibrated=False,
        model="m",
        index=IndexVersion("s"),
        level=level,
        arm="treatment",
        event_time=5,
        made_at=6,
        expires_at=7,
    )


def _heard(at: float, answer: Prediction) -> tuple[float, str, bytes]:
    return at, topics.PREDICTIONS.name, codec.encode(answer)


def test_events_are_what_a_worker_takes() -> None:
    load = Load.of("run-1", np.array([0.0, 0.5, 1.0, 1.5]), generated(VISITS))
    records = [codec.decode(row.value, EventRecord) for row in load.rows]
    assert [record.event_id for record in records] == ["run-1-0", "run-1-1", "run-1-2", "run-1-3"]
    assert [row.key.decode() for row in load.rows] == [record.session_id for record in records]
    assert [record.time - records[0].time for record in records] == [0, 500, 1000, 1500]
    assert {row.topic for row in load.rows} == {"clicks", "browses"}


def test_searches_use_no_words_twice() -> None:
    visits = list(searches(generated([(1, "i1"), (2, "i1")]), [Item(item_id="i1", title="red kettle")]))
    assert visits == [("visitor-1", "search", "red kettle 0"), ("visitor-2", "search", "red kettle 1")]
    load = Load.of("run-1", np.array([0.0]), iter(visits))
    assert codec.decode(load.rows[0].value, EventRecord).query == "red kettle 0"


def test_latencies_count_from_when_events_were_due_and_not_before_the_warm_up() -> None:
    flight = _flight([0.0, 1.0, 2.0, 3.0])
    held = Suppressed(prediction=_answer(3), rule="holdout", detail="")
    flight.heard = [
        _heard(100.5, _answer(0)),
        _heard(102.010, _answer(2, "graph")),
        (103.5, topics.SUPPRESSED.name, codec.encode(held)),
        _heard(101.9, _answer(1)),
    ]
    point = of_product(flight, 1.0, warm_s=1.0)
    assert (point.unmatched, point.repeats, point.strangers) == (0, 0, 0)
    assert point.latency.count == 3
    assert point.latency.ms(1) == pytest.approx(10, rel=0.01)
    assert point.latency.ms(99.9) == pytest.approx(900, rel=0.01)  # sent late or not: due at 1.0, heard at 1.9
    assert point.levels == {"full": 3, "graph": 1}
    assert point.below_full_until_s == pytest.approx(2.01)
    assert point.as_json()["below_full_until_s"] == 2.0
    assert point.held == {"holdout": 1}
    assert point.events_per_s == pytest.approx(4 / 3.5)


def test_an_event_without_an_answer_a_repeat_and_a_stranger_are_told() -> None:
    flight = _flight([0.0, 1.0, 2.0, 3.0])
    flight.heard = [
        _heard(100.5, _answer(0)),
        _heard(100.6, _answer(0)),
        _heard(101.5, _answer(7)),
        _heard(101.5, _answer(1)),
    ]
    point = of_product(flight, 1.0, warm_s=0)
    assert (point.unmatched, point.repeats, point.strangers) == (2, 1, 1)
    assert point.latency.ms(1) == pytest.approx(500, rel=0.01)  # the first of the two
    assert Report(1, 1, 0, 1, 1, sizes=[Size(1, point)]).faults() == {"unmatched": 2, "strangers": 1}


def test_where_predictions_are_held_back_what_is_left_is_what_was_not_decided_on() -> None:
    flight = _flight([0.0, 1.0, 2.0, 3.0])
    flight.heard = [_heard(100.5, _answer(0))]
    for left, unanswered in ((0, 3), (2, 1)):
        flight.left = left
        point = of_product(flight, 1.0, warm_s=0)
        assert (point.unmatched, point.unanswered, point.as_json()["unanswered"]) == (left, unanswered, unanswered)


def test_events_that_were_decided_are_told_from_ticks_that_were_due() -> None:
    costs = StageCosts()
    costs.predictions.labels("next_item", "full").inc(3)
    costs.predictions.labels("cart_idle", "full").inc(10)
    costs.suppressed.labels("quiet", "next_item", "popular").inc(4)
    costs.suppressed.labels("quiet", "cart_idle", "popular").inc(10)
    costs.silent.labels("unchanged").inc(5)
    costs.silent.labels("not_due").inc(10)
    assert Sample.of(costs.page().decode()).decided == 12


def test_what_is_left_is_waited_for_as_long_as_it_becomes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.bench.driver.DRAIN_S", 0.05)
    monkeypatch.setattr("streaming.bench.driver.ASK_S", 0)
    told = iter([9, 9, 4, 4, 4, 0])

    async def left() -> int:
        await asyncio.sleep(0.001)
        return next(told)

    assert asyncio.run(_worked_off(left)) == 0
    told = chain([9], repeat(4))
    assert asyncio.run(_worked_off(left)) == 4


def test_a_record_leaves_when_it_is_due_and_in_a_crowd_with_the_others_of_its_millisecond() -> None:
    alone = np.array([0.0, 0.0005, 0.01, 0.02, 0.03, 0.04])
    assert [round(_wait(alone, 1, now), 4) for now in (0.0, 0.0004, 0.0005, 0.5)] == [0.0005, 0.0001, 0, 0]
    crowd = np.linspace(0.0102, 0.0108, 7)
    assert _wait(crowd, 0, 0.01) == TICK_S
    assert [_wait(crowd, number, 0.01 + TICK_S) for number in range(7)] == [0] * 7
    assert _wait(crowd, 0, 0.0) == pytest.approx(0.0102)


def test_what_was_confirmed_is_let_go_and_what_was_refused_is_told() -> None:
    async def looked() -> None:
        done, waits, refused = (asyncio.get_running_loop().create_future() for _ in range(3))
        done.set_result(None)
        assert _unconfirmed([done, waits]) == [waits]
        refused.set_exception(KafkaError("no"))
        with pytest.raises(KafkaError):
            _unconfirmed([waits, refused])

    asyncio.run(looked())


def test_a_reference_is_matched_by_its_bytes() -> None:
    flight = _flight([0.0, 1.0, 2.0, 3.0])
    flight.heard = [(100.0 + n + 0.02, "out", flight.load.rows[n].value) for n in range(3)] + [(101.0, "out", b"x")]
    point = of_reference(flight, 1.0, warm_s=0)
    assert (point.unmatched, point.strangers) == (1, 1)
    assert point.latency.ms(50) == pytest.approx(20, rel=0.01)


def _point(rate: float, p99_ms: float, *, unmatched: int = 0) -> Point:
    flight = _flight([0.0, 0.0, 0.0, 0.0])
    flight.heard = [_heard(100 + p99_ms / 1000, _answer(n)) for n in range(4 - unmatched)]
    return of_product(flight, rate, warm_s=0)


def test_the_highest_rate_is_that_held_with_all_answered() -> None:
    points = [_point(250, 5), _point(500, 49), _point(1000, 51), _point(750, 20, unmatched=1)]
    assert highest(points) == 500
    assert highest([_point(250, 80)]) is None


def test_ratios_are_those_to_the_references_of_the_run() -> None:
    size = Size(10, _point(100, 15), peak=_point(float("inf"), 2000))
    stock = Reference(STOCK, _point(100, 7), peak=_point(float("inf"), 1000))
    report = Report(100, 1, 0, 1, 1, sizes=[size], references=[Reference(ECHO, _point(100, 5)), stock])
    assert report.ratios() == {
        "p90_over_echo": pytest.approx(3, rel=0.01),
        "peak_over_stock_faust": pytest.approx(0.5, rel=0.01),
    }
    assert report.as_json()["sizes"][0]["rate_per_s"] == 100
    assert report.as_json()["sizes"][0]["peak"]["rate_per_s"] is None
    assert report.plot().startswith(b"\x89PNG")


def test_stages_and_the_rest_add_up_to_what_the_process_took() -> None:
    costs = StageCosts()
    with costs.stage("intake"):
        sum(range(2_000_000))
    with costs.stage("outputs"):  # waits: the thread's clock is not its own
        sum(range(2_000_000))
    for stage in ("state", "encode", "decide", "reasons", "decide", None):
        costs.mark(stage)
        sum(range(1_000_000))
    costs.events.labels("clicks").inc(10)
    costs.events.labels("ticks").inc(99)
    spent = {stage: child._value.get() for stage, child in costs._cpu.items()}
    assert spent["decode"] > 0.005
    assert spent["trigger"] > 1.5 * spent["reasons"] > 0.003
    assert spent["search"] == spent["rank"] == spent["encode_out"] == 0
    after = Sample.of(costs.page().decode())
    assert after.events == 10
    assert after.decided == 0
    assert after.stages_s == pytest.approx(spent)
    before = Sample(0, 0, after.cpu_s - 1.0, 5.0, 7, 3, dict.fromkeys(STAGES, 0.0), 0)
    told = Work([before, after]).as_json()
    assert told["cpu_us_per_event"] == pytest.approx(100_000, rel=1e-3)
    assert sum(told["stages_us_per_event"].values()) == pytest.approx(100_000, rel=1e-3)
    assert told["stages_us_per_event"][OTHER] == pytest.approx(1e5 * (1 - sum(spent.values())), rel=0.01)
    assert (told["queue_events_max"], told["lag_records_max"]) == (7, 3)


def test_samples_of_several_workers_add_up() -> None:
    """The busiest decides when all is done; the broker is in none of it."""
    idle = [
        Sample(100.0, 90.0, 1.0, 50.0, 1.0, 2.0, {"rank": 0.1}, 5.0),
        Sample(0.0, 0.0, 2.0, 60.0, 3.0, 4.0, {"rank": 0.2}, 6.0),
    ]
    assert Sample.all(idle) == Sample(100.0, 90.0, 3.0, 110.0, 4.0, 6.0, {"rank": pytest.approx(0.3)}, 11.0)
    ends = [
        Sample(700.0, 700.0, 1.9, 50.0, 0, 0, {"rank": 0.1}, 9.0),
        Sample(400.0, 400.0, 2.5, 60.0, 0, 0, {"rank": 0.2}, 9.0),
    ]
    told = over_one((1200.0, 800.0), idle, ends, 1000.0)
    assert told == {
        "workers": 2,
        "events_of_each": [600, 400],
        "cpu_us_per_event_of_one": 1200.0,
        "cpu_us_per_event_of_all": 1400.0,
        "by_busiest_cpu": 1.33,
        "by_cpu_evenly_shared": 1.71,
        "by_events_per_s": 1.25,
    }
