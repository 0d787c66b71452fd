"""One run: a cluster, topics, workers and load; harm by the plan; and the ledger."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from streaming.admin import create_topics
from streaming.changelog import read_encoded
from streaming.dead_letters import read_letters
from streaming.errors import BeforehandError
from streaming.exits import Exit
from streaming.records import Prediction
from streaming.settings import (
    BrokerSettings,
    EncoderSettings,
    RuleSettings,
    Settings,
    TopicSettings,
    TriggerSettings,
    WorkerSettings,
)
from streaming.torture.backlog import lag
from streaming.torture.brokers import Brokers
from streaming.torture.fleet import WORKER, Fleet
from streaming.torture.harm import Torturer
from streaming.torture.ledger import (
    Ledger,
    keep,
    keep_given,
    keep_letters,
    keep_places,
    last_of,
    read_places,
    read_predictions,
    read_suppressed,
)
from streaming.torture.listening import Listener
from streaming.torture.looking import Looker
from streaming.torture.plan import Profile
from streaming.torture.reference import mark_of, reference, rehearse
from streaming.torture.sending import Producer, Sent
from streaming.torture.traffic import put_catalogue
from streaming.torture.truth import GRACE_S, ready_again, untrue, untrue_at_the_end

logger = logging.getLogger(__name__)

COMPACTION: dict[str, str | int] = {
    "log.roll.ms": 15_000,
    "log.cleaner.min.cleanable.ratio": "0.01",
    "log.cleaner.max.compaction.lag.ms": 15_000,
    "log.cleaner.backoff.ms": 5_000,
}
"""So that states are recovered from a changelog that was compacted under way."""

LOCAL_RESTS = 10
"""Seconds without lag that are waited for on the local broker, which tells ends that are too low."""
EXPLAINED = frozenset({-signal.SIGKILL, -signal.SIGTERM, *Exit}) - {Exit.USAGE, Exit.CRASHED}
"""Exit codes of workers: the torturer's signals, and those of docs/guarantees.md that name a cause."""


