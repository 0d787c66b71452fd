"""What one run of the torture is made of: the load, the workers, and the harms, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streaming.errors import InputError

Harm = Literal[
    "kill",
    "kill-empty",
    "kill-producer",
    "broker-kill",
    "membership",
    "pause",
    "broker-pause",
    "broker-away",
    "consumer-slow",
    "consumer-stuck",
    "disk-full",
    "clock-jump",
    "burst",
    "model-errors",
    "model-hangs",
]

HARMS: dict[Harm, str] = {
    "kill": "kill -9 of a worker, started again with its data folder",
    "kill-empty": "kill -9 of a worker, started again with an emptied data folder",
    "kill-producer": "kill -9 of the producer, which goes on with the next events",
    "broker-kill": "kill -9 of a broker node, started again after 5 s",
    "membership": "a worker leaves by SIGTERM, or one joins",
    "pause": "SIGSTOP of a worker past the session timeout, then SIGCONT",
    "broker-pause": "SIGSTOP of a broker node for 15 s",
    "broker-away": "SIGSTOP of all broker nodes for 60 s",
    "consumer-slow": "the consumer takes 20 ms for each prediction, for 10 s",
    "consumer-stuck": "the consumer takes nothing for 20 s",
    "disk-full": "a worker may write no file beyond its present size, as on a full disk",
    "clock-jump": "a worker's clock jumps by up to half an hour, forth or back, and comes right after 10 s",
    "burst": "20 times the rate for 5 s",
    "model-errors": "a worker's engine fails on each batch of more than one event, for 5 s",
    "model-hangs": "a worker's engine does not come back",
}

TO_WORKERS: frozenset[Harm] = frozenset(
    {"kill", "kill-empty", "pause", "disk-full", "clock-jump", "model-errors", "model-hangs"}
)
"""Done to one worker."""
ON_KAFKA: frozenset[Harm] = frozenset(
    {"kill-empty", "membership", "pause", "broker-kill", "broker-pause", "broker-away"}
)
"""Not on the local broker: it has no fence and no idempotent producer, so that what is sent again while it is away is
there twice; and nothing survives its end. See docs/guarantees.md."""


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
    poison: float = 0.0
    """Share of payloads that no worker can read."""
    repeats: float = 0.0
    """Share of events that the site sends twice, with their ids."""
    late: float = 0.0
    """Share of events whose time is up to 3 s before that of those that were sent before them."""
    cursed: float = 0.0
    """Share of events that the engine fails on, always."""
    gap_s: float = 4
    """Mean pause after a harm."""
    pause_s: float = 11
    """How long a worker is paused; above the session timeout of 6 s."""
    broker_pause_s: float = 15
    broker_away_s: float = 60
    burst_s: float = 5
    latency_budget_ms: float = 0
    """Beyond it workers do less; see `streaming.ladder`. 0: they always do all."""
    stale_ms: int = 0
    """Events older than that are counted and not answered. 0: all are answered."""
    deadline_s: float = 60
    """Of a batch: a worker whose engine hangs ends after it."""
    settle_s: float = 240
    """How long what is left may stay as much as it is before it is given up."""

    def __post_init__(self) -> None:
        for name in ("poison", "repeats", "late", "cursed"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise InputError(f"{name} {getattr(self, name)}, expected a share from 0 to 0.5")
        if self.rate <= 0 or self.workers < 1:
            raise InputError(f"rate {self.rate}, {self.workers} workers; expected a rate above 0 and a worker")
        if self.latency_budget_ms < 0:
            raise InputError(f"latency budget {self.latency_budget_ms} ms, expected one above 0, or 0 for none")
        if self.stale_ms < 0:
            raise InputError(f"stale after {self.stale_ms} ms, expected a time above 0, or 0 for never")

    @property
    def varies(self) -> bool:
        """Whether what comes of an event depends on how long it waited."""
        return self.latency_budget_ms > 0 or self.stale_ms > 0

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
"""What tells whether nothing is lost at all: four to five minutes."""

CUT: dict[Harm, int] = {
    "kill": 1,
    "kill-empty": 1,
    "kill-producer": 1,
    "membership": 2,
    "pause": 1,
    "broker-kill": 1,
    "burst": 1,
    "model-errors": 1,
    "model-hangs": 1,
}
"""Two minutes, for every run of the tests."""


def kills(count: int) -> dict[Harm, int]:
    """So many kills: of ten five or more of workers, two of workers that lose their data folders, two of the producer,
    one of a broker node.

    >>> kills(50)
    {'kill': 25, 'kill-empty': 10, 'kill-producer': 10, 'broker-kill': 5}
    """
    rest: dict[Harm, int] = {"kill-empty": count // 5, "kill-producer": count // 5, "broker-kill": count // 10}
    return {"kill": count - sum(rest.values()), **rest}


def on_local_broker(harms: Mapping[Harm, int]) -> dict[Harm, int]:
    """What can be done on the local broker: workers and brokers are killed in the one way that it bears.

    >>> on_local_broker({"kill": 1, "kill-empty": 2, "pause": 3, "burst": 4})
    {'kill': 3, 'burst': 4}
    """
    found = {harm: count for harm, count in harms.items() if harm not in ON_KAFKA}
    if "kill-empty" in harms:
        found["kill"] = found.get("kill", 0) + harms["kill-empty"]
    return found
