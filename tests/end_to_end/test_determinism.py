"""One topic, one partition, no harm: two runs give the same bytes, but for `made_at`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from msgspec.structs import replace

from streaming import codec, topics
from streaming.records import CLICK_KINDS, EventRecord, Prediction, Suppressed
from streaming.settings import Settings
from streaming.torture.plan import Profile
from streaming.torture.traffic import events, items
from streaming.worker_process import WorkerProcess, metric
from tests.stage import Stage, eventually, now_ms

EVENTS = 600
PROFILE = Profile({}, sessions=40)


def _clicks(begin: int) -> Iterator[EventRecord]:
    """Three seconds apart, so that quiet intervals end and begin; half of them without an `event_id`."""
    number = 0
    for event in events(PROFILE):
        if event.kind in CLICK_KINDS:
            number += 1
            event_id = event.event_id if number % 2 else None
            yield replace(event, time=begin + 3000 * number, event_id=event_id)


def _run(settings: Settings, begin: int, worker: Callable[..., WorkerProcess]) -> list[bytes]:
    """What one worker says about the same events, with `made_at` taken out."""
    stage = Stage(settings)
    try:
        stage.put_items(items(PROFILE))
        stage.send_events(list(islice(_clicks(begin), EVENTS)))
        process = worker(settings)
        eventually(
            lambda: metric(process.page("/metrics"), "beforehand_events_total"),
            lambda seen: seen >= EVENTS,
            60,
        )
        sent = eventually(stage.predictions, lambda found: len(found) > 0)
        held = stage.read(topics.SUPPRESSED, Suppressed)
        assert process.stop() == 0
        return [codec.encode(_timeless(p)) for p in sent] + [
            codec.encode(replace(row, prediction=_timeless(row.prediction))) for row in held
        ]
    finally:
        stage.close()


def _timeless(prediction: Prediction) -> Prediction:
    return replace(prediction, made_at=0)


@pytest.mark.parametrize("back_end", ["kafka"], indirect=True)
def test_two_runs_give_the_same_bytes(settings: Settings, tmp_path: Path, worker: Callable[..., WorkerProcess]) -> None:
    begin = now_ms() - 3000 * EVENTS * 2
    runs = []
    for name in ("first", "second"):
        its = settings.model_copy(
            update={
                "topics": settings.topics.model_copy(
                    update={"prefix": f"{settings.topics.prefix}{name}.", "partitions": 1}
                ),
                "worker": settings.worker.model_copy(
                    update={"id": name, "data_dir": tmp_path / name, "learn": False, "clock": "record"}
                ),
            }
        )
        runs.append(_run(its, begin, worker))
    assert len(runs[0]) > EVENTS / 10
    assert runs[0] == runs[1]
