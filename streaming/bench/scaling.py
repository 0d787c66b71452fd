"""Several workers over one: what they get done, told apart from what the broker and the generator take of the cores.

On a machine of few cores everything shares them, so that events a second say little of workers. What one worker's core
could do is bound by its CPU: `c` us an event, so 1,000,000 / c events a second. Several workers that have a core each
are done when the busiest is, so that they do the work of one so many times as fast:

    CPU of one worker for all events / CPU of the busiest of several for its share of as many events
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from streaming.bench import worker
from streaming.bench.points import Sample
from streaming.errors import BeforehandError
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess, metric

SETTLE_S = 120.0


@contextmanager
def crew(first: WorkerProcess, folder: Path, workers: int) -> Iterator[list[WorkerProcess]]:
    """The worker that runs, and so many beside it that there are `workers`, once all partitions are shared out.

    Raises:
        BeforehandError: they are not in time.
    """
    processes = [first]
    with ExitStack() as things:
        for number in range(1, workers):
            process = WorkerProcess(_beside(first.settings, number), folder, worker.COMMAND).start()
            things.callback(process.stop, 20)
            processes.append(process)
        _wait_shared_out(processes, first.settings.topics.partitions)
        yield processes


def sample_of(processes: Sequence[WorkerProcess]) -> list[Sample]:
    """Of each, now.

    Raises:
        BeforehandError: one has ended.
    """
    for process in processes:
        if not process.running:
            raise BeforehandError(f"worker {process.settings.worker.id} has ended:\n{process.tail()}")
    return [Sample.of(process.page("/metrics")) for process in processes]


def over_one(
    one: tuple[float, float], before: Sequence[Sample], after: Sequence[Sample], events_per_s: float
) -> dict[str, Any]:
    """What several workers were over one.

    Args:
        one: CPU us of an event with one worker, and its events a second.
        events_per_s: of the several.

    >>> def at(events): return Sample(events, events, events / 1000, 1, 0, 0, stages_s={}, batches=1)
    >>> over_one((1000.0, 500.0), [at(0), at(0)], [at(60), at(40)], 600.0)["by_busiest_cpu"]
    1.67
    """
    events = [now.events - then.events for then, now in zip(before, after, strict=True)]
    cpu_s = [now.cpu_s - then.cpu_s for then, now in zip(before, after, strict=True)]
    whole = sum(events)
    alone_s = one[0] * whole / 1e6
    return {
        "workers": len(events),
        "events_of_each": [round(count) for count in events],
        "cpu_us_per_event_of_one": round(one[0], 1),
        "cpu_us_per_event_of_all": round(sum(cpu_s) * 1e6 / max(1.0, whole), 1),
        "by_busiest_cpu": round(alone_s / max(cpu_s), 2),
        "by_cpu_evenly_shared": round(len(events) * alone_s / sum(cpu_s), 2),
        "by_events_per_s": round(events_per_s / one[1], 2),
    }


def _beside(settings: Settings, number: int) -> Settings:
    given = settings.worker
    name = f"{given.id}-{number}"
    its = {
        "id": name,
        "data_dir": given.data_dir.with_name(f"{given.data_dir.name}-{number}"),
        "core": None if given.core is None else (given.core + number) % (os.cpu_count() or 1),
    }
    return settings.model_copy(update={"worker": given.model_copy(update=its)})


def _wait_shared_out(processes: Sequence[WorkerProcess], partitions: int) -> None:
    end = time.monotonic() + SETTLE_S
    while True:
        owned = [metric(process.page("/metrics"), "beforehand_partitions") for process in processes if process.ready()]
        if len(owned) == len(processes) and min(owned) > 0 and sum(owned) == partitions:
            return
        if time.monotonic() > end:
            tails = "\n".join(process.tail() for process in processes)
            raise BeforehandError(f"partitions are shared out as {owned}, of {partitions}:\n{tails}")
        time.sleep(0.5)
