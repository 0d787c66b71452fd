"""Sees a worker that is alive but gets nothing done, and ends it, so that its supervisor starts a new one.

A thread of its own: a blocked event loop or a hung model cannot keep it from looking.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streaming.exits import Exit, die

LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What the worker has done so far, at one moment."""

    decided: int
    """Events worked off."""
    unread: int
    """Records of its partitions that it has not read."""
    waiting: int
    """Events read and not worked off."""
    committed: int
    """Sum of the committed offsets of its partitions."""
    uncommitted: int
    """Events acknowledged and not committed yet."""
    rebalancing: bool
    """A rebalance or a recovery is under way."""
    taken_at: float
    """When this was noted, by the event loop, in seconds of a monotonic clock."""


class Stall:
    """Judges a sequence of `Progress`: the reason why the worker is stuck, or none.

    >>> stall = Stall(limit_s=10)
    >>> stuck = Progress(decided=5, unread=3, waiting=0, committed=5, uncommitted=0, rebalancing=False, taken_at=9.0)
    >>> stall.judge(stuck, now=0.0), stall.judge(stuck, now=11.0)
    (None, '3 records unread and 0 waiting, none worked off for 11 s')
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._decided = self._committed = -1
        self._worked = self._caught_up = self._steady = float("-inf")

    def judge(self, progress: Progress, now: float) -> str | None:
        """Look at `progress` at the time `now`, in seconds of a monotonic clock."""
        if self._worked == float("-inf"):
            self._worked = self._caught_up = self._steady = now
        if progress.decided != self._decided or not (progress.unread or progress.waiting) or progress.rebalancing:
            self._decided, self._worked = progress.decided, now
        if progress.committed != self._committed or not progress.uncommitted or progress.rebalancing:
            self._committed, self._caught_up = progress.committed, now
        if not progress.rebalancing:
            self._steady = now
        if now - progress.taken_at > self._limit_s:
            return f"the event loop stands still for {now - progress.taken_at:.0f} s"
        if now - self._worked > self._limit_s:
            seconds = f"{now - self._worked:.0f} s"
            return f"{progress.unread} records unread and {progress.waiting} waiting, none worked off for {seconds}"
        if now - self._caught_up > self._limit_s:
            return f"offsets are acknowledged but not committed for {now - self._caught_up:.0f} s"
        if now - self._steady > self._limit_s:
            return f"a rebalance or recovery goes on for {now - self._steady:.0f} s"
        return None


class Watchdog(threading.Thread):
    """Asks for the progress once a second and ends the process with `Exit.STUCK` when it stalls."""

    def __init__(self, look: Callable[[], Progress], limit_s: float) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._look = look
        self._stall = Stall(limit_s)
        self.reason: str | None = None

    def run(self) -> None:
        """Look until the process ends."""
        while self.reason is None:
            time.sleep(LOOK_S)
            self.reason = self._stall.judge(self._look(), time.monotonic())
        die(Exit.STUCK, self.reason)
