"""The path from an event's bytes to a prediction's bytes, through a broker and a worker of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
from collections.abc import Callable

import pytest

from streaming import topics
from streaming.consumer import PredictionConsumer
from streaming.privacy import pseudonym
from streaming.producer import EventProducer
from streaming.records import EventRecord, Item, SessionClosed
from streaming.sessions import offset_digest
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess, environment, metric
from tests.conftest import SECRET
from tests.stage import Stage, eventually, now_ms

LAMPS = [Item(item_id=f"lamp{n}", title=f"red desk lamp {n}") for n in range(12)]
BOOTS = [Item(item_id=f"boot{n}", title=f"brown leather boots size {n}") for n in range(12)]


def test_an_event_becomes_a_prediction_with_a_reason(
    stage: Stage, settings: Settings, worker: Callable[..., WorkerProcess]
) -> None:
    stage.put_items([*LAMPS, *BOOTS])
    process = worker()
    with EventProducer(settings) as producer:
        producer.send(kind="view", session_id="visitor", item_id="lamp1", user_id="person")
    (prediction,) = eventually(stage.predictions, lambda found: len(found) == 1)
    assert prediction.session_id == pseudonym("visitor", SECRET)
    assert prediction.user_id == pseudonym("person", SECRET)
    assert prediction.trigger == "cold_start"
    assert prediction.expires_at > prediction.made_at >= prediction.event_time
    offered = [offer.item_id for offer in prediction.items]
    assert 0 < len(offered) == len(set(offered)) <= settings.triggers.offers
    assert offered[0].startswith("lamp")
    best = prediction.items[0].reasons[0]
    assert best.code == "near"
    assert best.items == ["lamp1"]
    assert "red desk lamp 1" in best.sentence
    scores = [offer.score for offer in prediction.items]
    assert scores == sorted(scores, reverse=True)

    with PredictionConsumer(settings, start="beginning", idle_s=2) as consumer:
        assert [p.prediction_id for p in consumer] == [prediction.prediction_id]

    page = process.page("/metrics")
    assert metric(page, "beforehand_events_total", {"topic": "browses"}) == 1
    assert metric(page, "beforehand_predictions_total", {"trigger": "cold_start"}) == 1
    assert pseudonym("visitor", SECRET) in process.states()["states"]
    assert "visitor" not in "".join(process.states()["states"])


def test_a_cart_left_alone_is_spoken_to_and_a_session_that_ends_is_closed(
    stage: Stage, settings: Settings, worker: Callable[..., WorkerProcess]
) -> None:
    """Time passes by the worker's own ticks."""
    stage.put_items([*LAMPS, *BOOTS])
    worker(
        settings.model_copy(
            update={
                "triggers": settings.triggers.model_copy(update={"cart_idle_ms": 1500}),
                "rules": settings.rules.model_copy(
                    update={"quiet_ms": 0, "trigger_cooldown_ms": 0, "item_cooldown_ms": 0, "min_gain": 0}
                ),
                "worker": settings.worker.model_copy(update={"session_idle_ms": 5000}),
            }
        )
    )
    now = now_ms()
    stage.send_events([EventRecord(kind="cart_add", session_id="visitor", time=now, item_id="boot1")])
    idle = eventually(
        lambda: [p for p in stage.predictions() if p.trigger == "cart_idle"], lambda found: len(found) > 0
    )
    assert idle[0].event_time >= now + 1500
    (closed,) = eventually(lambda: stage.read(topics.SESSIONS, SessionClosed), lambda found: len(found) == 1)
    (record,) = stage.raw(topics.CLICKS)
    assert closed.session_id == pseudonym("visitor", SECRET)
    assert closed.events == {"clicks": 1}
    assert closed.digest == offset_digest(0, record.partition, record.offset)
    assert (closed.first_time, closed.last_time) == (now, now)
    assert closed.sent == len(stage.predictions())


def test_without_consent_nothing_is_sent_and_it_is_said_why(stage: Stage, worker: Callable[..., WorkerProcess]) -> None:
    stage.put_items(LAMPS)
    worker()
    event = EventRecord(kind="view", session_id="visitor", time=now_ms(), item_id="lamp1", consent=False)
    stage.send_events([event])
    eventually(lambda: len(stage.raw(topics.SUPPRESSED)), lambda count: count == 1)
    assert stage.predictions() == []


def test_sessions_prints_what_the_changelog_has(
    stage: Stage, settings: Settings, worker: Callable[..., WorkerProcess]
) -> None:
    stage.put_items(LAMPS)
    worker()
    stage.send_events(
        [EventRecord(kind="view", session_id=f"v{n % 3}", time=now_ms(), item_id="lamp1") for n in range(9)]
    )

    def printed() -> dict[str, int]:
        done = subprocess.run(
            [sys.executable, "-m", "streaming", "sessions", "--json"],
            env=environment(settings),
            capture_output=True,
            text=True,
            check=True,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {row["session_id"]: sum(row["events"].values()) for row in rows}

    expected = {pseudonym(f"v{n}", SECRET): 3 for n in range(3)}
    assert eventually(printed, lambda found: found == expected) == expected


@pytest.mark.parametrize("back_end", ["local"], indirect=True)
def test_a_worker_refuses_to_start_without_a_secret(settings: Settings, worker: Callable[..., WorkerProcess]) -> None:
    process = worker(settings.model_copy(update={"secret": None}), ready=False)
    eventually(lambda: process.running, lambda running: not running, 30)
    assert "BEFOREHAND_SECRET" in process.tail()
    with pytest.raises((OSError, urllib.error.URLError)):
        process.page("/ready")
