"""`beforehand tune-text` and the window that it learns from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from encoders.text import DummyTextEncoder
from streaming.cli import application
from streaming.errors import InputError
from streaming.shop import ShopInfo
from streaming.text_window import compared, text_window
from tests.tiny_bert import tiny_bert

ITEMS = pl.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(20)] + ["nameless"],
        "title": [f"{'red' if n % 2 else 'blue'} mug {n}" for n in range(20)] + [""],
        "brand": [None] * 21,
    }
)
INFO = ShopInfo(session_idle_ms=0)


def log(splits: bool, seed: int = 0) -> pl.DataFrame:
    """60 sessions of five items; the last but one is `valid`, the last `test`."""
    chance = np.random.default_rng(seed)
    rows = [
        ("view", f"s{session}", 1_000_000 * session + 1000 * place, f"i{item}", f"u{session}")
        for session in range(60)
        for place, item in enumerate(chance.permutation(20)[:5].tolist())
    ]
    events = pl.DataFrame(rows, schema=["kind", "session_id", "time", "item_id", "user_id"], orient="row")
    names = pl.Series(["train"] * 3 + ["valid", "test"])
    return events.with_columns(split=pl.concat([names] * 60)) if splits else events


def test_the_window_ends_where_the_validation_begins_and_the_test_is_not_looked_at() -> None:
    events = log(splits=True)
    window = text_window(events, ITEMS, INFO)
    assert set(window.events["split"]) == {"train"}
    assert len(window.validation.targets) == 60
    names = list(window.texts)
    assert "nameless" not in names
    first = events.filter(pl.col("session_id") == "s0")["item_id"].to_list()
    asked = {
        tuple(names[code] for code in history): names[target]
        for history, target in zip(window.validation.histories, window.validation.targets, strict=True)
    }
    assert asked[tuple(first[:3])] == first[3]
    shuffled = events.with_columns(
        item_id=pl.when(pl.col("split") == "test").then(pl.col("item_id").reverse()).otherwise("item_id")
    )
    assert text_window(shuffled, ITEMS, INFO).validation.targets.tolist() == window.validation.targets.tolist()


def test_without_a_split_the_last_two_of_each_session_are_held_out() -> None:
    window = text_window(log(splits=False), ITEMS, INFO)
    assert len(window.events) == 60 * 3
    assert len(window.validation.targets) == 60


def test_words_that_tell_rank_better_than_words_that_do_not() -> None:
    rows = [
        ("view", f"s{session}", 1000 * session + place, f"i{(session % 2) + 2 * ((session + place) % 10)}")
        for session in range(80)
        for place in range(4)
    ]
    events = pl.DataFrame(rows, schema=["kind", "session_id", "time", "item_id"], orient="row")
    window = text_window(events, ITEMS, ShopInfo(session_idle_ms=0))
    told = window.values(DummyTextEncoder().encode(list(window.texts.values())))
    mixed = np.random.default_rng(0).normal(size=(len(window.texts), 64)).astype(np.float32)
    found = compared(window.values(mixed), told)["hr_10"]
    assert found["after"] > found["before"]
    assert found["interval"][0] > 0


@pytest.mark.parametrize("info", [ShopInfo(titles=False), INFO])
def test_a_shop_without_texts_or_later_events_is_refused(info: ShopInfo) -> None:
    with pytest.raises(InputError, match=r"no texts to tune|no session goes on"):
        text_window(log(splits=True).filter(pl.col("split") == "train"), ITEMS, info)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    events = log(splits=True).with_columns(time=pl.col("time") + 1_500_000_000_000)
    events.write_parquet(folder / "events.parquet")
    ITEMS.filter(pl.col("title") != "").write_parquet(folder / "items.parquet")
    pl.DataFrame({"head": ["i1"], "relation": ["made_in"], "tail": ["Japan"]}).write_parquet(folder / "facts.parquet")
    (folder / "shop.toml").write_text(INFO.to_toml())
    return folder


def run(*asked: object) -> tuple[int, str]:
    done = CliRunner().invoke(application(["tune-text"]), ["tune-text", *map(str, asked)])
    return done.exit_code, done.stdout


def test_the_command_writes_an_adapter_and_says_what_it_is_worth(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", str(tiny_bert(tmp_path / "tiny")))
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "kept"))
    code, said = run(shop, tmp_path / "adapter", "--device", "cpu", "--json")
    assert code == 0, said
    report = json.loads(said)
    assert report["n"] == 60
    assert report["pairs"] + report["held_out"] <= 121
    assert set(report["ranking"]["ndcg_10"]) == {"before", "after", "interval"}
    assert report["helps"] == (report["ranking"]["ndcg_10"]["interval"][0] > 0)
    assert (tmp_path / "adapter" / "manifest.json").is_file()
    code, said = run(shop, tmp_path / "adapter", "--device", "cpu")
    assert code == 0
    assert "is written after" in said


def test_the_dummy_learns_nothing(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    done = CliRunner().invoke(application(["tune-text"]), ["tune-text", str(shop), str(tmp_path / "adapter")])
    assert isinstance(done.exception, InputError)
    assert not (tmp_path / "adapter").exists()
