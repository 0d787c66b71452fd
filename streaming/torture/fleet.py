"""The workers under torture; one that ended by itself is started again, as systemd would."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streaming.errors import BeforehandError
from streaming.settings import Settings
from streaming.torture.looking import Look, look
from streaming.torture.mischief import Mischief
from streaming.torture.plan import Profile
from streaming.worker_process import WorkerProcess

RESTART_S = 0.5
"""Pause before a worker that ended is started again."""
READY_S = 20.0
"""How long a worker that was killed is waited for; then the next harm is done, ready or not."""
FULL_BYTES = 4096
"""Beyond this no file can be written where the disk is full."""
ENDS_S = 15.0
"""How long a worker may go on with a full disk; one that has nothing to write does."""
WORKER = ("-m", "streaming.torture.worker")
"""After the interpreter."""


class Fleet:
    """`profile.workers` workers, of which some are wanted."""

    def __init__(self, settings: Settings, profile: Profile, folder: Path, command: Sequence[str] = WORKER) -> None:
        """`command`: what is run as a worker, after the interpreter."""
        self._deadline_s = profile.deadline_s
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
            self._begin(worker, empty=empty)
            self.wanted.add(worker)

    def leave(self, worker: WorkerProcess) -> None:
        """A clean stop; it rests afterwards."""
        with self._lock:
            self.wanted.discard(worker)
        worker.stop()

    def kill(self, worker: WorkerProcess, *, empty: bool, after_s: float) -> None:
        """kill -9, and a new start a moment later; waits until it is ready, or for 20 s."""
        with self._lock:
            worker.kill()
            time.sleep(after_s)
            self._begin(worker, empty=empty)
        self._until(worker.ready, READY_S)

    def pause(self, worker: WorkerProcess, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        worker.signal(signal.SIGSTOP)
        time.sleep(seconds)
        worker.signal(signal.SIGCONT)

    def fill_disk(self, worker: WorkerProcess) -> None:
        """Every file of this process is as long as it may be, until the process has ended, or for a while."""
        pid = worker.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
        if not self._until(lambda: not worker.running or worker.pid != pid, ENDS_S):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def jump(self, worker: WorkerProcess, clock_ms: int, seconds: float) -> None:
        """Its clock is wrong for a while."""
        self._trouble(worker, seconds, clock_ms=clock_ms)

    def fail(self, worker: WorkerProcess, seconds: float) -> None:
        """Its engine fails on whatever is more than one event, for a while."""
        self._trouble(worker, seconds, errors=True)

    def hang(self, worker: WorkerProcess) -> None:
        """Its engine does not come back: the process has to end itself, and is started again."""
        pid = worker.pid
        Mischief.of(worker.settings).put(hangs=True)
        self._until(lambda: not worker.running or worker.pid != pid, self._deadline_s + ENDS_S)
        Mischief.of(worker.settings).put()

    def _trouble(self, worker: WorkerProcess, seconds: float, *, clock_ms: int = 0, errors: bool = False) -> None:
        mischief = Mischief.of(worker.settings)
        mischief.put(clock_ms=clock_ms, errors=errors)
        time.sleep(seconds)
        mischief.put()

    @staticmethod
    def _begin(worker: WorkerProcess, *, empty: bool = False) -> None:
        """Started with nothing wrong."""
        Mischief.of(worker.settings).put()
        worker.start(empty=empty)

    @staticmethod
    def _until(so: Callable[[], bool], seconds: float) -> bool:
        """Whether it is so within the time."""
        end = time.monotonic() + seconds
        while not so():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def wait_ready(self, seconds: float) -> None:
        """Waits until all wanted workers are ready at the same time."""
        if not self._until(lambda: all(worker.ready() for worker in self.wanted), seconds):
            late = [worker.settings.worker.id for worker in self.wanted if not worker.ready()]
            raise BeforehandError(f"workers {late} not ready in {seconds} s:\n{self.workers[0].tail()}")

    def at_rest(self, seconds: float) -> dict[str, Look | None]:
        """What each worker that is wanted says when all of them do all of the work again, or when so much time is over;
        none: it does not answer."""
        looks: dict[str, Look | None] = {}

        def in_full() -> bool:
            looks.update({worker.settings.worker.id: _look(worker) for worker in self.wanted})
            return not any(each and each.level for each in looks.values())

        self._until(in_full, seconds)
        return looks

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
                raise BeforehandError(f"the workers do not tell their states: {why}")
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
                        self._begin(worker)


def _look(worker: WorkerProcess) -> Look | None:
    try:
        return look(worker)
    except (OSError, ValueError):
        return None


def _its_own(settings: Settings, folder: Path, number: int) -> Settings:
    worker = settings.worker.model_copy(update={"id": f"w{number}", "data_dir": folder / f"data-w{number}"})
    return settings.model_copy(update={"worker": worker})


def _joined(answers: list[dict[str, Any]]) -> dict[str, bytes]:
    return {session: bytes.fromhex(state) for answer in answers for session, state in answer["states"].items()}
