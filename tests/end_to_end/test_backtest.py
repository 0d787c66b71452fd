"""A backtest says what a worker says: the same log through both, on one partition, with nothing learned.

    BACKTEST_EVENTS=50000 python -m pytest tests/end_to_end/test_backtest.py

does it with more than the 2,000 events of every day.
"""

from __future__ import annotations

import json
import os
import random
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from index.model import MANIFEST
from streaming import codec, topics
from streaming.cli import application
from streaming.delivery import Delivery
from streaming.item_rows import items_of
from streaming.pace import Pace
from streaming.publisher import facts_of
from streaming.records import Prediction, SessionClosed, Suppressed
from streaming.replay import EventLog, Replay
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.worker_process import WorkerProcess, metric
from tests.conftest import SECRET
from tests.stage import Stage, eventually

EVENTS = int(os.environ.get("BACKTEST_EVENTS", "2000"))
R = TypeVar("R", bound=msgspec.Struct)
START = 1_600_000_000_000
SECOND = 1000
EVERY_PART = {
    "counts": 1.0,
    "neighbours": 0.5,
    "text": 0.05,
    "graph": 0.05,
    "behaviour": 0.05,
    "sequence": 0.05,
    "prior": 0.02,
}
PRECISION = 0.3
FAMILIES = ("kettle", "boots", "lamp", "saw", "chair", "drum")


