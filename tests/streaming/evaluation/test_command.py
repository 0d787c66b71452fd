"""`beforehand build` and `beforehand evaluate` as people run them, on a shop whose visitors walk in rings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from streaming.cli import application, main
from streaming.errors import InputError
from streaming.evaluation import shelf
from streaming.evaluation.log import DAY_MS
from tests.streaming.evaluation.logs import START
from tests.streaming.evaluation.past_rankers import SMALL

VISITORS = 120
TITLES = [
    f"{colour} {thing}" for colour in ("red", "green", "blue", "white") for thing in ("cup", "pan", "rug", "lamp")
]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    monkeypatch.setenv("BEFOREHAND_EVALUATION__CACHE_DIR", str(tmp_path / "networks"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Each visitor walks four things of one colour, in order, from anywhere; an hour lies between two visitors."""
    chance = np.random.default_rng(7)
    rows = []
    for number in range(VISITORS):
        colour, begin = chance.integers(4), chance.integers(4)
        rows += [
            (f"s{number}", START + number * DAY_MS // 24 + place * 1000, f"i{colour * 4 + (begin + place) % 4}")
            for place in range(4)
        ]
    folder = tmp_path / "shop"
    folder.mkdir()
    events = pl.DataFrame(rows, schema=["session_id", "time", "item_id"], orient="row")
    events.with_columns(kind=pl.lit("view"), user_id="session_id").write_parquet(folder / "events.parquet")
    items = pl.DataFrame({"item_id": [f"i{n}" for n in range(16)], "title": TITLES})
    items.with_columns(brand=pl.lit(None, pl.String), category=pl.lit("Home")).write_parquet(folder / "items.parquet")
    return folder


@pytest.fixture
def model(shop: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    run("build", shop, folder)
    return folder


def run(*arguments: object) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(application(words), words, catch_exceptions=False)


def told(*arguments: object) -> dict[str, Any]:
    return dict(json.loads(run("evaluate", *arguments, "--json").stdout))


def test_leave_one_out_learns_anew_and_finds_the_rings(shop: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = told(model, shop, "--protocol", "leave-one-out", "--html", page)
    assert (found["n"], found["data"]["learned"], found["data"]["items"]) == (VISITORS, 2 * VISITORS, 16)
    assert found["metrics"]["hr_5"] > 0.9 > found["baselines"]["popularity"]["hr_1"]
    assert {"popularity", "decayed popularity", "last item's text", "co-occurrence", "item-kNN"} <= set(
        found["baselines"]
    )
    assert any(name.startswith("without ") for name in found["variants"])
    assert "leave-one-out" in page.read_text()


def test_temporal_stands_beside_itself_frozen(shop: Path, model: Path) -> None:
    found = told(model, shop, "--no-variants")
    assert found["protocol"] == "temporal"
    assert found["n"] == 3 * VISITORS // 10
    assert {name for name in found["variants"] if "frozen" in name}
    assert "co-occurrence, frozen" in found["baselines"]


def test_next_item_asks_at_every_place(shop: Path, model: Path) -> None:
    found = told(model, shop, "--protocol", "next-item", "--no-variants", "--repeats")
    assert found["n"] == 3 * VISITORS // 10
    assert found["data"]["repeats"] is True
    assert found["variants"] == {}


def test_equal_runs_say_equal_things(shop: Path, model: Path) -> None:
    first, again = (told(model, shop, "--protocol", "leave-one-out", "--no-variants") for _ in range(2))
    assert first == again


def test_a_model_that_saw_the_targets_is_refused_with_code_2(
    shop: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(model), str(shop), "--protocol", "leave-one-out", "--as-built"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"built on all events, among them {VISITORS} of {VISITORS} targets" in said
    assert "in session 's0'" in said


def test_a_model_that_ends_before_the_test_is_taken_as_it_is(shop: Path, tmp_path: Path) -> None:
    cut = START + (VISITORS * 9 // 10) * DAY_MS // 24
    run("build", shop, tmp_path / "early", "--until", cut)
    found = told(tmp_path / "early", shop, "--as-built", "--no-variants")
    assert found["n"] == 3 * VISITORS // 10
    assert found["metrics"]["hr_5"] > 0.9


def test_a_model_of_other_data_is_not_taken_as_it_is(shop: Path, tmp_path: Path) -> None:
    cut = START + (VISITORS * 9 // 10) * DAY_MS // 24
    run("build", shop, tmp_path / "early", "--until", cut)
    other = Path(shutil.copytree(shop, tmp_path / "other"))
    items = other / "items.parquet"
    pl.read_parquet(items).with_columns(title=pl.lit("another")).write_parquet(items)
    with pytest.raises(InputError, match="the model was built of data .*leave --as-built away"):
        told(tmp_path / "early", other, "--as-built", "--no-variants")


def test_a_model_whose_forest_was_grown_by_settings_that_are_none_is_refused(shop: Path, tmp_path: Path) -> None:
    run("build", shop, tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    told_by = json.loads(manifest.read_text())
    told_by["settings"]["forest"] = {"new_items": 6.0}
    manifest.write_text(json.dumps(told_by))
    with pytest.raises(InputError, match=r"settings of a forest that are none .*new_items.*train it anew"):
        run("evaluate", tmp_path / "other", shop, "--no-variants")


def test_networks_are_trained_on_demand_once_and_stand_in_every_table(
    shop: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFOREHAND_EVALUATION__CACHE_DIR", str(tmp_path / "shelf"))
    monkeypatch.setattr(shelf, "NETWORKS", SMALL)
    asked = (model, shop, "--no-ablations", "--minutes", "1")
    without = told(*asked)
    assert SMALL.keys().isdisjoint(without["baselines"])
    assert "GRU4Rec, LightGCN, SASRec: not trained on these events yet" in without["warnings"][0]
    trained = told(*asked, "--baselines", "all")
    kept = sorted((tmp_path / "shelf").iterdir())
    assert len(kept) == len(SMALL)
    written = [path.stat().st_mtime_ns for path in kept]
    cached = told(*asked)
    assert SMALL.keys() <= cached["baselines"].keys()
    assert cached == trained
    assert [path.stat().st_mtime_ns for path in kept] == written
    assert {curve["name"] for curve in cached["training"]} == SMALL.keys()
    assert SMALL.keys().isdisjoint(told(*asked, "--baselines", "fast")["baselines"])


def test_several_protocols_give_one_report_a_page_and_a_picture(shop: Path, model: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "quality.svg"
    protocols = ("--protocol", "temporal", "--protocol", "leave-one-out")
    found = told(model, shop, *protocols, "--no-ablations", "--html", page, "--plot", picture)
    assert list(found["protocols"]) == ["temporal", "leave-one-out"]
    assert found["protocols"]["temporal"]["n"] == 3 * VISITORS // 10
    assert "leave-one-out: All rankers" in page.read_text()
    assert picture.read_text().lstrip().startswith("<?xml")
    assert "co-occurrence" in picture.read_text()


def test_a_picture_of_another_kind_is_refused_before_anything_is_done(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.svg or \.png"):
        run("evaluate", tmp_path / "no model", shop, "--plot", tmp_path / "picture.jpg")
