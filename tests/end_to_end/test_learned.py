"""What the visitors of one worker teach, every worker knows: equal tables, however many workers share the events."""

from __future__ import annotations

import json
import os
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from streaming.records import CLICK_KINDS
from streaming.settings import Settings
from tests.conftest import fast_settings
from tests.kafka_cluster import KafkaCluster
from tests.stage import Stage, eventually, now_ms
from tests.torture.plan import Profile
from tests.torture.traffic import events, items
from tests.worker_process import WorkerProcess, metric

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
    # On one topic: of two, what a session had before an event depends on which was read first.
    some = list(islice((event for event in events(PROFILE) if event.kind in CLICK_KINDS), EVENTS))
    for number, event in enumerate(some):
        event.time = now_ms() - 1000 + number % 1000
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
