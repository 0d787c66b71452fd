"""What is wrong with a worker under torture, told through a file beside its data folder."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from streaming.settings import Settings

LOOK_S = 0.1


class Mischief:
    """What is wrong with a worker now, as its file says; the file is written by `put`, outside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.clock_ms = 0
        """By how much its clock is wrong."""
        self.errors = False
        """The engine fails on each batch of more than one event."""
        self.hangs = False
        """The engine does not come back."""

    @classmethod
    def of(cls, settings: Settings) -> Mischief:
        """That of one worker."""
        worker = settings.worker
        return cls(worker.data_dir.with_name(f"{worker.id}.mischief"))

    def put(self, *, clock_ms: int = 0, errors: bool = False, hangs: bool = False) -> None:
        """Has it done, from a tenth of a second later on."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"clock_ms": clock_ms, "errors": errors, "hangs": hangs}))
        fresh.replace(self._path)

    def look(self) -> None:
        """Read the file anew; where there is none, nothing is wrong."""
        told = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.clock_ms = told.get("clock_ms", 0)
        self.errors, self.hangs = told.get("errors", False), told.get("hangs", False)

    def watch(self) -> None:
        """Look for ever, in a thread of its own; from now on `time.time` and `time.time_ns` are as wrong as told."""
        wall, wall_ns = time.time, time.time_ns
        time.time = lambda: wall() + self.clock_ms / 1000
        time.time_ns = lambda: wall_ns() + self.clock_ms * 1_000_000

        def watching() -> None:
            while True:
                self.look()
                time.sleep(LOOK_S)

        threading.Thread(target=watching, name="mischief", daemon=True).start()
