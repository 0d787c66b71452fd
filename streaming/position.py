"""How far a replay got: what the broker has confirmed without a gap, kept in a file."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from streaming.errors import InputError


class Watermark:
    """The count of records confirmed without a gap, while confirmations come in any order. Thread-safe."""

    def __init__(self, confirmed: int = 0) -> None:
        self._lock = threading.Lock()
        self._ahead: set[int] = set()
        self._confirmed = confirmed

    @property
    def confirmed(self) -> int:
        """All records below this number are confirmed."""
        return self._confirmed

    def confirm(self, number: int) -> None:
        """Record `number` is confirmed."""
        with self._lock:
            self._ahead.add(number)
            while self._confirmed in self._ahead:
                self._ahead.discard(self._confirmed)
                self._confirmed += 1


class PositionFile:
    """A small JSON file beside a replay: what was replayed, and how far. Written whole or not at all."""

    def __init__(self, path: Path, what: dict[str, object]) -> None:
        """`what` says which records are numbered: the log, where it begins, how many there are, where they go."""
        self._path = path
        self._what = what

    def load(self) -> int:
        """Records confirmed so far; 0 where there is no file yet.

        Raises:
            InputError: the file is of another replay, or no such file at all.
        """
        try:
            kept = json.loads(self._path.read_text())
            confirmed, what = kept["confirmed"], kept["what"]
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise InputError(f"{self._path} is no position of a replay ({exc}); remove it to begin anew") from exc
        if what != self._what:
            raise InputError(
                f"{self._path} is the position of another replay ({what}, expected {self._what}); name another file,"
                " or remove this one to begin anew"
            )
        return int(confirmed)

    def save(self, confirmed: int) -> None:
        """Keep the count.

        Raises:
            InputError: the file cannot be written.
        """
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.write_text(json.dumps({"confirmed": confirmed, "what": self._what}) + "\n")
            os.replace(beside, self._path)
        except OSError as exc:
            raise InputError(f"{self._path} cannot be written ({exc.strerror}); name another file by --resume") from exc
