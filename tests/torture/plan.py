"""What one run of the torture is made of: the load, the workers, and the harms, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Harm = Literal["kill", "kill-empty", "membership", "pause", "broker-kill", "broker-pause"]

HARMS: dict[Harm, str] = {
    "kill": "kill -9 of a worker, started again with its data folder",
    "kill-empty": "kill -9 of a worker, started again with an emptied data folder",
    "membership": "a worker leaves by SIGTERM, or one joins",
    "pause": "SIGSTOP of a worker past the session timeout, then SIGCONT",
    "broker-kill": "kill -9 of a broker node, started again after 5 s",
    "broker-pause": "SIGSTOP of a broker node for 15 s",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """One run. Equal profiles send equal events and do equal harm, at times that differ a little."""

    harms: Mapping[Harm, int]
    """How often each harm is done; their order is drawn from the seed."""
    seed: int = 1
    rate: float = 300
    """Events a second, over both topics."""
    sessions: int = 500
    items: int = 200
    partitions: int = 8
    workers: int = 3
    gap_s: float = 4
    """Mean pause after a harm."""
    pause_s: float = 11
    """How long a worker is paused; above the session timeout of 6 s."""
    broker_pause_s: float = 15
    settle_s: float = 240
    """How long the workers may take to work off what is left."""
    without: frozenset[str] = frozenset()
    """Protections taken away, to see the run fail: `fence`, `holding`."""

    def plan(self) -> list[Harm]:
        """The harms in the order in which they are done.

        >>> Profile({"kill": 2, "pause": 1}, seed=4).plan() == Profile({"pause": 1, "kill": 2}, seed=4).plan()
        True
        """
        steps = [harm for harm in HARMS for _ in range(self.harms.get(harm, 0))]
        random.Random(self.seed).shuffle(steps)
        return steps


FULL: dict[Harm, int] = {
    "kill": 7,
    "kill-empty": 3,
    "membership": 8,
    "pause": 3,
    "broker-kill": 1,
    "broker-pause": 1,
}
"""The whole run: four to five minutes."""

CUT: dict[Harm, int] = {"kill": 1, "kill-empty": 1, "membership": 2, "pause": 1, "broker-kill": 1}
"""Two minutes, for every run of the tests."""
