"""A price that falls and an item that is there again reach the visitors that saw it, from a record of `catalogue`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streaming import topics
from streaming.privacy import pseudonym
from streaming.records import EventRecord, Item, Prediction, SessionClosed
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess, metric
from tests.conftest import SECRET
from tests.stage import Stage, eventually, now_ms


def lamp(price: float, **fields: Any) -> Item:
    return Item(item_id="lamp", title="red desk lamp", price=price, currency="EUR", **fields)


IDLE_MS = 300_000
"""Ends a session; the story takes less, even where everything is slow."""
OTHERS = [Item(item_id=f"lamp{n}", title=f"desk lamp number {n}", price=9.0, currency="EUR") for n in range(12)]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Rules that hold nothing back but what was sent before."""
    rules = settings.rules.model_copy(update={"quiet_ms": 0, "trigger_cooldown_ms": 0, "min_gain": 0})
    return settings.model_copy(update={"rules": rules})


def views(stage: Stage, session: str, item: str) -> None:
    stage.send_events([EventRecord(kind="view", session_id=session, time=now_ms(), item_id=item)])


def told(stage: Stage, trigger: str) -> list[Prediction]:
    return [prediction for prediction in stage.predictions() if prediction.trigger == trigger]


def test_who_saw_it_hears_of_the_price_and_of_its_return_and_nobody_else(
    stage: Stage, settings: Settings, worker: Callable[..., WorkerProcess]
) -> None:
    stage.put_items([lamp(50.0), *OTHERS])
    rules = settings.rules.model_copy(update={"item_cooldown_ms": 0})
    process = worker(
        settings.model_copy(
            update={"rules": rules, "worker": settings.worker.model_copy(update={"session_idle_ms": IDLE_MS})}
        )
    )
    views(stage, "viewer", "lamp")
    views(stage, "other", "lamp3")
    eventually(stage.predictions, lambda found: len(found) == 2)

    stage.put_items([lamp(40.0)])
    (drop,) = eventually(lambda: told(stage, "price_drop"), lambda found: len(found) == 1)
    assert drop.session_id == pseudonym("viewer", SECRET)
    assert drop.items[0].item_id == "lamp"
    assert len(drop.items) > 1
    (reason,) = drop.items[0].reasons
    assert (reason.code, reason.old_price, reason.price) == ("price_drop", 50.0, 40.0)
    row = stage.raw(topics.CATALOGUE)[-1]
    assert drop.event_time == row.timestamp

    stage.put_items([lamp(40.0, stock=0), lamp(40.0, stock=7)])
    (back,) = eventually(lambda: told(stage, "back_in_stock"), lambda found: len(found) == 1)
    assert (back.session_id, back.items[0].item_id) == (drop.session_id, "lamp")
    stage.remove_items(["lamp"])
    stage.put_items([lamp(20.0), lamp(10.0)])
    (again,) = eventually(lambda: told(stage, "price_drop")[1:], lambda found: len(found) == 1)
    assert again.items[0].reasons[0].price == 10.0
    assert len(told(stage, "back_in_stock")) == 1  # said once

    page = process.page("/metrics")
    assert metric(page, "beforehand_predictions_total", {"trigger": "price_drop"}) == 2
    assert metric(page, "beforehand_catalogue_changes_total", {"trigger": "back_in_stock"}) == 2
    click = EventRecord(
        kind="click", session_id="viewer", time=now_ms(), item_id="lamp", prediction_id=drop.prediction_id
    )
    next_visit = EventRecord(kind="click", session_id="viewer", time=click.time + IDLE_MS, item_id="lamp3")
    stage.send_events([click, next_visit])
    (record,) = eventually(lambda: stage.read(topics.SESSIONS, SessionClosed), lambda found: len(found) == 1)
    assert record.session_id == drop.session_id
    became = {outcome.prediction_id: outcome for outcome in record.predictions}
    assert [outcome.trigger for outcome in record.predictions][:4] == [
        "cold_start",
        "price_drop",
        "back_in_stock",
        "price_drop",
    ]
    assert (became[drop.prediction_id].clicked, became[back.prediction_id].clicked) == (1, 0)
    assert record.became.click == 1


def test_a_price_that_fell_while_no_worker_was_there_is_told_by_the_next(
    stage: Stage, settings: Settings, worker: Callable[..., WorkerProcess]
) -> None:
    """No proof of anything on the local broker, where a worker is killed; a story all the same."""
    stage.put_items([lamp(50.0), *OTHERS])
    process = worker()
    views(stage, "viewer", "lamp")
    eventually(stage.predictions, lambda found: len(found) == 1)
    process.kill()
    stage.put_items([lamp(40.0)])
    worker()
    (drop,) = eventually(lambda: told(stage, "price_drop"), lambda found: len(found) == 1, 40)
    assert (drop.session_id, drop.items[0].item_id) == (pseudonym("viewer", SECRET), "lamp")
    assert drop.event_time == stage.raw(topics.CATALOGUE)[-1].timestamp
