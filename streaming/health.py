"""What a worker says of itself: alive, ready, full; each with the reason where it is not.

| page | no means | what for |
|---|---|---|
| `/live` | it gets nothing done, and will not by itself | end the process |
| `/ready` | events are not being decided now | wait; alert where it lasts |
| `/full` | they are, but with less work than they should have, or not for long | look |

What is under way for longer than `SLOW_S` counts as standing still: the engine, the brokers' confirmation, the event
loop. So each page is right within `SLOW_S` and the second between two beats, and right again as soon as the matter is
over; only failures that were got over are told for `RECENT_S` more. It is asked from other threads than those that it
asks about, so that it answers when they do not.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from streaming.ladder import Ladder
from streaming.telemetry import Metrics

SLOW_S = 3.0
"""A step that takes longer is one that does not come back."""
RECENT_S = 10.0
"""For how long after it a failure that was got over is told."""
LEAST_FREE_BYTES = 64_000_000
"""Of the data folder's disk."""
TICKS = "ticks"
DOING: Mapping[str, str] = {
    "step": "the engine has not come back for {:.0f} s",
    "changelog": "the brokers have not confirmed a state for {:.0f} s",
    "outputs": "the brokers have not confirmed an output for {:.0f} s",
    TICKS: "the brokers have not confirmed a tick for {:.0f} s",
}
"""What it means that a stage of a batch is under way for long; the others read and write memory and the local disk."""
OTHERWISE = "a batch has been in its stage {} for {:.0f} s"


class Standing(NamedTuple):
    """Where a worker is on its way to deciding events."""

    catalogue_read: bool
    rebalancing: bool
    flowing: bool
    """Its partitions are let through."""


class Health:
    """One worker's. Time comes in as a clock of seconds that does not jump."""

    def __init__(
        self,
        metrics: Metrics,
        ladder: Ladder,
        *,
        standing: Callable[[], Standing],
        stuck: Callable[[], str | None],
        deadline_s: float,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            stuck: why the watchdog ends the process, or none.
            deadline_s: for how long the event loop may be silent before the process should be ended from outside.
            folder: the data folder.
        """
        self._metrics, self._ladder = metrics, ladder
        self._standing, self._stuck, self._clock = standing, stuck, clock
        self._deadline_s, self._folder = deadline_s, folder
        self._beat = clock()
        self._waiting: dict[str, float] = {}
        self.unkept: str | None = None
        """Why what was learned could not be kept, last time."""
        self._disk: str | None = None

    def beats(self) -> None:
        """The event loop is there. Call it about once a second."""
        self._beat = self._clock()
        self._disk = _little_room(self._folder)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Beside a batch something is under way: a key of `DOING`."""
        self._waiting[what] = self._clock()
        try:
            yield
        finally:
            del self._waiting[what]

    # --------------------------------------------------------------------------------------------------- the pages
    def not_alive(self) -> str | None:
        """Why the process should be ended from outside, or none."""
        silent = self._clock() - self._beat
        if silent > self._deadline_s:
            return f"the event loop has not answered for {silent:.0f} s"
        return self._stuck()

    def not_ready(self) -> str | None:
        """Why events are not being decided, or none."""
        catalogue_read, rebalancing, flowing = self._standing()
        if not catalogue_read:
            return "reading the catalogue"
        if rebalancing:
            return "rebalancing"
        if not flowing:
            return "partitions held back"
        return self.not_alive() or self.standstill()

    def standstill(self) -> str | None:
        """What has not come back, or none."""
        now = self._clock()
        if now - self._beat > SLOW_S + 1:
            return f"the event loop has not answered for {now - self._beat:.0f} s"
        under_way = [*self._waiting.copy().items(), *([self._metrics.under_way] if self._metrics.under_way else [])]
        for stage, since in sorted(under_way, key=lambda each: each[1]):
            if now - since > SLOW_S:
                return DOING[stage].format(now - since) if stage in DOING else OTHERWISE.format(stage, now - since)
        return None

    def not_full(self) -> str | None:
        """What is left out or will not go on for long, all of it, or none."""
        return (
            "; ".join(reason for reason in (self._ladder.reason, self._failing(), self.unkept, self._disk) if reason)
            or None
        )

    def _failing(self) -> str | None:
        failure = self._metrics.engine_failure
        if failure is None:
            return None
        ago = self._clock() - failure[0]
        return f"the engine failed {ago:.0f} s ago: {failure[1]}" if ago <= RECENT_S else None


def _little_room(folder: Path) -> str | None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as exc:
        return f"the data folder cannot be looked at: {exc}"
    return f"{free / 1e6:.0f} MB left on the disk of {folder}" if free < LEAST_FREE_BYTES else None
