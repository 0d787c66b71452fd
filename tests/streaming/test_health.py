"""What a worker says of itself: right within seconds, with the reason, and right again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streaming import health as module
from streaming.health import DOING, RECENT_S, SLOW_S, TICKS, Health, Standing
from streaming.ladder import Ladder
from streaming.telemetry import Metrics

FLOWS = Standing(catalogue_read=True, rebalancing=False, flowing=True)


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def worker(hands: Hands, metrics: Metrics, tmp_path: Path) -> Callable[..., Health]:
    def make(standing: Standing = FLOWS, stuck: str | None = None, ladder: Ladder | None = None) -> Health:
        given: dict[str, Any] = {"standing": lambda: standing, "stuck": lambda: stuck}
        health = Health(metrics, ladder or Ladder(0), deadline_s=60, folder=tmp_path, clock=hands, **given)
        health.beats()
        return health

    return make


def test_a_worker_that_works_says_so(worker: Callable[..., Health]) -> None:
    health = worker()
    assert (health.not_alive(), health.not_ready(), health.not_full()) == (None, None, None)


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Standing(False, True, False), "reading the catalogue"),
        (Standing(True, True, False), "rebalancing"),
        (Standing(True, False, False), "partitions held back"),
    ],
)
def test_on_its_way_it_is_alive_and_not_ready(worker: Callable[..., Health], standing: Standing, reason: str) -> None:
    health = worker(standing)
    assert (health.not_alive(), health.not_ready()) == (None, reason)


def test_a_silent_event_loop_is_not_ready_at_once_and_not_alive_after_the_deadline(
    worker: Callable[..., Health], hands: Hands
) -> None:
    health = worker()
    hands.now += SLOW_S
    assert health.not_ready() is None
    hands.now += 3
    assert (health.not_alive(), health.not_ready()) == (None, "the event loop has not answered for 6 s")
    hands.now += 60
    assert health.not_alive() == "the event loop has not answered for 66 s"
    health.beats()
    assert (health.not_alive(), health.not_ready()) == (None, None)


def test_what_the_watchdog_ends_is_not_alive(worker: Callable[..., Health]) -> None:
    health = worker(stuck="offsets are acknowledged but not committed for 11 s")
    assert health.not_alive() == health.not_ready() == "offsets are acknowledged but not committed for 11 s"


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("step", "the engine has not come back for 5 s"),
        ("changelog", "the brokers have not confirmed a state for 5 s"),
        ("outputs", "the brokers have not confirmed an output for 5 s"),
        ("local", "a batch has been in its stage local for 5 s"),
    ],
)
def test_a_stage_that_does_not_end_is_not_ready(
    worker: Callable[..., Health],
    metrics: Metrics,
    hands: Hands,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    reason: str,
) -> None:
    monkeypatch.setattr("streaming.telemetry.time.monotonic", hands)
    health = worker()
    with metrics.stage(stage):
        hands.now += SLOW_S
        health.beats()
        assert health.not_ready() is None
        hands.now += 2
        health.beats()
        assert (health.not_ready(), health.not_alive()) == (reason, None)
    assert health.not_ready() is None


def test_a_tick_that_is_not_confirmed_is_not_ready(worker: Callable[..., Health], hands: Hands) -> None:
    health = worker()
    with health.waiting(TICKS):
        hands.now += 4
        health.beats()
        assert health.not_ready() == DOING[TICKS].format(4)
    assert health.not_ready() is None


def test_a_level_below_full_is_told(worker: Callable[..., Health]) -> None:
    ladder = Ladder(100)
    health = worker(ladder=ladder)
    ladder.settle(500, 1)
    assert health.not_full() == "level popular: events waited for 500 ms, the budget is 100 ms"
    assert health.not_ready() is None


def test_an_engine_that_failed_is_told_for_a_while(
    worker: Callable[..., Health], metrics: Metrics, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.telemetry.time.monotonic", hands)
    health = worker()
    metrics.engine_failed([])
    assert health.not_full() is None
    metrics.engine_failed([RuntimeError("first"), RuntimeError("told to fail")])
    hands.now += 2
    assert health.not_full() == "the engine failed 2 s ago: RuntimeError('told to fail')"
    assert b"beforehand_engine_failures_total 2.0" in metrics.page()
    hands.now += RECENT_S
    assert health.not_full() is None


def test_a_disk_that_is_nearly_full_and_what_could_not_be_kept_are_told(
    worker: Callable[..., Health], monkeypatch: pytest.MonkeyPatch
) -> None:
    health = worker()
    health.unkept = "what was learned cannot be kept in /data: No space left"
    monkeypatch.setattr(module, "LEAST_FREE_BYTES", shutil.disk_usage("/").total * 1000)
    health.beats()
    told = str(health.not_full())
    assert told.startswith("what was learned cannot be kept in /data: No space left; ")
    assert " MB left on the disk of " in told
    monkeypatch.setattr(module, "LEAST_FREE_BYTES", 0)
    health.beats()
    health.unkept = None
    assert health.not_full() is None


def test_a_data_folder_that_is_gone_is_told(worker: Callable[..., Health], tmp_path: Path) -> None:
    health = worker()
    tmp_path.rmdir()
    health.beats()
    assert str(health.not_full()).startswith("the data folder cannot be looked at")