def _shop(folder: Path) -> Path:
    """Visitors who stay within a family of items for a while and mostly go on to its next one, half of them on each
    topic, some of them for several visits; others come with each tenth of the log, so that a model has sessions to
    choose its weights on. No carts, for what falls due while events wait is a matter of chance on a broker."""
    draw = random.Random(7)
    last: Counter[int] = Counter()
    items = [f"{family}-{n}" for family in FAMILIES for n in range(15)]
    rows = []
    time = START
    for number in range(2 * EVENTS):
        time += draw.choice((1, 2, 5, 30)) * SECOND
        age, visitor = number // (EVENTS // 10), int(EVENTS // 20 * draw.random() ** 2)
        kind = "view" if visitor % 2 else draw.choice(("click", "click", "purchase"))
        family = (
            FAMILIES[(visitor + number // (EVENTS // 5)) % len(FAMILIES)]
            if draw.random() < 0.8
            else draw.choice(FAMILIES)
        )
        last[visitor] = last[visitor] + 1 if draw.random() < 0.7 else draw.randrange(15)
        item_id = f"{family}-{last[visitor] % 15}"
        event_id = f"e{number}" if number % 3 else None
        rows.append((kind, f"visitor-{age}-{visitor}", time, item_id, f"user-{visitor % 40}", event_id))
    folder.mkdir()
    columns = ["kind", "session_id", "time", "item_id", "user_id", "event_id"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(folder / "events.parquet")
    table = {
        "item_id": items,
        "title": [f"{item.split('-')[0]} number{item.split('-')[1]} {item.split('-')[0]}" for item in items],
        "brand": [f"brand{n % 7}" for n in range(len(items))],
        "price": [1.0 + n for n in range(len(items))],
    }
    pl.DataFrame(table).write_parquet(folder / "items.parquet")
    facts = {"head": items, "relation": ["brand"] * len(items), "tail": [f"brand{n % 7}" for n in range(len(items))]}
    pl.DataFrame(facts).write_parquet(folder / "facts.parquet")
    return folder


@pytest.mark.timeout(300 + EVENTS // 20)
@pytest.mark.parametrize("back_end", ["local"], indirect=True)
def test_a_backtest_says_what_a_worker_says(
    settings: Settings,
    tmp_path: Path,
    worker: Callable[..., WorkerProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = ShopFolder(_shop(tmp_path / "shop"))
    events = shop.table("events")[0]
    begins = int(events["time"][EVENTS])
    monkeypatch.setenv("BEFOREHAND_SECRET", SECRET)
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    monkeypatch.setattr("streaming.forest_choice.LEAST", 40)  # of 2,000 events a tenth is left to grow a forest on
    monkeypatch.setattr("index.logistic_fitting.LEAST", 5)  # and a gate, and heads of intent, to be fitted on
    _run("train", tmp_path / "shop", tmp_path / "model", "--until", begins, "--graph", "svd")
    assert {"forest.safetensors", "sequence.safetensors"} <= {path.name for path in (tmp_path / "model").iterdir()}
    _weigh(tmp_path / "model" / MANIFEST)
    _run("backtest", tmp_path / "shop", tmp_path / "model", "--frozen", "--out", tmp_path / "unasked")
    half = statistics.median(
        prediction.chance
        for prediction in _read(tmp_path / "unasked" / "predictions.jsonl", Prediction)
        if prediction.chance is not None
    )
    _promise(tmp_path / "model" / MANIFEST, half)
    monkeypatch.setenv("BEFOREHAND_RULES__MIN_PRECISION", str(PRECISION))

    its = settings.model_copy(
        update={
            "topics": settings.topics.model_copy(update={"partitions": 1}),
            "rules": settings.rules.model_copy(update={"min_precision": PRECISION}),
            "worker": settings.worker.model_copy(
                update={"model": tmp_path / "model", "learn": False, "clock": "record"}
            ),
        }
    )
    sent, held, closed = _by_a_worker(its, shop, events.slice(EVENTS), worker)

    for out in ("out", "again"):
        _run("backtest", tmp_path / "shop", tmp_path / "model", "--frozen", "--out", tmp_path / out)
    for name in ("predictions.jsonl", "suppressed.jsonl", "sessions.jsonl", "quality.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()

    predictions = _read(tmp_path / "out" / "predictions.jsonl", Prediction)
    assert len(predictions) > EVENTS / 5
    assert len({prediction.trigger for prediction in predictions}) >= 2
    assert {(prediction.level, prediction.calibrated) for prediction in predictions} == {("full", True)}
    offers = [offer for prediction in predictions for offer in prediction.items]
    codes = {reason.code for offer in offers for reason in offer.reasons}
    assert codes >= {"near", "together", "neighbours", "path", "popular"}
    _same(sent, predictions)
    suppressed = _read(tmp_path / "out" / "suppressed.jsonl", Suppressed)
    assert {row.prediction.prediction_id: row.rule for row in held} == {
        row.prediction.prediction_id: row.rule for row in suppressed
    }
    _same([row.prediction for row in held], [row.prediction for row in suppressed])
    unsure = [row for row in suppressed if row.rule == "unsure"]
    assert len(unsure) > EVENTS / 50
    assert all(row.prediction.chance is not None and row.prediction.chance < half for row in unsure)
    assert all(each.chance is not None and each.chance >= half for each in predictions if each.items)
    ended = {(record.session_id, record.first_time): record for record in closed}
    ours = {(row.session_id, row.first_time): row for row in _read(tmp_path / "out" / "sessions.jsonl", SessionClosed)}
    both = ended.keys() & ours.keys()  # the worker's clock stops with the log, at another place
    assert len(both) > 50
    assert {visit: ended[visit] for visit in both} == {visit: ours[visit] for visit in both}


def _weigh(manifest: Path) -> None:
    """Gives every part of the ranking a say, whatever weights the build chose."""
    told = json.loads(manifest.read_bytes())
    told["settings"]["ranking"] |= EVERY_PART
    manifest.write_text(json.dumps(told))


def _promise(manifest: Path, chance: float) -> None:
    """Has the gate keep the precision that is asked for from this chance on."""
    told = json.loads(manifest.read_bytes())
    told["settings"]["gate"]["thresholds"] = [{"precision": PRECISION, "probability": chance, "coverage": 0.5}]
    manifest.write_text(json.dumps(told))


def _run(*arguments: object) -> None:
    words = [str(word) for word in arguments]
    assert CliRunner().invoke(application(words), words, catch_exceptions=False).exit_code == 0


def _by_a_worker(
    settings: Settings, shop: ShopFolder, events: pl.DataFrame, worker: Callable[..., WorkerProcess]
) -> tuple[list[Prediction], list[Suppressed], list[SessionClosed]]:
    stage = Stage(settings)
    try:
        stage.put_items(list(items_of(shop.table("items")[0])))
        known = [(facts.head.encode(), codec.encode(facts)) for facts in facts_of(shop.table("facts")[0])]
        stage.send(topics.KNOWLEDGE, known, headers=codec.HEADERS)
        process = worker(settings)
        delivery = Delivery(settings)
        Replay(EventLog("shop", events), delivery, settings.topics, Pace()).run()
        delivery.close()
        eventually(
            lambda: sum(
                metric(process.page("/metrics"), "beforehand_events_total", {"topic": topic.name})
                for topic in (topics.CLICKS, topics.BROWSES)
            ),
            lambda seen: seen >= len(events),
            120 + EVENTS / 50,
        )
        assert process.stop() == 0
        return (
            stage.predictions(),
            stage.read(topics.SUPPRESSED, Suppressed),
            stage.read(topics.SESSIONS, SessionClosed),
        )
    finally:
        stage.close()


def _same(theirs: list[Prediction], ours: list[Prediction]) -> None:
    """Equal ids, triggers, item order and reasons; scores to 1e-4."""
    expected = {prediction.prediction_id: prediction for prediction in theirs}
    found = {prediction.prediction_id: prediction for prediction in ours}
    assert found.keys() == expected.keys()
    for name, prediction in found.items():
        other = expected[name]
        assert _said(prediction) == _said(other)
        assert [offer.score for offer in prediction.items] == pytest.approx(
            [offer.score for offer in other.items], abs=1e-4
        )
        assert _chances(prediction) == pytest.approx(_chances(other), abs=1e-4)


def _chances(prediction: Prediction) -> list[float | None]:
    intent = prediction.intent
    return [prediction.chance, *((intent.purchase, intent.leaving) if intent is not None else ())]


def _said(prediction: Prediction) -> object:
    return (
        prediction.session_id,
        prediction.user_id,
        prediction.trigger,
        [(offer.item_id, offer.reasons) for offer in prediction.items],
        prediction.level,
        prediction.calibrated,
        prediction.intent is not None and prediction.intent.leaving is not None,
        prediction.model,
        prediction.arm,
        prediction.event_time,
        prediction.expires_at,
        prediction.supersedes,
        prediction.cancels,
    )


def _read(path: Path, kind: type[R]) -> list[R]:
    return [msgspec.json.decode(line, type=kind) for line in path.read_bytes().splitlines()]
