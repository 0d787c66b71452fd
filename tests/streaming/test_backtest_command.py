"""`beforehand backtest` as people run it, on a small shop whose visitors go from tea to mug to jam."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from index.errors import ModelFolderError
from streaming.cli import application, main
from streaming.privacy import pseudonym
from tests.conftest import SECRET
from tests.tiny_bert import tiny_adapter, tiny_bert

START = 1_600_000_000_000
MINUTE = 60_000
WAY = ("tea", "mug", "jam", "pan")
EVERY = 3 * MINUTE
BEGINS = START + 40 * EVERY


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    monkeypatch.delenv("BEFOREHAND_SECRET", raising=False)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """60 visitors, three minutes apart, who all go the same way; and a catalogue with things that nobody wants."""
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = [(f"s{n}", START + n * EVERY + place * 1000, item) for n in range(60) for place, item in enumerate(WAY)]
    rows.sort(key=lambda row: row[1])
    events = pl.DataFrame(rows, schema=["session_id", "time", "item_id"], orient="row")
    events.with_columns(kind=pl.lit("view")).write_parquet(folder / "events.parquet")
    items = [*WAY, *(f"odd-{n}" for n in range(36))]
    pl.DataFrame({"item_id": items, "title": [f"thing {item}" for item in items]}).write_parquet(
        folder / "items.parquet"
    )
    pl.DataFrame({"head": ["tea"], "relation": ["brand"], "tail": ["Leaf"]}).write_parquet(folder / "facts.parquet")
    return folder


@pytest.fixture
def model(shop: Path, tmp_path: Path) -> Path:
    """Built on the first 40 visitors."""
    folder = tmp_path / "model"
    words = ["build", str(shop), str(folder), "--until", str(BEGINS)]
    assert CliRunner().invoke(application(words), words, catch_exceptions=False).exit_code == 0
    return folder


def backtest(*arguments: object) -> Result:
    words = ["backtest", *map(str, arguments)]
    return CliRunner().invoke(application(words), words, catch_exceptions=False)


def told(*arguments: object) -> dict[str, Any]:
    return dict(json.loads(backtest(*arguments, "--json").stdout))


def test_it_begins_where_the_models_past_ends_and_measures_the_rest(shop: Path, model: Path) -> None:
    found = told(shop, model)
    assert (found["events"], found["sessions"], found["seen_by_model"], found["items"]) == (80, 20, 0, 40)
    assert found["first_time"] == BEGINS
    ranked = found["rankings"]
    assert ranked["n"] == 60  # each visitor's last item is followed by none
    assert ranked["metrics"]["hr_10"] == 1
    assert ranked["metrics"]["mrr_10"] > 0.9 > ranked["popularity"]["mrr_10"]
    assert found["sent"]["predictions"] >= 20
    assert found["sent"]["by_trigger"]["cold_start"]["hit_rate"] == 1
    assert found["silent"] | found["suppressed"]
    assert found["cpu_us_per_event"] > 0
    assert set(found["stages"]) == {"state", "encode", "search", "rank", "decide", "reasons"}
    assert found["p50_ms"] <= found["p99_ms"]
    assert {"versions", "machine"} <= found.keys()


def test_twice_the_same_log_gives_the_same_bytes(shop: Path, model: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert backtest(shop, model, "--out", tmp_path / name).exit_code == 0
    written = {path.name for path in (tmp_path / "first").iterdir()}
    assert written == {"predictions.jsonl", "suppressed.jsonl", "sessions.jsonl", "quality.json", "timings.json"}
    for name in written - {"timings.json"}:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    lines = (tmp_path / "first" / "predictions.jsonl").read_text().splitlines()
    quality = json.loads((tmp_path / "first" / "quality.json").read_text())
    assert len(lines) == quality["sent"]["predictions"] + quality["sent"]["withdrawals"]
    first = json.loads(lines[0])
    assert (first["session_id"], first["trigger"], first["made_at"]) == ("s40", "cold_start", BEGINS)


def test_a_window_and_a_number_of_events(shop: Path, model: Path) -> None:
    until = BEGINS + 10 * EVERY
    assert told(shop, model, "--from", BEGINS + 5 * EVERY, "--until", until)["events"] == 20
    assert told(shop, model, "--events", 7)["events"] == 7


def test_a_model_that_saw_the_log_is_told(shop: Path, model: Path) -> None:
    assert told(shop, model, "--from", START)["seen_by_model"] == 160
    assert "warning: the model was built on 160 of these 240 events" in backtest(shop, model, "--from", START).stdout


def test_frozen_learns_nothing(shop: Path, model: Path, tmp_path: Path) -> None:
    events = pl.read_parquet(shop / "events.parquet")
    (tmp_path / "new").mkdir()
    turned = events.filter(pl.col("time") >= BEGINS).with_columns(
        item_id=pl.lit("odd-") + pl.col("item_id").rank("dense").cast(pl.String)
    )
    pl.concat([events.filter(pl.col("time") < BEGINS), turned]).write_parquet(tmp_path / "new" / "events.parquet")
    pl.read_parquet(shop / "items.parquet").write_parquet(tmp_path / "new" / "items.parquet")
    learned, frozen = (
        told(tmp_path / "new", model, *option)["rankings"]["metrics"]["mrr_10"] for option in ([], ["--frozen"])
    )
    assert learned > frozen + 0.3  # everybody's way is another now, and only one of them hears of it


def test_with_a_secret_people_go_by_its_pseudonyms(
    shop: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFOREHAND_SECRET", SECRET)
    backtest(shop, model, "--out", tmp_path / "out")
    first = json.loads((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[0])
    assert first["session_id"] == pseudonym("s40", SECRET)


def test_the_shop_says_when_a_session_ends(shop: Path, model: Path) -> None:
    (shop / "shop.toml").write_text("session_idle_ms = 0\n")
    assert told(shop, model)["silent"].get("closed", 0) == 0
    (shop / "shop.toml").write_text("session_idle_ms = 60000\n")
    assert told(shop, model)["silent"]["closed"] > 10


def test_a_page_shows_the_same_figures(shop: Path, model: Path, tmp_path: Path) -> None:
    backtest(shop, model, "--html", tmp_path / "pages" / "report.html")
    page = (tmp_path / "pages" / "report.html").read_text()
    assert "<title>Backtest of shop</title>" in page
    assert "HR@10" in page
    assert "cold_start" in page
    assert page.count("<svg") >= 6
    for drawing in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + drawing.split("</svg>")[0] + "</svg>")
    assert "src=" not in page


def test_the_table_is_for_people(shop: Path, model: Path) -> None:
    shown = backtest(shop, model).stdout
    assert "80 events of 20 sessions" in shown.replace("\n", " ")
    for word in ("HR@10", "popularity", "NDCG@20", "coverage@20", "silent:", "whole step", "p99"):
        assert word in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "2031-01-01"], "none of its 240 events lies in the time"),
        (["--from", "noon"], "expected a time"),
    ],
)
def test_what_cannot_be_run_ends_with_2(
    shop: Path, model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backtest", str(shop), str(model), *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_time_zone_that_is_none_is_refused(shop: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop.toml").write_text('time_zone = "Mars/Olympus"\n')
    with pytest.raises(SystemExit) as ended:
        main(["backtest", str(shop), str(model)])
    assert ended.value.code == 2
    assert "'Mars/Olympus' is not known here, expected an IANA name" in capsys.readouterr().err


def test_a_model_brings_its_adapter_along(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_bert(tmp_path / "tiny")
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", str(tiny))
    monkeypatch.setenv("BEFOREHAND_ENCODER__DEVICE", "cpu")
    monkeypatch.setenv("BEFOREHAND_ENCODER__ADAPTER", str(tiny_adapter(tmp_path / "adapter", tiny)))
    words = ["build", str(shop), str(tmp_path / "tuned"), "--until", str(BEGINS)]
    assert CliRunner().invoke(application(words), words, catch_exceptions=False).exit_code == 0
    by_name = told(shop, tmp_path / "tuned")
    monkeypatch.delenv("BEFOREHAND_ENCODER__ADAPTER")
    shutil.rmtree(tmp_path / "adapter")
    found = told(shop, tmp_path / "tuned")
    assert found["model"] == by_name["model"]
    assert found["rankings"] == by_name["rankings"]
    shutil.rmtree(tmp_path / "tuned" / "adapter")
    with pytest.raises(ModelFolderError, match="adapter/adapter_config.json: missing"):
        backtest(shop, tmp_path / "tuned")
