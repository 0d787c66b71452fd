"""Doing harm: one step of the plan at a time, each drawn from the seed."""

from __future__ import annotations

import logging
import random
import signal
import time
from collections import Counter

from streaming.torture.brokers import Brokers
from streaming.torture.fleet import Fleet
from streaming.torture.listening import Listener
from streaming.torture.plan import TO_WORKERS, Harm, Profile
from streaming.torture.sending import Producer
from streaming.torture.truth import Done
from streaming.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

BROKER_DOWN_S = 5
SLOW_S, SLOW_FOR_S = 0.02, 10
STUCK_S = 20
JUMP_MS, JUMP_FOR_S = 1_800_000, 10
"""Below what brokers refuse: record timestamps more than an hour ahead."""
ERRORS_FOR_S = 5
BURST = 20


class Torturer:
    """Harms workers, broker nodes, producer and consumer by the profile's plan."""

    def __init__(
        self, profile: Profile, fleet: Fleet, brokers: Brokers, producer: Producer, listener: Listener
    ) -> None:
        self._profile = profile
        self._fleet, self._brokers, self._producer, self._listener = fleet, brokers, producer, listener
        self._draw = random.Random(profile.seed + 1_000_000)
        self.done: Counter[str] = Counter()
        """What was done, counted; joins and leaves apart."""
        self.times: list[Done] = []
        """The same, one by one."""

    def run(self) -> None:
        """The whole plan, with pauses."""
        plan = self._profile.plan()
        for number, harm in enumerate(plan, 1):
            begun = time.monotonic()
            worker = self._draw.choice(sorted(self._fleet.wanted, key=lambda w: w.settings.worker.id))
            what = self._do(harm, worker)
            self.done[what] += 1
            everywhere = harm == "broker-away" or (harm == "broker-pause" and len(self._brokers.nodes) == 1)
            whom = worker.settings.worker.id if harm in TO_WORKERS else None
            self.times.append(Done(what, begun, time.monotonic(), whom, everywhere))
            logger.info("harm %d of %d: %s, %.1f s", number, len(plan), what, time.monotonic() - begun)
            time.sleep(self._profile.gap_s * (0.5 + self._draw.random()))

    def _do(self, harm: Harm, worker: WorkerProcess) -> str:
        fleet, draw, profile = self._fleet, self._draw, self._profile
        match harm:
            case "kill" | "kill-empty":
                fleet.kill(worker, empty=harm == "kill-empty", after_s=draw.random())
            case "membership":
                return self._join_or_leave()
            case "kill-producer":
                self._producer.kill()
            case "broker-kill" | "broker-pause" | "broker-away":
                self._harm_brokers(harm)
            case "consumer-slow":
                self._listener.slow_s = SLOW_S
                time.sleep(SLOW_FOR_S)
                self._listener.slow_s = 0.0
            case "consumer-stuck":
                self._listener.stuck(STUCK_S)
            case "burst":
                self._producer.faster(BURST)
                time.sleep(profile.burst_s)
                self._producer.faster(1)
            case _:
                self._trouble(harm, worker)
        return harm

    def _trouble(self, harm: Harm, worker: WorkerProcess) -> None:
        """What is wrong with a worker that goes on, or ends by itself."""
        fleet, draw = self._fleet, self._draw
        match harm:
            case "pause":
                fleet.pause(worker, self._profile.pause_s)
            case "disk-full":
                fleet.fill_disk(worker)
            case "clock-jump":
                fleet.jump(worker, draw.randint(-JUMP_MS, JUMP_MS), JUMP_FOR_S)
            case "model-errors":
                fleet.fail(worker, ERRORS_FOR_S)
            case "model-hangs":
                fleet.hang(worker)
            case _:
                raise ValueError(f"no such harm: {harm}")

    def _harm_brokers(self, harm: Harm) -> None:
        brokers, profile = self._brokers, self._profile
        if harm == "broker-away":
            for node in brokers.nodes:
                brokers.kill(node, signal.SIGSTOP)
            time.sleep(profile.broker_away_s)
            for node in brokers.nodes:
                brokers.kill(node, signal.SIGCONT)
            return
        node = self._draw.choice(sorted(brokers.nodes))
        if harm == "broker-kill":
            brokers.kill(node)
            time.sleep(BROKER_DOWN_S)
            brokers.restart(node)
        else:
            brokers.kill(node, signal.SIGSTOP)
            time.sleep(profile.broker_pause_s)
            brokers.kill(node, signal.SIGCONT)

    def _join_or_leave(self) -> str:
        fleet, draw = self._fleet, self._draw
        up = sorted(fleet.wanted, key=lambda w: w.settings.worker.id)
        if fleet.resting and (len(up) == 1 or draw.random() < 0.5):
            fleet.start(draw.choice(fleet.resting), empty=draw.random() < 0.3)
            return "join"
        fleet.leave(draw.choice(up))
        return "leave"
