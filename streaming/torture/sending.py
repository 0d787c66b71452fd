"""The producer under torture: a process of its own, that notes what it begins to send and what the broker confirmed.

    python -m streaming.torture.sending FOLDER

In FOLDER it finds `profile.json`, and `orders.json`: how much faster than the profile's rate it is to send, and whether
it is to end. It writes `begun`, a number a line: payloads up to that number may be on their way; and `confirmed`, the
name of a payload a line. Killed and started again it goes on after what it had begun, as a site does that does not know
what became of its last events.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from streaming.child import Child
from streaming.errors import BeforehandError
from streaming.settings import Settings
from streaming.torture.plan import Profile
from streaming.torture.traffic import Payloads, client
from streaming.worker_process import environment

AHEAD = 50
"""Payloads that are noted as begun at once."""
PROFILE, ORDERS, BEGUN, CONFIRMED = "profile.json", "orders.json", "begun", "confirmed"
FINISH_S = 180.0


@dataclass(slots=True)
class Sent:
    """What was sent, by name and how often."""

    confirmed: Counter[str] = field(default_factory=Counter)
    """The broker said so."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Begun, and nobody knows: the producer was killed, or the broker did not answer."""


class Producer:
    """That process, from outside."""

    def __init__(self, settings: Settings, profile: Profile, folder: Path) -> None:
        self._settings, self._profile, self._folder = settings, profile, folder / "producer"
        self._folder.mkdir()
        (self._folder / PROFILE).write_text(json.dumps(asdict(profile)))
        self._order(1.0)
        self._process: Child | None = None

    def start(self) -> None:
        """From now on it sends."""
        command = [sys.executable, "-m", "streaming.torture.sending", str(self._folder)]
        self._process = Child(command, self._folder / "log", environment(self._settings))

    def kill(self) -> None:
        """kill -9, and a new start."""
        process = self._running()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        self.start()

    def faster(self, factor: float) -> None:
        """So many times the profile's rate from now on."""
        self._order(factor)

    def finish(self) -> Sent:
        """Ends it once all is confirmed; gives what was sent.

        Raises:
            BeforehandError: it ended by itself, or does not end.
        """
        process = self._running()
        self._order(0.0, end=True)
        code = process.wait(FINISH_S)
        if code != 0:
            raise BeforehandError(f"the producer ended with {code} (none: it did not end):\n{process.tail()}")
        return sent(self._folder, self._profile)

    def stop(self) -> None:
        """Ends it, whatever it does."""
        if self._process is not None:
            self._process.stop(0)

    def _running(self) -> Child:
        if self._process is None:
            raise BeforehandError("the producer was never started")
        self._process.check("the producer")
        return self._process

    def _order(self, factor: float, *, end: bool = False) -> None:
        fresh = self._folder / f"{ORDERS}.new"
        fresh.write_text(json.dumps({"factor": factor, "end": end}))
        fresh.replace(self._folder / ORDERS)


def sent(folder: Path, profile: Profile) -> Sent:
    """Out of the notes of the process."""
    begun = Counter[str]()
    payloads = Payloads(profile)
    for _ in range(_last(folder / BEGUN)):
        begun[payloads.next(1).name] += 1
    confirmed = Counter(_lines(folder / CONFIRMED))
    return Sent(confirmed, begun - confirmed)


def run(folder: Path, settings: Settings, profile: Profile) -> None:
    """Sends until it is told to end; returns when all is confirmed or given up.

    It notes what it begins before it sends it, and what is confirmed after it is; each note is with the kernel before
    it goes on, so that kill -9 takes none back.
    """
    payloads, begun = Payloads(profile), _last(folder / BEGUN)
    payloads.skip(begun, _now())
    producer, done = client(settings), begun
    pending: list[Any] = []
    credit, last = 0.0, time.monotonic()
    with _going_on(folder / BEGUN) as begins, _going_on(folder / CONFIRMED) as confirmations:

        def confirmed(name: str) -> None:
            confirmations.write(name + "\n")
            confirmations.flush()

        orders = {"factor": 1.0, "end": False}
        while not orders["end"]:
            orders = json.loads((folder / ORDERS).read_text())
            now = time.monotonic()
            credit, last = credit + (now - last) * profile.rate * orders["factor"], now
            while credit >= 1:
                if done == begun:
                    begun += AHEAD
                    begins.write(f"{begun}\n")
                    begins.flush()
                payload = payloads.next(_now())
                name = settings.topics.prefix + payload.topic.name
                future = producer.send(name, payload.value, payload.key)
                future.add_callback(lambda _metadata, name=payload.name: confirmed(name))
                pending.append(future)
                done, credit = done + 1, credit - 1
            pending = [future for future in pending if not future.is_done]
            time.sleep(0.01)
        begins.write(f"{done}\n")  # no further than this
        producer.flush(150)
        producer.close()


def _now() -> int:
    """In ms since the epoch."""
    return time.time_ns() // 1_000_000


def _going_on(path: Path) -> TextIO:
    """Open to write after the last whole line: a number that a kill cut off and the next one would be one number."""
    path.touch()
    os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    return path.open("a")


def _last(path: Path) -> int:
    """The last whole number in a file; 0: none. A kill may have cut the last line off."""
    return int(next(reversed(_lines(path)), "0"))


def _lines(path: Path) -> list[str]:
    """Whole lines."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


if __name__ == "__main__":
    place = Path(sys.argv[1])
    run(place, Settings.from_environment(), Profile(**json.loads((place / PROFILE).read_text())))
