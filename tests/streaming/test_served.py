"""Time zone and idle time reach a worker by its model folder, unless somebody set them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from index.model import MANIFEST
from streaming.errors import InputError
from streaming.local_time import shop_offset_min
from streaming.served import for_model
from streaming.settings import Settings, WorkerSettings

WINTER, SUMMER = 1_700_000_000_000, 1_690_000_000_000


def folder(path: Path, settings: Any) -> Path:
    (path / MANIFEST).write_text(json.dumps({"settings": settings}))
    return path


def test_what_nobody_set_is_what_the_shop_says(tmp_path: Path) -> None:
    model = folder(tmp_path, {"shop": {"session_idle_ms": 7, "time_zone": "Europe/Paris", "name": "x"}})
    worker = for_model(Settings(worker={"model": model, "port": 1})).worker
    assert (worker.session_idle_ms, shop_offset_min(worker, WINTER), shop_offset_min(worker, SUMMER)) == (7, 60, 120)
    assert (worker.model, worker.port) == (model, 1)


def test_what_was_set_stays(tmp_path: Path) -> None:
    model = folder(tmp_path, {"shop": {"session_idle_ms": 7, "time_zone": "Europe/Paris"}})
    given = WorkerSettings(model=model, session_idle_ms=9, utc_offset_min=-30)
    worker = for_model(Settings(worker=given)).worker
    assert (worker.session_idle_ms, shop_offset_min(worker, SUMMER)) == (9, -30)
    named = for_model(Settings(worker={"model": model, "time_zone": "Asia/Tokyo"})).worker
    assert (shop_offset_min(named, SUMMER), named.session_idle_ms) == (540, 7)


@pytest.mark.parametrize("settings", [{}, {"shop": None}, {"shop": {}}, None])
def test_a_folder_that_says_nothing_changes_nothing(tmp_path: Path, settings: Any) -> None:
    given = Settings(worker={"model": folder(tmp_path, settings)})
    assert for_model(given) == given
    assert for_model(Settings()) == Settings()
    assert for_model(Settings(worker={"model": tmp_path / "none"})).worker.session_idle_ms == 1_800_000


@pytest.mark.parametrize("told", [{"session_idle_ms": -1}, {"time_zone": "Nowhere/At_All"}])
def test_what_cannot_be_is_refused(tmp_path: Path, told: dict[str, Any]) -> None:
    model = folder(tmp_path, {"shop": told})
    with pytest.raises(InputError, match=f"{tmp_path}.*{next(iter(told))}"):
        for_model(Settings(worker={"model": model}))


def test_without_a_name_the_minutes_hold() -> None:
    assert shop_offset_min(WorkerSettings(utc_offset_min=90), SUMMER) == 90
    assert shop_offset_min(WorkerSettings(time_zone="UTC", utc_offset_min=90), SUMMER) == 0
