"""One run: a cluster, topics, workers and load; harm by the plan; and the ledger."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from streaming.admin import create_topics
from streaming.changelog import read_encoded
from streaming.settings import (
    BrokerSettings,
    EncoderSettings,
    RuleSettings,
    Settings,
    TopicSettings,
    TriggerSettings,
    WorkerSettings,
)
from tests.kafka_cluster import KafkaCluster
from tests.torture.backlog import lag
from tests.torture.fleet import Fleet
from tests.torture.harm import Torturer
from tests.torture.ledger import Ledger, keep, read_decisions
from tests.torture.plan import Profile
from tests.torture.reference import reference
from tests.torture.traffic import Producer, put_catalogue

logger = logging.getLogger(__name__)

COMPACTION = {
    "log_roll_ms": 15_000,
    "log_cleaner_min_cleanable_ratio": "0.01",
    "log_cleaner_max_compaction_lag_ms": 15_000,
    "log_cleaner_backoff_ms": 5_000,
}
"""So that states are recovered from a changelog that was compacted under way."""


@dataclass(slots=True)
class Result:
    """What a run came to."""

    ledger: Ledger
    harms: dict[str, int]
    exits: dict[str, list[int]]
    """Exit codes of each worker; -9 and -15 were the torturer's."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        whole = {"harms": self.harms, "exits": self.exits, "seconds": round(self.seconds, 1)}
        return {"faults": self.ledger.faults(), **self.ledger.as_json(), **whole}


def settings_for(brokers: str, profile: Profile, folder: Path) -> Settings:
    """Every event is answered at once: no interval, no cap. One in five is in the hold-out."""
    return Settings(
        brokers=brokers,  # type: ignore[arg-type]
        secret=SecretStr("a secret of the torture, long enough"),
        broker=BrokerSettings(session_timeout_s=6, heartbeat_s=1, rebalance_timeout_s=20, request_timeout_s=20),
        topics=TopicSettings(prefix="torture.", partitions=profile.partitions),
        rules=RuleSettings(
            quiet_ms=0,
            daily_cap=1_000_000,
            item_cooldown_ms=0,
            trigger_cooldown_ms=0,
            min_gain=0,
            holdout_percent=20,
        ),
        triggers=TriggerSettings(cart_idle_ms=10_000),
        encoder=EncoderSettings(model="dummy"),
        worker=WorkerSettings(data_dir=folder, port=0, learn=False, session_idle_ms=0, deadline_s=60),
    )


def run(profile: Profile, folder: Path, cluster: KafkaCluster) -> Result:
    """Does it all, on a cluster that nothing else uses."""
    begun = time.monotonic()
    settings = settings_for(cluster.bootstrap, profile, folder)
    create_topics(settings)
    put_catalogue(settings, profile)
    with Fleet(settings, profile, folder) as fleet:
        for worker in fleet.workers[:2]:
            fleet.start(worker)
        fleet.wait_ready(60)
        logger.info("workers ready after %.1f s", time.monotonic() - begun)
        producer = Producer(settings, profile)
        producer.start()
        time.sleep(profile.gap_s)
        torturer = Torturer(profile, fleet, cluster)
        torturer.run()
        producer.finish()
        logger.info("%d events sent; waiting until they are worked off", len(producer.accepted))
        left = _settle(settings, profile, fleet)
        held = _held(profile, fleet)
        fleet.stop()
    logger.info("keeping the ledger")
    ledger = keep(
        reference(settings, profile),
        producer.accepted,
        read_decisions(settings),
        read_encoded(settings),
        held,
    )
    ledger.lag = left
    exits = {worker.settings.worker.id: worker.exits for worker in fleet.workers}
    return Result(ledger, dict(torturer.done), exits, time.monotonic() - begun)


def _settle(settings: Settings, profile: Profile, fleet: Fleet) -> int:
    """Waits until nothing is left and all workers are ready, so that no rebalance is under way; what is left."""
    end = time.monotonic() + profile.settle_s
    while (left := lag(settings)) and time.monotonic() < end:
        time.sleep(1)
    try:
        fleet.wait_ready(60)
    except TimeoutError as exc:
        logger.warning("%s", exc)
    return left


def _held(profile: Profile, fleet: Fleet) -> dict[str, bytes]:
    try:
        return fleet.states(profile.partitions)
    except TimeoutError as exc:
        logger.warning("%s", exc)
        return {}
