"""The workers under torture; one that ended by itself is started again, as systemd would."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

from streaming.settings import Settings
from streaming.worker_process import WorkerProcess
from tests.torture.plan import Profile

RESTART_S = 0.5
"""Pause before a worker that ended is started again."""


class Fleet:
    """`profile.workers` workers, of which some are wanted."""

    def __init__(self, settings: Settings, profile: Profile, folder: Path) -> None:
        command = ["-m", "streaming", "worker"]
        if profile.without:
            command = ["-m", "tests.torture.worker_without", *sorted(profile.without)]
        self.workers = [WorkerProcess(_its_own(settings, folder, n), folder, command) for n in range(profile.workers)]
        self.wanted: set[WorkerProcess] = set()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="torture-supervisor", daemon=True)

    def __enter__(self) -> Fleet:
        self._supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._supervisor.join()
        for worker in self.workers:
            worker.kill()

    @property
    def resting(self) -> list[WorkerProcess]:
        """Workers that are not wanted now."""
        return [worker for worker in self.workers if worker not in self.wanted]

    def start(self, worker: WorkerProcess, *, empty: bool = False) -> None:
        """From now on this worker is to run."""
        with self._lock:
            worker.start(empty=empty)
            self.wanted.add(worker)

    def leave(self, worker: WorkerProcess) -> None:
        """A clean stop; it rests afterwards."""
        with self._lock:
            self.wanted.discard(worker)
        worker.stop()

    def kill(self, worker: WorkerProcess, *, empty: bool, after_s: float) -> None:
        """kill -9, and a new start a moment later."""
        with self._lock:
            worker.kill()
            time.sleep(after_s)
            worker.start(empty=empty)

    def pause(self, worker: WorkerProcess, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        worker.signal(signal.SIGSTOP)
        time.sleep(seconds)
        worker.signal(signal.SIGCONT)

    def wait_ready(self, seconds: float) -> None:
        """Waits until all wanted workers are ready at the same time."""
        end = time.monotonic() + seconds
        while not all(worker.ready() for worker in self.wanted):
            if time.monotonic() > end:
                late = [w.settings.worker.id for w in self.wanted if not w.ready()]
                raise TimeoutError(f"workers {late} not ready in {seconds} s:\n{self.workers[0].tail()}")
            time.sleep(0.2)

    def states(self, partitions: int, seconds: float = 60) -> dict[str, bytes]:
        """All session states as the workers hold them, once each partition is with exactly one of them."""
        end = time.monotonic() + seconds
        while True:
            try:
                answers = [worker.states() for worker in self.wanted]
            except (OSError, ValueError) as exc:
                answers, why = [], repr(exc)
            else:
                owned = sorted(p for answer in answers for p in answer["partitions"])
                if owned == list(range(partitions)):
                    return _joined(answers)
                why = f"partitions {owned} are owned, expected each of {partitions} once"
            if time.monotonic() > end:
                raise TimeoutError(f"the workers do not tell their states: {why}")
            time.sleep(0.5)

    def stop(self) -> None:
        """A clean stop of all."""
        for worker in list(self.wanted):
            self.leave(worker)

    def _supervise(self) -> None:
        while not self._over.wait(0.2):
            for worker in self.workers:
                with self._lock:
                    if worker in self.wanted and worker.reap() is not None and not self._over.wait(RESTART_S):
                        worker.start()


def _its_own(settings: Settings, folder: Path, number: int) -> Settings:
    worker = settings.worker.model_copy(update={"id": f"w{number}", "data_dir": folder / f"data-w{number}"})
    return settings.model_copy(update={"worker": worker})


def _joined(answers: list[dict[str, Any]]) -> dict[str, bytes]:
    return {session: bytes.fromhex(state) for answer in answers for session, state in answer["states"].items()}
