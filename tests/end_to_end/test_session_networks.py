"""A worker serves each session encoder that a model may bring, as the engine does without a broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from index.model import MANIFEST, ModelFolder
from streaming.cli import application
from streaming.item_rows import items_of
from streaming.records import EventRecord
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess
from tests.stage import Stage, eventually
from tests.tiny_bert import WORDS, tiny_bert

START = 1_600_000_000_000
MINUTE = 60_000
ITEMS = [f"i{n}" for n in range(40)]
TITLES = [f"{WORDS[n % 4]} {n}" for n in range(40)]
PARTS = {"counts": 0.1, "neighbours": 0.0, "text": 0.0, "graph": 0.0, "behaviour": 0.0, "sequence": 1.0, "prior": 0.01}


def _shop(folder: Path) -> Path:
    """Each item is mostly followed by the next one."""
    source = np.random.default_rng(7)
    rows = []
    for number in range(300):
        at = int(source.integers(40))
        for place in range(5):
            rows.append((f"s{number}", START + number * 90 * MINUTE + place * MINUTE, ITEMS[at], "view"))
            at = (at + 1) % 40 if source.random() < 0.9 else int(source.integers(40))
    folder.mkdir()
    pl.DataFrame(rows, schema=["session_id", "time", "item_id", "kind"], orient="row").write_csv(folder / "events.csv")
    pl.DataFrame({"item_id": ITEMS, "title": TITLES}).write_csv(folder / "items.csv")
    return folder


def _run(*arguments: object) -> str:
    told = [str(argument) for argument in arguments]
    result = CliRunner().invoke(application(told), told)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.mark.parametrize("back_end", ["local"], indirect=True)
@pytest.mark.parametrize("network", ["pooled", "gru", "bert", "text"])
def test_a_worker_serves_it_and_says_what_a_backtest_says(
    network: str,
    stage: Stage,
    settings: Settings,
    tmp_path: Path,
    worker: Callable[..., WorkerProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, model = _shop(tmp_path / "shop"), tmp_path / "model"
    texts = {"model": str(tiny_bert(tmp_path / "tiny")), "cache_dir": tmp_path / "vectors", "device": "cpu"}
    for name, value in texts.items():
        monkeypatch.setenv(f"BEFOREHAND_ENCODER__{name.upper()}", str(value))
    how = ["build"] if network == "pooled" else ["train", "--network", network]
    version = json.loads(_run(*how, shop, model, "--graph", "none", "--json"))["version"]
    told = json.loads((model / MANIFEST).read_bytes())
    told["settings"]["ranking"] |= PARTS
    (model / MANIFEST).write_text(json.dumps(told))
    served = ModelFolder.load(model)
    sequence = served.tables.sequence
    assert (None if sequence is None else sequence.weights.kind) == (None if network == "pooled" else network)
    assert version != served.version  # its weights were changed

    monkeypatch.setenv("BEFOREHAND_NO_PSEUDONYMS", "true")
    seen = [("visitor", place, item) for place, item in enumerate(("i3", "i4", "i5", "i6"))]
    seen += [("other", place, item) for place, item in enumerate(("i20", "i21", "i22"))]
    events = [
        EventRecord(kind="view", session_id=who, time=START + 10**11 + place * MINUTE, item_id=item)
        for who, place, item in seen
    ]
    its = settings.model_copy(
        update={
            "no_pseudonyms": True,
            "encoder": settings.encoder.model_copy(update=texts),
            "topics": settings.topics.model_copy(update={"partitions": 1}),
            "worker": settings.worker.model_copy(update={"model": model, "learn": False, "clock": "record"}),
        }
    )
    stage.put_items(list(items_of(served.items)))
    process = worker(its)
    stage.send_events(events)
    spoken = eventually(stage.spoken, lambda found: len({each.session_id for each in found.values()}) == 2, 60)
    sent = sorted(spoken.values(), key=lambda each: (each.session_id, each.event_time))
    assert {each.model for each in sent} == {served.version}
    assert {each.level for each in sent} == {"full"}
    assert process.stop() == 0

    log = tmp_path / "log"
    log.mkdir()
    rows = [(event.session_id, event.time, event.item_id, event.kind) for event in events]
    pl.DataFrame(rows, schema=["session_id", "time", "item_id", "kind"], orient="row").write_csv(log / "events.csv")
    (log / "items.csv").write_bytes((shop / "items.csv").read_bytes())
    _run("backtest", log, model, "--frozen", "--out", tmp_path / "out")
    ours = [
        json.loads(line)
        for name in ("predictions.jsonl", "suppressed.jsonl")
        for line in (tmp_path / "out" / name).read_text().splitlines()
    ]
    plain = {(row := each.get("prediction", each))["session_id"] + str(row["event_time"]): row for each in ours}
    for prediction in sent:
        row = plain[prediction.session_id + str(prediction.event_time)]
        assert [offer.item_id for offer in prediction.items] == [offer["item_id"] for offer in row["items"]]
        assert [offer.score for offer in prediction.items] == pytest.approx(
            [offer["score"] for offer in row["items"]], abs=1e-4
        )
