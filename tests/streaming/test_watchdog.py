from __future__ import annotations

from typing import Any

import pytest

from streaming import watchdog
from streaming.exits import Exit
from streaming.watchdog import Progress, Stall, Watchdog


def progress(now: float, **changes: Any) -> Progress:
    idle = {"decided": 5, "unread": 0, "waiting": 0, "committed": 7, "uncommitted": 0, "rebalancing": False}
    return Progress(**{**idle, **changes}, taken_at=now)


def verdicts(*steps: tuple[float, dict[str, Any]], taken_at: float | None = None) -> list[str | None]:
    stall = Stall(limit_s=10)
    return [stall.judge(progress(now if taken_at is None else taken_at, **changes), now) for now, changes in steps]


def test_an_idle_worker_is_not_stuck() -> None:
    assert verdicts((0, {}), (1000, {}), (5000, {})) == [None] * 3


def test_lag_without_progress_is() -> None:
    last = verdicts((0, {"unread": 9}), (9, {"unread": 9}), (11, {"unread": 12}))[-1]
    assert last == "12 records unread and 0 waiting, none worked off for 11 s"


def test_lag_with_progress_is_not() -> None:
    steps = [(now, {"unread": 99, "decided": now}) for now in range(0, 60, 5)]
    assert verdicts(*steps) == [None] * 12


def test_a_batch_that_hangs_is() -> None:
    assert "4 waiting" in str(verdicts((0, {"waiting": 4}), (11, {"waiting": 4}))[-1])


def test_frozen_commits_are() -> None:
    last = verdicts((0, {"uncommitted": 3}), (11, {"uncommitted": 8, "decided": 9}))[-1]
    assert last == "offsets are acknowledged but not committed for 11 s"
    assert verdicts((0, {"uncommitted": 3}), (11, {"uncommitted": 3, "committed": 8}))[-1] is None


def test_a_recovery_without_end_is() -> None:
    assert verdicts((0, {}), (11, {"rebalancing": True}))[-1] == "a rebalance or recovery goes on for 11 s"
    assert verdicts((0, {"rebalancing": True}), (9, {"rebalancing": True}), (12, {}))[-1] is None


def test_an_event_loop_that_stands_still_is() -> None:
    assert verdicts((0, {}), (11, {}), taken_at=0)[-1] == "the event loop stands still for 11 s"


def test_the_thread_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    monkeypatch.setattr(watchdog, "LOOK_S", 0)
    monkeypatch.setattr(watchdog, "die", lambda code, why: ended.append((code, why)))
    dog = Watchdog(lambda: progress(0.0), limit_s=1)  # taken long ago on the monotonic clock
    dog.start()
    dog.join(5)
    assert ended
    assert ended[0][0] is Exit.STUCK
    assert "stands still" in ended[0][1]
