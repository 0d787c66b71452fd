"""What the visitors of one worker teach, every worker knows: equal tables, however many workers share the events."""

from __future__ import annotations

import json
import os
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient
from kafka.structs import TopicPartition

from streaming import keeping
from streaming.records import CLICK_KINDS, EventRecord
from streaming.settings import Settings
from streaming.topics import LEARNED
from streaming.torture.plan import Profile
from streaming.torture.traffic import events, items
from streaming.worker_process import WorkerProcess, metric
from tests.conftest import fast_settings
from tests.kafka_cluster import KafkaCluster
from tests.stage import Stage, eventually, now_ms

EVENTS = int(os.environ.get("LEARNED_EVENTS", "4000"))
"""A quick cut; the whole story has 20,000."""
PARTITIONS = 4
SETTLED_S = 4.5
"""Nothing is on its way any more when nothing came for so long."""
PROFILE = Profile({}, sessions=500)


def _named(settings: Settings, name: str, folder: Path, **topics: Any) -> Settings:
    worker = settings.worker.model_copy(update={"id": name, "data_dir": folder / name, "session_idle_ms": 0})
    return settings.model_copy(
        update={"topics": settings.topics.model_copy(update={"partitions": PARTITIONS} | topics), "worker": worker}
    )


def _recent(count: int) -> list[EventRecord]:
    """Events of now, on one topic: of two, what a session had before an event depends on which was read first."""
    some = list(islice((event for event in events(PROFILE) if event.kind in CLICK_KINDS), count))
    for number, event in enumerate(some):
        event.time = now_ms() - 1000 + number % 1000
    return some


def _marks(about: Path) -> dict[str, int] | None:
    """Of the snapshot that is there; None: there is none at the moment."""
    try:
        return dict(json.loads(about.read_bytes())["marks"])
    except FileNotFoundError:
        return None


def _learned(process: WorkerProcess) -> dict[str, Any]:
    return dict(json.loads(process.page("/learned", timeout=30)))


def _all_learned(processes: list[WorkerProcess], count: int) -> list[dict[str, Any]]:
    """What each worker knows once all events are decided, and what they taught has been on its way for long enough."""
    eventually(
        lambda: sum(metric(process.page("/metrics"), "beforehand_events_total") for process in processes),
        lambda seen: seen >= count,
        60 + count / 50,
    )
    readings: list[list[dict[str, Any]]] = []

    def read() -> list[list[dict[str, Any]]]:
        readings.append([_learned(process) for process in processes])
        time.sleep(SETTLED_S / 3)
        return readings[-4:]

    return eventually(read, lambda last: len(last) == 4 and all(reading == last[0] for reading in last), 90)[-1]


@pytest.mark.broker
@pytest.mark.timeout(900)
def test_two_workers_that_share_the_events_know_what_one_knows(
    kafka3: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    settings = fast_settings("kafka", kafka3.bootstrap, prefix, tmp_path / "w")
    some = _recent(EVENTS)
    known = []
    for name, count in (("two", 2), ("one", 1)):
        its = _named(settings, "w", tmp_path, prefix=f"{prefix}{name}.")
        stage = Stage(its)
        processes = [WorkerProcess(_named(its, f"{name}{number}", tmp_path), tmp_path) for number in range(count)]
        try:
            stage.put_items(items(PROFILE))
            for process in processes:
                process.start().wait_ready()
            for process in processes:  # again: the second has taken partitions from the first
                process.wait_ready()
            stage.send_events(some)
            known.append(_all_learned(processes, EVENTS))
            shares = [metric(process.page("/metrics"), "beforehand_events_total") for process in processes]
            assert min(shares) > 0, shares  # each decided some of them
        finally:
            for process in processes:
                process.kill()
            stage.close()
    (first, second), (alone,) = known
    assert first == second
    assert len(first["marks"]) == PARTITIONS
    assert (first["digest"], first["marks"]) == (alone["digest"], alone["marks"])


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_what_was_learned_outlives_the_process_and_the_topic(kafka3: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    settings = _named(fast_settings("kafka", kafka3.bootstrap, prefix, tmp_path / "w"), "one", tmp_path)
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"keep_s": 1.0})})
    every = _recent(700)
    some, rest = every[:600], every[600:]
    stage = Stage(settings)
    process = WorkerProcess(settings, tmp_path)
    try:
        stage.put_items(items(PROFILE))
        process.start().wait_ready()
        stage.send_events(some)
        (told,) = _all_learned([process], len(some))
        assert told["records"] > 0
        about = settings.worker.data_dir / keeping.FOLDER / keeping.ABOUT
        eventually(lambda: _marks(about), lambda marks: marks == told["marks"], 30)
        process.kill()
        topic = f"{settings.topics.prefix}{LEARNED.name}"
        with KafkaAdminClient(bootstrap_servers=kafka3.bootstrap) as admin:
            admin.delete_records({TopicPartition(topic, number): -1 for number in range(PARTITIONS)})
        process = WorkerProcess(settings, tmp_path)
        process.start().wait_ready()
        assert _learned(process) == told
        stage.send_events(rest)
        (more,) = _all_learned([process], len(rest))
        assert more["records"] > told["records"]
        assert more["digest"] != told["digest"]
    finally:
        process.kill()
        stage.close()
