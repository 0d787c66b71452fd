"""A worker as a process of its own, as people run it: started, asked, paused and killed by its process id."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from streaming.child import Child
from streaming.errors import BeforehandError
from streaming.pages import FILE
from streaming.settings import Settings

TAIL = 6000
"""Characters of a log that a failure shows."""


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment with every setting of `settings` in it, and no other.

    >>> environment(Settings(brokers="a:1,b:2"))["BEFOREHAND_BROKERS"]
    'a:1,b:2'
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BEFOREHAND_") or k == "BEFOREHAND_KAFKA_HOME"}
    return clean | dict(_flat("BEFOREHAND_", settings))


def _flat(prefix: str, group: BaseModel) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, BaseModel):
            rows += _flat(f"{prefix}{name}__".upper(), value)
        elif value is not None:
            if isinstance(value, tuple):
                value = ",".join(value)
            elif isinstance(value, SecretStr):
                value = value.get_secret_value()
            rows.append((f"{prefix}{name}".upper(), str(value)))
    return rows


class WorkerProcess:
    """One worker with its own data folder. `command` replaces `python -m streaming worker`."""

    def __init__(
        self, settings: Settings, folder: Path, command: Sequence[str] = ("-m", "streaming", "worker")
    ) -> None:
        self.settings = settings
        self.data_dir = settings.worker.data_dir
        self.log = folder / f"{settings.worker.id}.log"
        self.exits: list[int] = []
        """Exit codes of this worker's processes that ended, oldest first; negative: a signal."""
        self._command = command
        self._process: Child | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last and not collected."""
        if self._process is None:
            raise ValueError(f"worker {self.settings.worker.id} does not run; start it")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._process is not None and self._process.exit_code is None

    def start(self, *, empty: bool = False) -> WorkerProcess:
        """Starts it; with `empty`, from an emptied data folder. Returns at once: see `wait_ready`."""
        if empty:
            shutil.rmtree(self.data_dir, ignore_errors=True)
        (self.data_dir / FILE).unlink(missing_ok=True)
        self._process = Child([sys.executable, *self._command], self.log, environment(self.settings))
        return self

    def wait_ready(self, seconds: float = 60) -> WorkerProcess:
        """Waits until `/ready` says yes.

        Raises:
            BeforehandError: the process ended, or was not ready in time; shows the log's end.
        """
        end = time.monotonic() + seconds
        while not self.ready():
            if not self.running:
                raise BeforehandError(f"worker {self.settings.worker.id} ended with {self._code()}:\n{self.tail()}")
            if time.monotonic() > end:
                raise BeforehandError(f"worker {self.settings.worker.id} not ready in {seconds} s:\n{self.tail()}")
            time.sleep(0.1)
        return self

    def ready(self) -> bool:
        """Whether the process takes events."""
        try:
            self.page("/ready")
        except (OSError, ValueError):  # no pages yet, or 503
            return False
        return True

    def page(self, path: str, timeout: float = 10) -> str:
        """One of the worker's pages, such as `/metrics`.

        Raises:
            OSError: the pages are not up, answer with an error, or break off: the process ended.
        """
        where = json.loads((self.data_dir / FILE).read_text())
        if where["pid"] != self.pid:
            raise OSError(f"pages.json is of process {where['pid']}, not {self.pid}")
        with urllib.request.urlopen(f"http://127.0.0.1:{where['port']}{path}", timeout=timeout) as answer:
            try:
                return str(answer.read().decode())
            except http.client.IncompleteRead as exc:
                raise ConnectionResetError(f"{path} broke off: {exc}") from exc

    def says_no(self, path: str, timeout: float = 10) -> str | None:
        """The reason on a page such as `/ready`; none where it says yes.

        Raises:
            OSError: the pages are not up, or do not answer.
        """
        try:
            self.page(path, timeout)
        except urllib.error.HTTPError as refused:
            with refused:
                return str(refused.read().decode()).strip()
        return None

    def states(self) -> dict[str, Any]:
        """What this worker owns: `{"partitions": [...], "states": {pseudonym: state in hex}}`."""
        return dict(json.loads(self.page("/states", timeout=30)))

    def signal(self, number: signal.Signals) -> None:
        """Sends the process a signal; SIGSTOP pauses it, SIGCONT lets it go on."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        self._collect(30)

    def stop(self, seconds: float = 40) -> int:
        """A clean stop by SIGTERM; returns the exit code. One that hangs is killed: `exits` ends with -9."""
        self.signal(signal.SIGCONT)
        if self._process is not None:
            self._process.stop(seconds)
        return self._collect(1)

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-TAIL:] if self.log.exists() else "(no log)"

    def reap(self) -> int | None:
        """The exit code where the process ended by itself since the last look; it is noted in `exits`."""
        if self._process is None or self._process.exit_code is None:
            return None
        return self._collect(1)

    def _code(self) -> int | None:
        return None if self._process is None else self._process.exit_code

    def _collect(self, seconds: float) -> int:
        if self._process is None:
            return self.exits[-1] if self.exits else 0
        code = self._process.wait(seconds)
        if code is None:
            raise BeforehandError(f"worker {self.settings.worker.id}, process {self.pid}, does not end")
        self.exits.append(code)
        self._process = None
        return code


def metric(page: str, name: str, labels: Mapping[str, str] | None = None) -> float:
    """The sum of one metric's samples on a Prometheus page, of those with all of `labels`; 0 without any.

    >>> metric('a_total{kind="x"} 2.0\\na_total{kind="y"} 3.0\\n', "a_total", {"kind": "y"})
    3.0
    """
    wanted = [f'{k}="{v}"' for k, v in (labels or {}).items()]
    total = 0.0
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(label in series for label in wanted):
            total += float(value)
    return total
