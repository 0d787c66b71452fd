"""What is wrong with a worker: its clock, its engine."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from encoders.text import DummyTextEncoder
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.records import Item
from streaming.settings import Settings
from streaming.torture.mischief import Mischief
from streaming.torture.worker import TroubledEngine

NOW = 1_700_000_000_000


@pytest.fixture
def mischief(tmp_path: Path) -> Mischief:
    return Mischief.of(Settings(worker={"id": "w7", "data_dir": tmp_path / "data"}))  # type: ignore[arg-type]


def _engine(mischief: Mischief) -> TroubledEngine:
    shop = Shop(DummyTextEncoder())
    shop.upsert([Item(item_id="i1", title="kettle"), Item(item_id="i2", title="kettle two")])
    engine = Engine(Settings(no_pseudonyms=True), shop, shop.tables.session_encoder(), Pseudonyms(None))
    return TroubledEngine.of(engine, mischief)


def _event(number: int, event_id: str) -> Event:
    return Event(Source(1, 0, number, NOW), f"s{number}", None, "view", NOW + number, item_id="i1", event_id=event_id)


def test_it_lies_beside_the_data_folder_and_is_read_anew(mischief: Mischief, tmp_path: Path) -> None:
    mischief.look()
    assert (mischief.clock_ms, mischief.errors, mischief.hangs) == (0, False, False)
    Mischief.of(Settings(worker={"id": "w7", "data_dir": tmp_path / "data"})).put(clock_ms=-5, errors=True)  # type: ignore[arg-type]
    assert (tmp_path / "w7.mischief").exists()
    mischief.look()
    assert (mischief.clock_ms, mischief.errors, mischief.hangs) == (-5, True, False)


def test_a_clock_jumps_and_comes_right(mischief: Mischief, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", time.time)  # put back afterwards
    monkeypatch.setattr(time, "time_ns", time.time_ns)
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    right, right_ns = time.time, time.time_ns
    mischief.watch()
    assert abs(time.time() - right()) < 1
    mischief.clock_ms = 1_800_000
    assert time.time() - right() == pytest.approx(1800, abs=1)
    assert (time.time_ns() - right_ns()) / 1e9 == pytest.approx(1800, abs=1)
    mischief.clock_ms = 0
    assert abs(time.time() - right()) < 1


def test_an_engine_fails_on_batches_or_on_what_is_cursed(mischief: Mischief) -> None:
    engine = _engine(mischief)
    two: list[Any] = [_event(1, "e1"), _event(2, "e2")]
    assert len(engine.step(two, {})[1]) == 2
    mischief.errors = True
    with pytest.raises(RuntimeError, match="told to fail on 2 events"):
        engine.step(two, {})
    assert len(engine.step(two[:1], {})[1]) == 1
    mischief.errors = False
    with pytest.raises(RuntimeError, match="cursed"):
        engine.step([_event(3, "cursed-e3")], {})


def test_an_engine_hangs_until_it_is_let_go(mischief: Mischief) -> None:
    engine = _engine(mischief)
    mischief.hangs = True
    done = threading.Event()
    thread = threading.Thread(target=lambda: (engine.step([_event(1, "e1")], {}), done.set()), daemon=True)
    thread.start()
    assert not done.wait(0.5)
    mischief.hangs = False
    assert done.wait(5)
