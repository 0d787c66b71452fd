"""Doing harm: one step of the plan at a time, each drawn from the seed."""

from __future__ import annotations

import logging
import random
import signal
import time
from collections import Counter

from tests.kafka_cluster import KafkaCluster
from tests.torture.fleet import Fleet
from tests.torture.plan import Harm, Profile

logger = logging.getLogger(__name__)

BROKER_DOWN_S = 5


class Torturer:
    """Harms workers and broker nodes by the profile's plan."""

    def __init__(self, profile: Profile, fleet: Fleet, cluster: KafkaCluster) -> None:
        self._profile = profile
        self._fleet = fleet
        self._cluster = cluster
        self._draw = random.Random(profile.seed + 1_000_000)
        self.done: Counter[str] = Counter()
        """What was done, counted; joins and leaves apart."""

    def run(self) -> None:
        """The whole plan, with pauses."""
        plan = self._profile.plan()
        for number, harm in enumerate(plan, 1):
            begun = time.monotonic()
            what = self._do(harm)
            self.done[what] += 1
            logger.info("harm %d of %d: %s, %.1f s", number, len(plan), what, time.monotonic() - begun)
            time.sleep(self._profile.gap_s * (0.5 + self._draw.random()))

    def _do(self, harm: Harm) -> str:
        fleet, draw = self._fleet, self._draw
        worker = draw.choice(sorted(fleet.wanted, key=lambda w: w.settings.worker.id))
        match harm:
            case "kill" | "kill-empty":
                fleet.kill(worker, empty=harm == "kill-empty", after_s=draw.random())
            case "pause":
                fleet.pause(worker, self._profile.pause_s)
            case "membership":
                return self._join_or_leave()
            case "broker-kill":
                node = draw.choice(list(self._cluster.nodes))
                self._cluster.kill(node)
                time.sleep(BROKER_DOWN_S)
                self._cluster.restart(node)
            case "broker-pause":
                node = draw.choice(list(self._cluster.nodes))
                self._cluster.kill(node, signal.SIGSTOP)
                time.sleep(self._profile.broker_pause_s)
                self._cluster.kill(node, signal.SIGCONT)
        return harm

    def _join_or_leave(self) -> str:
        fleet, draw = self._fleet, self._draw
        up = sorted(fleet.wanted, key=lambda w: w.settings.worker.id)
        if fleet.resting and (len(up) == 1 or draw.random() < 0.5):
            fleet.start(draw.choice(fleet.resting), empty=draw.random() < 0.3)
            return "join"
        fleet.leave(draw.choice(up))
        return "leave"
