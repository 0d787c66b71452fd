"""Shops that nothing, or hardly anything, can be learned from: a model all the same, or an error that names the value,
what was expected and the remedy, and no half of a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from encoders.text import DummyTextEncoder
from index.model import MANIFEST, ModelFolder
from streaming.errors import InputError
from streaming.items import Shop
from tests.streaming.test_train import ITEMS, T, run, write_shop

HUGE = 1_000_000
"""Characters of a title."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop of four sessions, good as it is."""
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    return write_shop(tmp_path / "shop", sessions=4)


def _change(table: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_csv(table)).write_csv(table)


def _train(shop: Path, *more: str) -> Path:
    run("train", str(shop), str(shop.parent / "model"), "--graph", "svd", *more)
    return shop.parent / "model"


def _refused(shop: Path, *more: str) -> str:
    """What the command says that refuses, having written nothing."""
    result = run("train", str(shop), str(shop.parent / "model"), *more, code=1)
    assert isinstance(result.exception, InputError)
    assert not (shop.parent / "model").exists()
    return str(result.exception)


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        ("events", lambda rows: rows.drop("item_id"), "item_id"),
        ("events", lambda rows: rows.drop("time"), "time"),
        ("events", lambda rows: rows.with_columns(time=pl.lit("soon")), "soon"),
        ("items", lambda rows: rows.drop("item_id"), "item_id"),
        ("items", lambda rows: rows.head(0), "no items"),
        ("items", lambda rows: rows.with_columns(title=pl.lit("long " * (HUGE // 5))), "title"),
    ],
    ids=["no item_id", "no time", "time that is none", "items without id", "no items", "huge titles"],
)
def test_a_table_that_cannot_be_read_is_named(
    shop: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame], told: str
) -> None:
    _change(shop / f"{table}.csv", change)
    assert told in _refused(shop)


def test_a_row_that_is_no_utf_8_is_set_aside_and_the_others_are_learned_from(shop: Path) -> None:
    table = shop / "items.csv"
    table.write_bytes(table.read_bytes().replace(b"tea number 0", b"th\xe9 number 0"))
    result = run("train", str(shop), str(shop.parent / "model"), "--graph", "svd")
    assert "1 of 40 rows of items.csv were set aside" in result.output
    assert len(ModelFolder.load(shop.parent / "model").items) == 39


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("items", lambda rows: rows.head(1)),
        ("items", lambda rows: rows.with_columns(title=pl.lit("the same"))),
        ("events", lambda rows: rows.with_columns(item_id=pl.lit(ITEMS[0]))),
        ("events", lambda rows: rows.with_columns(session_id=pl.int_range(pl.len()).cast(pl.String))),
        ("events", lambda rows: rows.head(0)),
    ],
    ids=["one item", "one title", "one item seen", "sessions of one event", "no events"],
)
def test_a_shop_that_teaches_nothing_gives_a_model_all_the_same(
    shop: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    _change(shop / f"{table}.csv", change)
    model = ModelFolder.load(_train(shop))
    assert model.forest is None
    calibration = model.manifest.settings["calibration"]
    assert calibration["calibrated"] is False
    assert "expected" in calibration["why"]
    assert Shop.open(shop.parent / "model", DummyTextEncoder()).model == model.version


def test_nothing_before_a_time_is_an_empty_part(shop: Path) -> None:
    model = ModelFolder.load(_train(shop, "--until", str(T - 1)))
    assert (model.forest, model.tables.sequence, model.manifest.metrics["events"]) == (None, None, 0)


def test_a_model_of_another_version_is_refused(shop: Path) -> None:
    folder = _train(shop)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"format": manifest["format"] + 1}))
    with pytest.raises(InputError, match=r"format \d.*build it anew"):
        Shop.open(folder, DummyTextEncoder())


def test_a_training_that_fails_leaves_the_model_that_was_there(shop: Path) -> None:
    folder = _train(shop)
    before = shutil.copytree(folder, shop.parent / "before")
    _change(shop / "events.csv", lambda rows: rows.drop("time"))
    run("train", str(shop), str(folder), code=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in before.iterdir()
    }
