"""What was measured at one load: of the product, and of what it is held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streaming import codec, topics
from streaming.bench.costs import CPU, OTHER, STAGES
from streaming.bench.driver import Flight
from streaming.bench.latency import Latency
from streaming.records import Prediction, Suppressed
from streaming.worker_process import metric


@dataclass(frozen=True, slots=True)
class Sample:
    """What a worker's metrics page said at one moment."""

    events: float
    """Taken in."""
    decided: float
    """Of them, and of nothing else, led to a prediction, to one held back, or to none."""
    cpu_s: float
    rss_mb: float
    queue: float
    lag: float
    stages_s: Mapping[str, float]
    batches: float

    @classmethod
    def of(cls, page: str) -> Sample:
        """Out of a page of `StageCosts`."""
        kinds = [topic.name for topic in (topics.CLICKS, topics.BROWSES)]
        return cls(
            events=sum(metric(page, "beforehand_events_total", {"topic": kind}) for kind in kinds),
            decided=_decided(page),
            cpu_s=metric(page, "process_cpu_seconds_total"),
            rss_mb=metric(page, "process_resident_memory_bytes") / 1e6,
            queue=metric(page, "beforehand_queue_events"),
            lag=sum(metric(page, "beforehand_lag_records", {"topic": kind}) for kind in kinds),
            stages_s={stage: metric(page, f"{CPU}_total", {"stage": stage}) for stage in STAGES},
            batches=metric(page, "beforehand_batches_total"),
        )

    @classmethod
    def all(cls, samples: Sequence[Sample]) -> Sample:
        """Of several workers together."""
        first, *others = samples
        for each in others:
            first = cls(
                events=first.events + each.events,
                decided=first.decided + each.decided,
                cpu_s=first.cpu_s + each.cpu_s,
                rss_mb=first.rss_mb + each.rss_mb,
                queue=first.queue + each.queue,
                lag=first.lag + each.lag,
                stages_s={stage: spent + each.stages_s[stage] for stage, spent in first.stages_s.items()},
                batches=first.batches + each.batches,
            )
        return first


def _decided(page: str) -> float:
    """Events; ticks that were due, and what they led to, are left out."""
    spoken = [f"beforehand_{name}_total" for name in ("predictions", "suppressed")]
    silent = "beforehand_silent_total"
    all_of_them = sum(metric(page, name) - metric(page, name, {"trigger": "cart_idle"}) for name in spoken)
    return all_of_them + metric(page, silent) - metric(page, silent, {"reason": "not_due"})


@dataclass(slots=True)
class Work:
    """What a worker did between its first and its last sample."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def events(self) -> float:
        """Events that it took in."""
        return self.samples[-1].events - self.samples[0].events

    def as_json(self) -> dict[str, Any]:
        """CPU of an event by stage; the stages and `faust` add up to the whole. Memory, queue and lag at their most."""
        first, last = self.samples[0], self.samples[-1]
        events = max(1.0, self.events)
        stages = {stage: (last.stages_s[stage] - first.stages_s[stage]) * 1e6 / events for stage in STAGES}
        whole = (last.cpu_s - first.cpu_s) * 1e6 / events
        stages[OTHER] = whole - sum(stages.values())
        return {
            "events": round(self.events),
            "cpu_us_per_event": round(whole, 1),
            "stages_us_per_event": {stage: round(spent, 1) for stage, spent in stages.items()},
            "events_per_batch": round(events / max(1.0, last.batches - first.batches), 1),
            "rss_mb": round(max(sample.rss_mb for sample in self.samples), 1),
            "queue_events_max": round(max(sample.queue for sample in self.samples)),
            "lag_records_max": round(max(sample.lag for sample in self.samples)),
        }


@dataclass(slots=True)
class Point:
    """One load, sent and answered."""

    rate: float
    """Events a second that were asked for; infinite: all at once."""
    events: int
    unmatched: int
    """Events of which nothing was heard, or where predictions are held back, that were not decided on."""
    unanswered: int
    """The others of which nothing was heard."""
    repeats: int
    strangers: int
    """Records that belong to none of the events."""
    latency: Latency
    events_per_s: float
    """From the first that was due to the last that was heard."""
    behind_ms: float
    """The most that the generator was late."""
    levels: Counter[str] = field(default_factory=Counter)
    below_full_until_s: float | None = None
    """When the last answer below `full` was heard, in s from when the load began; none: there was none."""
    triggers: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    costs: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        found: dict[str, Any] = {
            "rate_per_s": None if self.rate == float("inf") else self.rate,
            "events": self.events,
            "unmatched": self.unmatched,
            "unanswered": self.unanswered,
            "repeats": self.repeats,
            "strangers": self.strangers,
            "latency": self.latency.as_json(),
            "events_per_s": round(self.events_per_s, 1),
            "behind_ms_max": round(self.behind_ms, 2),
            **self.costs,
        }
        if self.below_full_until_s is not None:
            found["below_full_until_s"] = round(self.below_full_until_s, 1)
        for name, counted in (("levels", self.levels), ("triggers", self.triggers), ("suppressed", self.held)):
            if counted:
                found[name] = dict(counted.most_common())
        return found


def of_product(flight: Flight, rate: float, warm_s: float) -> Point:
    """Answers by the ids that the events' predictions must have. What was due before `warm_s` is matched, not timed."""
    numbers, answers = flight.load.answers(), []
    levels, triggers, held = Counter[str](), Counter[str](), Counter[str]()
    below: float | None = None
    for at, topic, value in flight.heard:
        if topic == topics.SUPPRESSED.name:
            suppressed = codec.decode(value, Suppressed)
            prediction = suppressed.prediction
            held[suppressed.rule] += 1
        else:
            prediction = codec.decode(value, Prediction)
            triggers[prediction.trigger] += 1
        levels[prediction.level] += 1
        if prediction.level != "full":
            below = max(below or 0.0, at - flight.began)
        answers.append((at, numbers.get(prediction.prediction_id)))
    point = _point(flight, rate, warm_s, answers)
    point.levels, point.triggers, point.held = levels, triggers, held
    point.below_full_until_s = below
    return point


def of_reference(flight: Flight, rate: float, warm_s: float) -> Point:
    """The records themselves, as they come out again."""
    numbers = flight.load.values()
    return _point(flight, rate, warm_s, [(at, numbers.get(value)) for at, _, value in flight.heard])


def _point(flight: Flight, rate: float, warm_s: float, answers: list[tuple[float, int | None]]) -> Point:
    first: dict[int, float] = {}
    for at, number in answers:
        if number is not None:
            first.setdefault(number, at)
    timed = [number for number in first if flight.load.due[number] >= warm_s]
    known = sum(number is not None for _, number in answers)
    unheard = len(flight.load.rows) - len(first)
    took = max(first.values(), default=flight.began) - flight.began
    return Point(
        rate=rate,
        events=len(flight.load.rows),
        unmatched=unheard if flight.left is None else flight.left,
        unanswered=0 if flight.left is None else unheard - flight.left,
        repeats=known - len(first),
        strangers=len(answers) - known,
        latency=Latency.of(flight.latencies(timed, [first[number] for number in timed])),
        events_per_s=len(first) / took if took > 0 else 0.0,
        behind_ms=flight.behind_s * 1000,
    )