@dataclass(slots=True)
class Result:
    """What a run came to."""

    ledger: Ledger
    harms: dict[str, int]
    exits: dict[str, list[int]]
    """Exit codes of each worker; -9 and -15 were the torturer's."""
    seconds: float

    ready_again_s: list[float]
    """From each kill of a worker until it was ready again."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        whole = {
            "harms": self.harms,
            "exits": self.exits,
            "ready_again_s": self.ready_again_s,
            "seconds": round(self.seconds, 1),
        }
        return {"faults": self.ledger.faults(), **self.ledger.as_json(), **whole}


def settings_for(brokers: str, profile: Profile, folder: Path, *, fence: bool = True) -> Settings:
    """Every event is answered at once: no interval, no cap. One in five is in the hold-out."""
    return Settings(
        brokers=tuple(brokers.split(",")),
        secret=SecretStr("a secret of the torture, long enough"),
        broker=BrokerSettings(
            fence=fence, session_timeout_s=6, heartbeat_s=1, rebalance_timeout_s=20, request_timeout_s=20
        ),
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
        worker=WorkerSettings(
            data_dir=folder,
            port=0,
            learn=False,
            session_idle_ms=0,
            deadline_s=profile.deadline_s,
            latency_budget_ms=profile.latency_budget_ms,
            stale_ms=profile.stale_ms,
        ),
    )


def run(
    profile: Profile, folder: Path, brokers: Brokers, *, fence: bool = True, worker: Sequence[str] = WORKER
) -> Result:
    """Does it all, on brokers that nothing else uses.

    Args:
        folder: for logs and data.
        fence: whether the brokers know idempotent producers; without, nothing is proved.
        worker: what is run as a worker, after the interpreter.

    Raises:
        BeforehandError: workers are not ready within a minute at the start, or the producer ended by itself.
    """
    begun = time.monotonic()
    settings = settings_for(brokers.bootstrap, profile, folder, fence=fence)
    rehearse(settings, profile)
    create_topics(settings)
    put_catalogue(settings, profile)
    producer, listener = Producer(settings, profile, folder), Listener(settings)
    with Fleet(settings, profile, folder, worker) as fleet:
        looker = Looker(fleet.workers)
        try:
            for each in fleet.workers[:2]:
                fleet.start(each)
            looker.start()
            fleet.wait_ready(60)
            logger.info("workers ready after %.1f s", time.monotonic() - begun)
            listener.start()
            producer.start()
            time.sleep(profile.gap_s)
            torturer = Torturer(profile, fleet, brokers, producer, listener)
            torturer.run()
            sent = producer.finish()
        finally:
            producer.stop()
        logger.info("%d payloads sent; waiting until they are worked off", sent.confirmed.total())
        left = _settle(settings, profile, fleet)
        held = _held(profile, fleet)
        looks = looker.stop()
        last = fleet.at_rest(GRACE_S)
        fleet.stop()
    logger.info("keeping the ledger")
    ledger = _kept(settings, profile, sent, held, listener)
    ledger.lag = left
    ledger.looks, ledger.silent_looks = looks.count, looks.silent
    budget = profile.latency_budget_ms > 0
    found = untrue(looks, torturer.times, cursed=profile.cursed > 0, budget=budget)
    ledger.note("untrue", found + untrue_at_the_end(last))
    exits = {each.settings.worker.id: each.exits for each in fleet.workers}
    ledger.note("ended_amiss", ended_amiss(exits))
    again = ready_again(looks, torturer.times)
    return Result(ledger, dict(torturer.done), exits, time.monotonic() - begun, again)


def ended_amiss(exits: Mapping[str, Sequence[int]]) -> list[str]:
    """Workers whose process ended with a code that nobody has given a meaning.

    >>> ended_amiss({"w0": [-9, 75, 1], "w1": [0, 70]})
    ['w0 ended with 1', 'w1 ended with 70']
    """
    return [f"{name} ended with {code}" for name, codes in exits.items() for code in codes if code not in EXPLAINED]


def _kept(settings: Settings, profile: Profile, sent: Sent, held: dict[str, bytes], listener: Listener) -> Ledger:
    marks = None
    if profile.varies:
        told_of = chain(read_predictions(settings), read_suppressed(settings))
        marks = {each.prediction_id: mark_of(each) for each in told_of}
    expected = reference(settings, profile, marks)
    told = list[tuple[str, str]]()

    def decisions() -> Iterator[Prediction]:
        for prediction in read_predictions(settings):
            told.append((prediction.session_id, prediction.prediction_id))
            yield prediction
        yield from read_suppressed(settings)

    ledger = keep(expected, sent, decisions(), read_encoded(settings), held)
    keep_letters(ledger, expected, read_letters(settings), settings.topics.prefix)
    listener.finish(set(last_of(told).values()), profile.settle_s)
    keep_given(ledger, told, listener.given)
    keep_places(ledger, expected, read_places(settings))
    return ledger


def _settle(settings: Settings, profile: Profile, fleet: Fleet) -> int:
    """Waits until nothing is left and all workers are ready, so that no rebalance is under way, for as long as it
    becomes less; what is left."""
    end, rests, least = time.monotonic() + profile.settle_s, 0, lag(settings)
    while time.monotonic() < end and rests < (1 if settings.broker.fence else LOCAL_RESTS):
        left = lag(settings)
        rests = 0 if left else rests + 1
        if left < least:
            end, least = time.monotonic() + profile.settle_s, left
        time.sleep(1)
    try:
        fleet.wait_ready(60)
    except BeforehandError as exc:
        logger.warning("%s", exc)
    return lag(settings)


def _held(profile: Profile, fleet: Fleet) -> dict[str, bytes]:
    try:
        return fleet.states(profile.partitions)
    except BeforehandError as exc:
        logger.warning("%s", exc)
        return {}
