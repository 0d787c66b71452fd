"""Under load a worker changes its model together with the adapter of its text encoder; a broken adapter is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest
from pydantic import SecretStr

from encoders.adapter import FILES
from index.model import ADAPTER, ModelFolder
from streaming import codec, topics
from streaming.backtest import Backtest
from streaming.engine import Engine
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.ranking import RankingSettings
from streaming.records import Control, EventRecord, Item, Prediction, Receipt
from streaming.replay import EventLog
from streaming.reranking import PARTS
from streaming.settings import EncoderSettings, Settings
from streaming.text_encoder import TextEncoders, text_encoder
from streaming.worker_process import WorkerProcess
from tests.conftest import SECRET
from tests.stage import Stage, eventually, now_ms
from tests.streaming.small_past import model_at, ranking_of
from tests.tiny_bert import tiny_adapter, tiny_bert

AHEAD_MS = 1500
"""How long before a switch takes effect it is ordered."""
WORDS = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("kettle", "mug")]
GOODS = pl.DataFrame({"item_id": [f"i{n}" for n in range(32)], "title": [f"{WORDS[n % 4]} {n}" for n in range(32)]})
LIVE = [Item(item_id="live", title="blue mug 33"), Item(item_id="later", title="red kettle 34")]
"""Items that no model knows: one is there before the switch, one comes after it."""
BY_TEXT = RankingSettings(**(dict.fromkeys(PARTS, 0.0) | {"text": 1.0}))  # type: ignore[arg-type]


class Searchers(Thread):
    """A new visitor every 10 ms looks for something; each is to be answered once."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage, self._enough, self.sent = stage, Event(), list[EventRecord]()

    def run(self) -> None:
        while not self._enough.wait(0.01):
            self.search(f"{WORDS[len(self.sent) % 4]} {len(self.sent) % 37}")

    def search(self, query: str) -> str:
        """One more visitor; returns the event's id."""
        name = f"v{len(self.sent)}"
        event = EventRecord(kind="search", session_id=name, time=now_ms(), query=query, event_id=name)
        self._stage.send_events([event])
        self.sent.append(event)
        return name

    def __enter__(self) -> Searchers:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()


def backtest(
    settings: Settings, model: Path, events: Iterable[EventRecord], items: list[Item]
) -> dict[str, Prediction]:
    """By id: what the engine says of these events by one model from the first to the last."""
    rows = [(each.kind, each.session_id, each.time, each.query, each.event_id) for each in events]
    log = pl.DataFrame(rows, ["kind", "session_id", "time", "query", "event_id"], orient="row")
    shop = Shop.open(model, TextEncoders(settings).of_folder(model))
    shop.upsert([*items_of(GOODS), *items])
    names = Pseudonyms(SECRET)
    run = Backtest(Engine(settings, shop, shop.encoder, names), EventLog("log", log), names, learn=False)
    found = [
        decision.prediction or (decision.suppressed and decision.suppressed.prediction) for decision in run.decisions()
    ]
    return {prediction.prediction_id: prediction for prediction in found if prediction}


def said(prediction: Prediction) -> list[str]:
    return [offer.item_id for offer in prediction.items]


def order(stage: Stage, name: str, model: Path, effective_at: int | None = None) -> Receipt:
    """A switch, and its receipt."""
    told = Control(control_id=name, action="switch_model", model=str(model), effective_at=effective_at)
    stage.send(topics.CONTROL, [(name.encode(), codec.encode(told))], headers=codec.HEADERS)
    found = eventually(
        lambda: [receipt for receipt in stage.read(topics.RECEIPTS, Receipt) if receipt.control_id == name],
        lambda receipts: len(receipts) == 1,
    )
    return found[0]


@pytest.mark.parametrize("back_end", ["local"], indirect=True)
def test_model_and_adapter_change_together_under_load(
    settings: Settings, worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    tiny = tiny_bert(tmp_path / "tiny")
    its = settings.model_copy(
        update={
            "secret": SecretStr(SECRET),
            "encoder": EncoderSettings(model=str(tiny), device="cpu", threads=1, cache_dir=tmp_path / "vectors"),
            "topics": settings.topics.model_copy(update={"partitions": 1}),
        }
    )
    models = []
    for seed in (1, 2):
        adapter = tiny_adapter(tmp_path / f"adapter-{seed}", tiny, seed)
        with text_encoder(its, adapter) as texts:
            made = model_at(
                tmp_path / f"model-{seed}", "i0 i1", items=GOODS, texts=texts, told=ranking_of(BY_TEXT), adapter=adapter
            )
        models.append(made)
    first, second = models
    versions = [ModelFolder.load(model).version for model in models]
    broken = Path(shutil.copytree(second, tmp_path / "broken"))
    (broken / ADAPTER / FILES[1]).write_bytes((broken / ADAPTER / FILES[1]).read_bytes()[:-20])
    its = its.model_copy(
        update={"worker": its.worker.model_copy(update={"model": first, "learn": False, "latency_budget_ms": 0})}
    )
    stage = Stage(its)
    try:
        stage.put_items([*items_of(GOODS), LIVE[0]])
        worker(its)
        with Searchers(stage) as visitors:
            eventually(lambda: len(stage.spoken()), lambda count: count > 50)
            there = order(stage, "there", second, at := now_ms() + AHEAD_MS)
            nowhere = order(stage, "nowhere", broken, now_ms() + AHEAD_MS)
            until = len(visitors.sent) + 100
            eventually(lambda: len(visitors.sent), lambda sent: sent > until)
        loaded = list(visitors.sent)
        spoken = eventually(stage.spoken, lambda found: len(found) == len(loaded))

        assert (there.done, there.time >= at) == (True, True)
        assert "with text encoder" in there.why
        assert (nowhere.done, f"{ADAPTER}/{FILES[1]}: damaged" in nowhere.why) == (False, True)
        in_turn = [codec.decode(row.value, Prediction).model for row in stage.raw(topics.PREDICTIONS)]
        assert [model for model, _ in groupby(in_turn)] == versions
        wanted = {
            version: backtest(its, model, loaded, LIVE[:1]) for version, model in zip(versions, models, strict=True)
        }
        for prediction_id, prediction in spoken.items():
            expected = wanted[str(prediction.model)][prediction_id]
            assert said(prediction) == said(expected)
            assert [offer.score for offer in prediction.items] == pytest.approx(
                [offer.score for offer in expected.items], abs=1e-4
            )
        by_first, by_second = (wanted[version] for version in versions)
        others = [name for name in by_first if said(by_first[name]) != said(by_second[name])]
        assert len(others) > 0.9 * len(loaded)  # so that which adapter spoke can be told

        stage.put_items(LIVE[1:])
        for name, model in ((None, second), ("back", first)):
            assert name is None or order(stage, name, model).done
            words = LIVE[1].title
            _answered_alike(stage, its, visitors, model, words)
    finally:
        stage.close()


def _answered_alike(stage: Stage, settings: Settings, visitors: Searchers, model: Path, words: str) -> None:
    """A search for the item that came live last, until the worker has it: by this model and its adapter."""

    def asked() -> tuple[list[str], list[str]]:
        name = visitors.search(words)
        (expected,) = backtest(settings, model, visitors.sent[-1:], LIVE).values()
        spoken = eventually(stage.spoken, lambda found: expected.prediction_id in found, what=name)
        return said(spoken[expected.prediction_id]), said(expected)

    found, expected = eventually(asked, lambda both: both[0] == both[1])
    assert found[0] == LIVE[1].item_id
    assert found == expected
