"""What was learned live outlives the process, and the topic."""

from __future__ import annotations

import asyncio
import json
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from index.cooccurrence import CoOccurrence
from index.tables import COUNTS, SESSIONS
from streaming import keeping
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.keeping import Learnt, keep, opened, recall, what_was_learned
from streaming.settings import WorkerSettings
from tests.index.small_tables import ITEMS
from tests.streaming.small_past import COLD, DUMMY, PAST, lesson, model_at, support, walk


def learned(model: Path, *offsets: int) -> Shop:
    shop = Shop.open(model, DUMMY)
    shop.learn(lesson(*offsets))
    shop.positions[0] = 17
    return shop


def test_a_restart_goes_on_from_what_was_learned(tmp_path: Path) -> None:
    model = model_at(tmp_path / "model", *PAST)
    before = learned(model, 3, 4, 9)
    Learnt.of(before).save(tmp_path / keeping.FOLDER)
    texts, after = opened(WorkerSettings(data_dir=tmp_path, model=model), lambda: DUMMY)
    assert texts is DUMMY
    assert what_was_learned(after) == what_was_learned(before)
    assert (after.learned, after.positions) == (1, {0: 17})
    assert support(after, "tea", "mug") == 3 + 3
    after.learn(lesson(4, 9))  # read again from the topic
    assert support(after, "tea", "mug") == 3 + 3
    assert after.learned == 1
    after.learn(lesson(9, 10))
    assert support(after, "tea", "mug") == 3 + 4
    assert after.learned == 2


def test_a_copy_is_of_one_moment(tmp_path: Path) -> None:
    shop = learned(model_at(tmp_path / "model", *PAST), 3)
    told = what_was_learned(shop)
    copy = Learnt.of(shop)
    shop.learn(lesson(4, 5))
    copy.save(tmp_path / "kept")
    again = Shop.open(tmp_path / "model", DUMMY)
    assert recall(again, tmp_path / "kept")
    assert what_was_learned(again) == told != what_was_learned(shop)


def test_a_worker_that_does_not_learn_recalls_nothing(tmp_path: Path) -> None:
    model = model_at(tmp_path / "model", *PAST)
    Learnt.of(learned(model, 3)).save(tmp_path / keeping.FOLDER)
    _, shop = opened(WorkerSettings(data_dir=tmp_path, model=model, learn=False), lambda: DUMMY)
    assert shop.learned == 0


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a model folder"):
        opened(WorkerSettings(data_dir=tmp_path, model=tmp_path / "model"), lambda: DUMMY)


def test_cold_items_borrow_by_the_counts_that_were_recalled(tmp_path: Path) -> None:
    model = model_at(tmp_path / "model", *["tea jam"] * 9, settings=COLD)
    shop = Shop.open(model, DUMMY)
    shop.upsert(list(items_of(ITEMS)))
    cold = next(item for item in shop.items if shop.lenders(shop.vocabulary.code(item)))
    code = shop.vocabulary.code(cold)
    for visitor in range(6):
        shop.learn(walk(cold, session=visitor, visitor=visitor))
    assert not shop.lenders(code)
    Learnt.of(shop).save(tmp_path / "kept")
    again = Shop.open(model, DUMMY)
    again.upsert(list(items_of(ITEMS)))
    assert recall(again, tmp_path / "kept")
    assert not again.lenders(code)


def _other_model(kept: Path) -> None:
    told = json.loads((kept / keeping.ABOUT).read_text())
    (kept / keeping.ABOUT).write_text(json.dumps(told | {"model": "another"}))


def _other_format(kept: Path) -> None:
    told = json.loads((kept / keeping.ABOUT).read_text())
    (kept / keeping.ABOUT).write_text(json.dumps(told | {"format": 99}))


def _cut(kept: Path) -> None:
    (kept / COUNTS).write_bytes((kept / COUNTS).read_bytes()[:100])


def _strange(kept: Path) -> None:
    (kept / keeping.ABOUT).write_text("[]")


def _gone(kept: Path) -> None:
    (kept / SESSIONS).unlink()


@pytest.mark.parametrize("harm", [_other_model, _other_format, _cut, _strange, _gone])
def test_what_cannot_be_used_is_passed_over(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    model = model_at(tmp_path / "model", *PAST)
    Learnt.of(learned(model, 3)).save(tmp_path / "kept")
    harm(tmp_path / "kept")
    shop = Shop.open(model, DUMMY)
    told = what_was_learned(shop)
    assert not recall(shop, tmp_path / "kept")
    assert what_was_learned(shop) == told


def test_who_has_learned_nothing_yet_goes_on_from_that(tmp_path: Path) -> None:
    Learnt.of(Shop.open(None, DUMMY)).save(tmp_path / "kept")
    shop = Shop.open(None, DUMMY)
    assert recall(shop, tmp_path / "kept")
    shop.upsert(list(items_of(ITEMS)))
    shop.learn(lesson(3))
    assert support(shop, "tea", "mug") == 1


def test_what_cannot_be_written_is_an_error_of_the_disk_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_at(tmp_path / "model", *PAST)
    Learnt.of(learned(model, 3)).save(tmp_path / "kept")

    class Full(pl.DataFrame):
        def write_parquet(self, *_: Any, **__: Any) -> None:
            super().write_parquet("/dev/full")

    monkeypatch.setattr(CoOccurrence, "to_frame", lambda _: Full({"a": range(100_000)}))
    with pytest.raises(OSError, match="No space left"):
        Learnt.of(learned(model, 3, 4)).save(tmp_path / "kept")
    monkeypatch.undo()
    shop = Shop.open(model, DUMMY)
    assert recall(shop, tmp_path / "kept")
    assert support(shop, "tea", "mug") == 3 + 1


def test_nothing_is_recalled_from_nowhere(tmp_path: Path) -> None:
    assert not recall(Shop.open(None, DUMMY), tmp_path / "kept")


def test_a_snapshot_comes_now_and_then_and_a_full_disk_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = learned(model_at(tmp_path / "model", *PAST), 3)
    worker = WorkerSettings(data_dir=tmp_path, keep_s=0.01)
    unkept: list[str | None] = []
    saved, times, copies = Learnt.save, [], []

    def full_at_first(self: Learnt, folder: Path) -> None:
        times.append(folder)
        copies.append(weakref.ref(self.counts))
        if len(times) == 1:
            raise OSError(28, "No space left on device")
        saved(self, folder)

    async def here(work: Any, *args: Any) -> Any:
        return work(*args)

    async def some() -> None:
        task = asyncio.ensure_future(keep(worker, lambda: shop, here, unkept.append))
        while len(times) < 3 or copies[-1]() is not None:  # between two, the copy is not held
            await asyncio.sleep(0.001)
        task.cancel()

    monkeypatch.setattr(Learnt, "save", full_at_first)
    with caplog.at_level(logging.WARNING):
        asyncio.run(some())
    assert "No space left" in caplog.text
    again = Shop.open(tmp_path / "model", DUMMY)
    assert recall(again, tmp_path / keeping.FOLDER)
    assert what_was_learned(again) == what_was_learned(shop)
