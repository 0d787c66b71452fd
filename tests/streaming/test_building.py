"""From a shop's past to a model folder: what is looked at, and what the shop's kind changes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from encoders.catalogue import item_text
from encoders.text import DummyTextEncoder
from index.co_settings import CoSettings
from index.model import ModelFolder
from index.tables import TableSettings
from streaming.building import BuildReport, Stopwatch, build_model, fitted, made, stocked
from streaming.cli import application
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.past import Past, data_digest, past_of, ranking_settings, table_settings
from streaming.ranking import RankingSettings
from streaming.served import for_model
from streaming.settings import Settings
from streaming.shop import ShopInfo
from tests.streaming.small_past import Listening

T = 1_483_228_800_000
ITEMS = pl.DataFrame({"item_id": ["tea", "mug", "jam"], "title": ["Green tea", "Mug", "Plum jam"]})
FACTS = pl.DataFrame(
    [("jam", "made_by", "Anna"), ("jam", "also_bought", "mug")], schema=["head", "relation", "tail"], orient="row"
)


def events() -> pl.DataFrame:
    rows = [(f"s{n}", T + 10 * n + place, item) for n in range(9) for place, item in enumerate(("tea", "mug", "jam"))]
    return pl.DataFrame(rows, schema=["session_id", "time", "item_id"], orient="row").with_columns(kind=pl.lit("view"))


def past(info: ShopInfo | None = None, frame: pl.DataFrame | None = None, until: int | None = None) -> Past:
    known = events() if frame is None else frame
    return past_of(known, ITEMS, FACTS, info or ShopInfo(), DummyTextEncoder(), until=until)


def built(folder: Path, info: ShopInfo | None = None, until: int | None = None) -> tuple[ModelFolder, BuildReport]:
    return build_model(past(info, until=until), folder, DummyTextEncoder(), until=until)


def goes_with_tea(model: ModelFolder) -> dict[str, float]:
    words = model.tables.vocabulary
    found = model.tables.counts.together(words.codes(["tea"]), np.ones(1), 5)
    return dict(zip(words.ids(found.codes), found.scores.tolist(), strict=True))


# ------------------------------------------------------------------------------------------------------------- the past
def test_only_what_teaches_is_looked_at_in_time_order() -> None:
    rows = [("s", T + 2, "tea", "view"), ("s", T + 1, "mug", "purchase"), ("s", T + 3, "jam", "impression")]
    rows += [("s", T + 4, None, "search"), ("s", T + 5, "jam", "cart_remove"), ("s", T + 1, "jam", "cart_add")]
    frame = pl.DataFrame(rows, schema=["session_id", "time", "item_id", "kind"], orient="row")
    used = past(frame=frame).events
    assert used["item_id"].to_list() == ["mug", "jam", "tea"]
    assert used["user_id"].to_list() == [None] * 3
    named = past(frame=frame.with_columns(user_id=pl.lit("anna"), quantity=1)).events
    assert named["user_id"].to_list() == ["anna"] * 3
    assert named.columns == used.columns == ["kind", "session_id", "time", "item_id", "user_id"]


def test_each_text_is_encoded_once_and_every_item_has_its_own() -> None:
    texts = Listening()
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["Mug", "Mug", "Pot"],
            "brand": ["Kiln", "Kiln", None],
            "category": [None, None, "Home > Kitchen"],
        }
    )
    heard: list[tuple[str, int, int]] = []
    made = past_of(events(), items, FACTS, ShopInfo(), texts, note=lambda *told: heard.append(told))
    assert texts.calls == [["Mug, Kiln", "Pot, Kitchen"]]
    expected = DummyTextEncoder().encode([item_text("Mug", "Kiln"), "Mug, Kiln", "Pot, Kitchen"])
    assert made.texts.tobytes() == expected.tobytes()
    assert (heard[0], heard[-1]) == (("texts", 0, 2), ("texts", 2, 2))


def test_titles_that_are_numbers_are_not_read() -> None:
    texts = Listening()
    made = past_of(events(), ITEMS, FACTS, ShopInfo(titles=False), texts)
    assert texts.calls == []
    assert not made.texts.any()
    shop = stocked(made, fitted(made, TableSettings()), texts)
    rows = shop.index.vectors(shop.vocabulary.codes(ITEMS["item_id"].to_list()))
    assert not rows[:, shop.layout.slices[0]].any()


def test_without_items_there_is_nothing_to_build() -> None:
    with pytest.raises(InputError, match="the shop has no items"):
        past_of(events(), ITEMS.clear(), FACTS, ShopInfo(), DummyTextEncoder())


# ------------------------------------------------------------------------------------------------------ the shop's kind
def test_in_an_ordered_shop_what_comes_next_counts_most(tmp_path: Path) -> None:
    model, report = built(tmp_path / "model")
    found = goes_with_tea(model)
    assert found["mug"] > found["jam"] > 0
    assert (report.metrics["events"], report.metrics["items"]) == (27, 3)
    assert model.tables.settings == TableSettings(counts=CoSettings(self_pairs=False))


def test_in_a_shop_of_baskets_order_and_distance_mean_nothing(tmp_path: Path) -> None:
    built(tmp_path / "model", ShopInfo(ordered=False))
    model = ModelFolder.load(tmp_path / "model")
    found = goes_with_tea(model)
    assert found["mug"] == pytest.approx(found["jam"])
    counts = model.tables.settings.counts
    assert (counts.backward, counts.damping, counts.by_distance) == (1.0, 0.0, False)
    assert model.manifest.settings["ranking"]["decay"] == 0.9
    assert ranking_settings(ShopInfo()).decay == RankingSettings().decay


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("repeats", [True, False])
def test_a_shop_may_allow_that_what_was_seen_is_offered_again(tmp_path: Path, ordered: bool, repeats: bool) -> None:
    info = ShopInfo(repeats_allowed=repeats, ordered=ordered)
    built(tmp_path / "model", info)
    shop = Shop.open(tmp_path / "model", DummyTextEncoder())
    assert RankingSettings.of(shop).repeat is repeats
    assert shop.counts.settings.self_pairs is repeats


def test_facts_of_a_crawl_are_in_only_where_asked_for() -> None:
    for relations, expected in (("safe", {"made_by"}), ("all", {"made_by", "also_bought"})):
        shop = stocked(past(), fitted(past(), table_settings(ShopInfo(), relations)), DummyTextEncoder())  # type: ignore[arg-type]
        told = {fact.relation for fact in shop.graph.facts("jam")} - {"goes_with"}
        assert told == expected


def test_a_worker_is_told_what_the_shop_is_like(tmp_path: Path) -> None:
    built(tmp_path / "model", ShopInfo(session_idle_ms=7000, time_zone="Europe/Paris"))
    worker = for_model(Settings(worker={"model": tmp_path / "model"})).worker
    assert (worker.session_idle_ms, worker.time_zone) == (7000, "Europe/Paris")


# --------------------------------------------------------------------------------------------------------------- chosen
def test_what_was_chosen_is_what_is_served(tmp_path: Path) -> None:
    info, texts = ShopInfo(), DummyTextEncoder()
    chosen, _, _ = made(past(info), texts, table_settings(info))
    model, report = built(tmp_path / "model", info)
    shop = Shop.open(tmp_path / "model", texts)
    assert RankingSettings.of(shop) == chosen.ranking
    assert shop.calibration.to_dict() == chosen.calibration.to_dict()
    assert report.ranking == {name: value for name, value in asdict(chosen.ranking).items() if isinstance(value, float)}
    assert model.manifest.metrics == report.metrics


def test_tables_are_of_the_whole_past_though_weights_were_chosen_on_its_end() -> None:
    info, texts = ShopInfo(session_idle_ms=0), DummyTextEncoder()
    _, shop, _ = made(past(info), texts, table_settings(info))
    code = shop.vocabulary.code
    assert shop.counts.support(code("tea"), code("mug")) == 9
    assert shop.counts.seen(shop.vocabulary.codes(["tea", "mug", "jam"])).tolist() == [9, 9, 9]


def test_a_served_model_ranks_as_the_shop_it_was_made_of(tmp_path: Path) -> None:
    info, texts = ShopInfo(), DummyTextEncoder()
    _, shop, _ = made(past(info), texts, table_settings(info))
    built(tmp_path / "model", info)
    served = Shop.open(tmp_path / "model", texts)
    served.upsert(list(items_of(ITEMS)))
    codes = shop.vocabulary.codes(ITEMS["item_id"].to_list())
    assert served.vocabulary.ids(codes) == shop.vocabulary.ids(codes)
    assert served.index.vectors(codes).tobytes() == shop.index.vectors(codes).tobytes()
    assert (served.snapshot, served.dimension) == (shop.snapshot, shop.dimension)


# ----------------------------------------------------------------------------------------------------------- the folder
def test_events_from_until_on_are_not_looked_at(tmp_path: Path) -> None:
    model, report = built(tmp_path / "model", until=T + 20)
    assert report.metrics["events"] == 6
    assert model.manifest.settings["until"] == T + 20
    later = events().with_columns(item_id=pl.when(pl.col("time") < T + 20).then("item_id").otherwise(pl.lit("rug")))
    other, _ = build_model(past(frame=later, until=T + 20), tmp_path / "other", DummyTextEncoder(), until=T + 20)
    assert other.version == model.version


def test_equal_pasts_give_equal_folders(tmp_path: Path) -> None:
    first, second = built(tmp_path / "one")[0], built(tmp_path / "two")[0]
    assert first.version == second.version
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    third, _ = built(tmp_path / "two", ShopInfo(ordered=False))
    assert third.version != first.version


def test_the_digest_is_of_rows_and_their_order() -> None:
    given = past().events
    digest = data_digest(given, ITEMS)
    assert digest == data_digest(given, ITEMS)
    assert re.fullmatch("[0-9a-f]{16}", digest)
    assert (
        len({digest, data_digest(given[::-1], ITEMS), data_digest(given, ITEMS[:2]), data_digest(given[1:], ITEMS)})
        == 4
    )
    nested = ITEMS.with_columns(tags=pl.lit([["red"]], pl.List(pl.List(pl.String))).first())
    assert data_digest(given, nested) == digest


def test_the_stages_are_timed_and_told(tmp_path: Path) -> None:
    heard: list[str] = []
    _, report = build_model(
        past(), tmp_path / "model", DummyTextEncoder(), note=lambda stage, _done, _total: heard.append(stage)
    )
    assert list(dict.fromkeys(heard)) == ["counts", "neighbours", "graph", "behaviour", "weights", "intent", "writing"]
    assert list(report.stages_s) == list(dict.fromkeys(heard))
    assert min(report.stages_s.values()) > 0


def test_what_is_no_model_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(InputError, match="no model folder"):
        built(tmp_path)


def test_a_past_without_events_gives_a_model_all_the_same(tmp_path: Path) -> None:
    model, report = built(tmp_path / "model", until=T)
    assert (report.metrics["events"], report.metrics["moments"]) == (0, 0)
    shop = Shop.open(tmp_path / "model", DummyTextEncoder())
    assert not shop.calibration.calibrated
    assert RankingSettings.of(shop) == RankingSettings()
    assert len(model.index) == 3


# ---------------------------------------------------------------------------------------------------------- the command
@pytest.fixture
def shop_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    folder = tmp_path / "shop"
    folder.mkdir()
    events().write_csv(folder / "events.csv")
    ITEMS.write_csv(folder / "items.csv")
    FACTS.write_csv(folder / "facts.csv")
    return folder


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(application(list(arguments)), list(arguments))
    assert result.exit_code == 0, result.output
    return result


def test_the_command_builds_from_a_shop_folder(shop_folder: Path, tmp_path: Path) -> None:
    result = run("build", str(shop_folder), str(tmp_path / "model"), "--until", "2017-01-01T00:00:00.020")
    assert "6 events" in result.stdout
    assert ModelFolder.load(tmp_path / "model").manifest.metrics["events"] == 6


def test_what_the_command_says_is_one_line_however_long_the_path(shop_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / ("deep-" * 30) / "model [bold]"
    result = run("build", str(shop_folder), str(model))
    (line,) = [line for line in result.stdout.splitlines() if "is written" in line]
    assert line.startswith(f"{model} is written: 27 events, 3 items, ")
    assert line.endswith(f"; version {ModelFolder.load(model).version}")
    assert re.search(r"\d\.\d{3} ndcg 10 held out", line)


def test_the_command_says_the_same_to_machines_and_nothing_else(shop_folder: Path, tmp_path: Path) -> None:
    told = json.loads(run("build", str(shop_folder), str(tmp_path / "model"), "--json").stdout)
    model = ModelFolder.load(tmp_path / "model")
    assert (told["model"], told["version"], told["events"]) == (str(tmp_path / "model"), model.version, 27)
    assert told["ranking"]["counts"] == model.manifest.settings["ranking"]["counts"]
    assert told["build_s"] == pytest.approx(sum(told["stages_s"].values()), abs=0.01)
    assert list(told["stages_s"])[:2] == ["counts", "neighbours"]


@pytest.mark.parametrize(
    ("option", "expected"), [((), False), (("--relations", "safe"), False), (("--relations", "all"), True)]
)
def test_the_command_leaves_a_crawls_facts_out_unless_told(
    shop_folder: Path, tmp_path: Path, option: tuple[str, ...], expected: bool
) -> None:
    run("build", str(shop_folder), str(tmp_path / "model"), *option)
    tables = ModelFolder.load(tmp_path / "model").tables
    assert (("jam", "also_bought", "mug") in [tuple(fact) for fact in tables.graph.facts("jam")]) is expected
    assert tables.settings.relations == ("all" if expected else "safe")


def test_rows_that_were_set_aside_are_told(shop_folder: Path, tmp_path: Path) -> None:
    (shop_folder / "facts.csv").write_text("head,relation,tail\njam,made_by,Anna\n,made_by,Anna\n")
    result = run("build", str(shop_folder), str(tmp_path / "model"))
    assert "1 of 2 rows of facts.csv were set aside; see `import`" in result.stderr


# ------------------------------------------------------------------------------------------------------------ the watch
def test_a_stage_lasts_until_the_next_begins_and_may_come_again() -> None:
    moments = iter([0.0, 1.0, 3.0, 7.0])
    watch = Stopwatch(lambda: next(moments))
    for stage in ("a", "b", "a", None):
        watch.begin(stage)
    assert watch.stages_s == {"a": 1.0 + 4.0, "b": 2.0}
