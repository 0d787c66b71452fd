"""What a worker measures of itself, in a registry of its own, in Prometheus' names."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from streaming.decisions import Decision
from streaming.intake import Event
from streaming.recalibrating import Recalibration

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_Metric = TypeVar("_Metric", Counter, Histogram)


@cache
def child(metric: _Metric, *labels: str) -> _Metric:
    """`metric.labels(*labels)`, remembered: for what is counted or timed at each event."""
    return metric.labels(*labels)


class Metrics:
    """Counters and gauges of one worker. Names and labels are a promise to dashboards."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # process_cpu_seconds_total, process_resident_memory_bytes and others
        self.events = Counter("beforehand_events", "Source records taken in", ["topic"], registry=registry)
        self.predictions = Counter(
            "beforehand_predictions", "Predictions sent", ["trigger", "level"], registry=registry
        )
        self.suppressed = Counter(
            "beforehand_suppressed", "Predictions held back", ["rule", "trigger", "level"], registry=registry
        )
        self.silent = Counter(
            "beforehand_silent",
            "Events and due ticks that led to no prediction",
            ["reason"],
            registry=registry,
        )
        self.taken_up = Counter(
            "beforehand_taken_up",
            "Events on items of predictions, told as their sessions end",
            ["trigger", "kind", "arm"],
            registry=registry,
        )
        self.delay_seconds = Histogram(
            "beforehand_decision_delay_seconds",
            "From an event's record on its topic to its prediction, sent or held back",
            buckets=_SECONDS,
            registry=registry,
        )
        self.catalogue_seconds = Histogram(
            "beforehand_catalogue_seconds",
            "From a record of the catalogue on its topic to its item being searched, backlog left out",
            buckets=_SECONDS,
            registry=registry,
        )
        self.taught = Counter("beforehand_lessons", "Events that taught what goes with what", registry=registry)
        self.labels = Counter("beforehand_labels", "What heads said of events", ["head"], registry=registry)
        self.said = Gauge("beforehand_chance_said", "Mean of chances said lately", ["of"], registry=registry)
        self.seen = Gauge("beforehand_chance_seen", "Share of them that came", ["of"], registry=registry)
        self.closed = Counter("beforehand_sessions_closed", "Sessions that ended", registry=registry)
        self.dead_letters = Counter("beforehand_dead_letters", "Records set aside", ["error"], registry=registry)
        self.broadcast = Counter(
            "beforehand_broadcast",
            "Records read of the topics that all workers read",
            ["topic"],
            registry=registry,
        )
        self.engine_failures = Counter(
            "beforehand_engine_failures",
            "Steps of the engine that failed, and were tried again in parts",
            registry=registry,
        )
        self.engine_failure: tuple[float, str] | None = None
        """The last of them: when, by `time.monotonic`, and how."""
        self.under_way: tuple[str, float] | None = None
        """The stage of a batch that is under way, and since when, by `time.monotonic`."""
        self.batches = Counter("beforehand_batches", "Batches done", registry=registry)
        self.batch_events = Histogram("beforehand_batch_events", "Events in a batch", buckets=_SIZES, registry=registry)
        self.stage_seconds = Histogram(
            "beforehand_stage_seconds",
            "Time of a batch by stage",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Gauge("beforehand_queue_events", "Events that wait for the batcher", registry=registry)
        self.rung = Gauge("beforehand_level", "0 full, 1 cached, 2 graph, 3 popular", registry=registry)
        self.lag = Gauge("beforehand_lag_records", "Records not yet read", ["topic"], registry=registry)
        self.items = Gauge("beforehand_items", "Items known", registry=registry)
        self.states = Gauge("beforehand_states_cached", "Session states decoded in memory", registry=registry)
        self.waiting = Gauge("beforehand_sessions_waiting", "Sessions that wait for a tick", registry=registry)
        self.watched = Gauge(
            "beforehand_sessions_watched", "Sessions that hear of changes of the catalogue", registry=registry
        )
        self.notices = Gauge("beforehand_notices_waiting", "Sessions that are to hear of a change", registry=registry)
        self.notices_dropped = Gauge(
            "beforehand_notices_dropped", "Changes that sessions did not hear of, for want of room", registry=registry
        )
        self.changes = Counter(
            "beforehand_catalogue_changes",
            "Prices that fell, items that came back",
            ["trigger"],
            registry=registry,
        )
        self.partitions = Gauge("beforehand_partitions", "State partitions owned", registry=registry)
        self.rebalances = Counter("beforehand_rebalances", "Rebalances finished", registry=registry)
        self.lost_to_retention = Gauge(
            "beforehand_lost_to_retention",
            "Records that the broker deleted before they were read",
            registry=registry,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of a batch."""
        self.under_way, start = (name, time.monotonic()), time.perf_counter()
        try:
            yield
        finally:
            self.under_way = None
            child(self.stage_seconds, name).observe(time.perf_counter() - start)

    def engine_failed(self, errors: Sequence[Exception]) -> None:
        """The engine failed so often in a batch."""
        if errors:
            self.engine_failures.inc(len(errors))
            self.engine_failure = time.monotonic(), repr(errors[-1])

    def worked(self, events: int, decisions: Iterable[Decision]) -> None:
        """A batch of so many records is done, and led to these decisions."""
        self.batches.inc()
        self.batch_events.observe(events)
        for decision in decisions:
            self._decided(decision)

    def recalibrated(self, told: Recalibration | None) -> None:
        """What was said lately, uncorrected, and what came of it; nothing where nobody notes it."""
        for of, correction in () if told is None else (("offer", told.offers), ("prediction", told.predictions)):
            self.said.labels(of).set(correction.said)
            self.seen.labels(of).set(correction.seen)

    def _decided(self, decision: Decision) -> None:
        spoken = decision.prediction
        if decision.suppressed is not None:
            spoken = decision.suppressed.prediction
            child(self.suppressed, decision.suppressed.rule, spoken.trigger, spoken.level).inc()
        elif spoken is not None:
            child(self.predictions, spoken.trigger, spoken.level).inc()
        else:
            child(self.silent, str(decision.silent)).inc()
        if spoken is not None and isinstance(decision.event, Event) and decision.event.source.timestamp >= 0:
            self.delay_seconds.observe(max(0, spoken.made_at - decision.event.source.timestamp) / 1000)
        for label in decision.labels:
            self.labels.labels(label.head).inc()
        if decision.taught is not None:
            self.taught.inc()
        if decision.closed is not None:
            self.closed.inc()
            for each in decision.closed.predictions:
                arm = "holdout" if each.held else "treatment"
                taken = {"view": each.viewed, "click": each.clicked, "cart_add": each.carted}
                for kind, count in (taken | {"purchase": each.purchased}).items():
                    self.taken_up.labels(each.trigger, kind, arm).inc(count)

    def page(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)
