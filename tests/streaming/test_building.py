"""From a shop's past to a model folder: what is looked at, and what the shop's kind changes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from encoders.text import DummyTextEncoder
from index.model import ModelFolder
from streaming.building import SET_WEIGHTS, SETS, Stopwatch, build_model
from streaming.cli import application
from streaming.errors import InputError
from streaming.items import Shop
from streaming.ranking import RankingSettings
from streaming.shop import ShopInfo

T = 1_483_228_800_000
ITEMS = pl.DataFrame({"item_id": ["tea", "mug", "jam"], "title": ["Green tea", "Mug", "Plum jam"]})


def past() -> pl.DataFrame:
    rows = [(f"s{n}", T + 10 * n + place, item) for n in range(9) for place, item in enumerate(("tea", "mug", "jam"))]
    return pl.DataFrame(rows, schema=["session_id", "time", "item_id"], orient="row").with_columns(kind=pl.lit("view"))


def weights_of(model: ModelFolder) -> dict[str, float]:
    return {item: weight for item, weight, _ in model.counts.neighbours([("tea", 1.0)], 5)}


def test_in_an_ordered_shop_what_comes_next_counts_most(tmp_path: Path) -> None:
    model, report = build_model(past(), ITEMS, ShopInfo(), tmp_path / "model", DummyTextEncoder())
    found = weights_of(model)
    assert found["mug"] > found["jam"] > 0
    assert report.metrics["events"] == 27
    assert list(report.stages_s) == ["counts", "texts", "whitening", "writing"]
    assert ModelFolder.load(tmp_path / "model").manifest.settings["ranking"] == {}


def test_in_a_shop_of_baskets_order_and_distance_mean_nothing(tmp_path: Path) -> None:
    model, _ = build_model(past(), ITEMS, ShopInfo(ordered=False), tmp_path / "model", DummyTextEncoder())
    found = weights_of(model)
    assert found["mug"] == pytest.approx(found["jam"])
    loaded = ModelFolder.load(tmp_path / "model")
    assert loaded.counts.settings == SETS
    assert RankingSettings(**loaded.manifest.settings["ranking"]) == RankingSettings(**SET_WEIGHTS)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_shop_may_allow_that_what_was_seen_is_offered_again(tmp_path: Path, ordered: bool) -> None:
    info = ShopInfo(repeats_allowed=True, ordered=ordered)
    build_model(past(), ITEMS, info, tmp_path / "model", DummyTextEncoder())
    shop = Shop.open(tmp_path / "model", DummyTextEncoder())
    expected = RankingSettings(repeat=True) if ordered else RankingSettings(**SET_WEIGHTS, repeat=True)
    assert RankingSettings.of(shop) == expected


def test_events_from_until_on_are_not_looked_at(tmp_path: Path) -> None:
    _, report = build_model(past(), ITEMS, ShopInfo(), tmp_path / "model", DummyTextEncoder(), until=T + 20)
    assert report.metrics["events"] == 6


def test_without_items_there_is_nothing_to_build(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the shop has no items"):
        build_model(past(), ITEMS.clear(), ShopInfo(), tmp_path / "model", DummyTextEncoder())


def test_what_is_no_model_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(InputError, match="no model folder"):
        build_model(past(), ITEMS, ShopInfo(), tmp_path, DummyTextEncoder())


def test_the_command_builds_from_a_shop_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    (tmp_path / "shop").mkdir()
    past().write_csv(tmp_path / "shop" / "events.csv")
    ITEMS.write_csv(tmp_path / "shop" / "items.csv")
    arguments = ["build", str(tmp_path / "shop"), str(tmp_path / "model"), "--until", "2017-01-01T00:00:00.020"]
    result = CliRunner().invoke(application(arguments), arguments)
    assert result.exit_code == 0, result.output
    assert "6 events" in result.stdout
    assert ModelFolder.load(tmp_path / "model").manifest.metrics["events"] == 6


def test_a_stage_lasts_until_the_next_begins_and_may_come_again() -> None:
    moments = iter([0.0, 1.0, 3.0, 7.0])
    watch = Stopwatch(lambda: next(moments))
    for stage in ("a", "b", "a", None):
        watch.begin(stage)
    assert watch.stages_s == {"a": 1.0 + 4.0, "b": 2.0}
