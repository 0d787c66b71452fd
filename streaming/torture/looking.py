"""Looking at the workers' pages all through a run: what they say of themselves, once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from streaming.worker_process import WorkerProcess, metric

EVERY_S = 1.0
PATIENCE_S = 2.0
"""For one page; a worker that is paused, or that is no more, does not answer."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one process said at one moment."""

    at: float
    """Of `time.monotonic`, in s."""
    pid: int
    live: str | None
    """None: it says yes. Else the reason."""
    ready: str | None
    full: str | None
    partitions: int
    """That it owns."""
    batches: int
    """Batches that were decided, delivered and kept. One a second at least where it owns partitions, for it ticks."""
    failures: int
    """Steps in which its engine failed."""

    @property
    def level(self) -> str | None:
        """That it is at a level below `full`, in its words."""
        return self.full if self.full is not None and self.full.startswith("level ") else None


@dataclass(slots=True)
class Looks:
    """All that was seen of the workers, by their names, oldest first."""

    seen: dict[str, list[Look]] = field(default_factory=dict)
    silent: int = 0
    """Looks that nobody answered. That is no untruth."""

    @property
    def count(self) -> int:
        """Looks that were answered."""
        return sum(len(looks) for looks in self.seen.values())


class Looker:
    """A thread for each worker, from `start` to `stop`."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self.looks = Looks({worker.settings.worker.id: [] for worker in workers})
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(worker,), name="torture-looker", daemon=True)
            for worker in workers
        ]

    def start(self) -> None:
        """From now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> Looks:
        """No longer; what was seen."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.looks

    def _watch(self, worker: WorkerProcess) -> None:
        while not self._over.wait(EVERY_S):
            if not worker.running:
                continue
            try:
                self.looks.seen[worker.settings.worker.id].append(look(worker))
            except (OSError, ValueError):
                self.looks.silent += 1


def look(worker: WorkerProcess) -> Look:
    """At one worker, now.

    Raises:
        OSError: its pages are not up, or do not answer.
        ValueError: it does not run.
    """
    pid, at = worker.pid, time.monotonic()
    page = worker.page("/metrics", PATIENCE_S)  # first: what it counts, the others have to tell of
    live, ready, full = (worker.says_no(page, PATIENCE_S) for page in ("/live", "/ready", "/full"))
    if worker.pid != pid:
        raise ValueError(f"process {pid} is no more")
    counts = ("beforehand_partitions", "beforehand_batches_total", "beforehand_engine_failures_total")
    partitions, batches, failures = (int(metric(page, name)) for name in counts)
    return Look(at, pid, live, ready, full, partitions, batches, failures)
