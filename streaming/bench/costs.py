"""CPU time of a worker by stage, from the clocks of the threads that work: a worker's metrics, and more of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter

from streaming.telemetry import Metrics

STAGES = ("decode", "session", "encode", "search", "rank", "reasons", "trigger", "encode_out")
"""What is told apart. `decode`: bytes to clean events under pseudonyms. `session`: states loaded, stepped and kept.
`encode`: the session's vector. `search`: the items nearest to it. `rank`: candidates joined, their parts, their scores.
`reasons`: why each item is offered. `trigger`: what may be offered, which trigger fires, what holds it back.
`encode_out`: states and records to bytes. What the process needs besides is Faust's, the clients' and the loop's."""
OTHER = "faust"
"""The rest of the process."""

_OF_BATCHER = {"intake": "decode", "states": "session", "local": "session", "records": "encode_out"}
"""Stages of `Batcher` that wait for nothing, so that the thread's clock is theirs alone."""
_OF_ENGINE = {"state": "session", "decide": "trigger"} | {
    name: name for name in ("encode", "search", "rank", "reasons")
}
CPU = "beforehand_bench_cpu_seconds"


class StageCosts(Metrics):
    """A worker's metrics, and the CPU time of each stage. Threads of libraries (OpenMP) are not in it: have none."""

    def __init__(self) -> None:
        super().__init__()
        cpu = Counter(CPU, "CPU time of the working threads", ["stage"], registry=self.registry)
        self._cpu = {stage: cpu.labels(stage) for stage in STAGES}
        self._lap: dict[str, int] = {}
        self._running: str | None = None
        self._since = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of a batch, by wall and by CPU."""
        counter = self._cpu.get(_OF_BATCHER.get(name, ""))
        begun = time.thread_time()
        try:
            with super().stage(name):
                yield
        finally:
            if counter is not None:
                counter.inc(time.thread_time() - begun)

    def mark(self, stage: str | None) -> None:
        """As `Engine.mark`; called in the model's thread alone."""
        now = time.thread_time_ns()
        if self._running is not None:
            self._lap[self._running] = self._lap.get(self._running, 0) + now - self._since
        self._running, self._since = stage, now
        if stage is None:
            for name, spent in self._lap.items():
                self._cpu[_OF_ENGINE[name]].inc(spent / 1e9)
            self._lap.clear()
