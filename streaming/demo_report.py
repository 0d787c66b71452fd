"""The demo's closing table, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from streaming.foretold import Foretold
from streaming.provenance import machine, versions


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo measured; the JSON's field names are a contract."""

    events_in: int
    """Events put on the topics, each confirmed by the broker."""
    decided: int
    """Events that the worker has decided, by its own counters."""
    predictions_out: int
    """Predictions on the topic, each id once."""
    suppressed: Mapping[str, int]
    silent: Mapping[str, int]
    dead_letters: int
    latencies_ms: tuple[float, float, float] | None
    """p50, p90, p99 from the producer's send to the consumer's receipt; None: nothing arrived."""
    first_prediction_s: float | None
    """From the start of the demo to the first prediction."""
    foretold: Foretold
    events_per_s: float
    """Rate at which events were put."""
    behind_ms_max: float
    """How late the latest event was put, against the open loop's clock."""
    stages_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def troubles(self) -> list[str]:
        """Why the demo has failed; none: it has not."""
        told = self.foretold
        found = []
        if self.decided != self.events_in:
            found.append(f"{self.events_in:,} events went in and {self.decided:,} were decided, expected all")
        if self.dead_letters:
            found.append(f"{self.dead_letters:,} records became dead letters, expected none")
        if not self.predictions_out:
            found.append("no prediction came out")
        elif told.hit_rate <= told.hit_rate_popularity:
            found.append(
                f"the hit rate {told.hit_rate:.3f} does not beat popularity's {told.hit_rate_popularity:.3f}"
                f" (n = {told.n:,})"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """One flat object, units in the names."""
        p50, p90, p99 = self.latencies_ms or (None, None, None)
        told = self.foretold
        return {
            "events_in": self.events_in,
            "decided": self.decided,
            "predictions_out": self.predictions_out,
            "suppressed": dict(self.suppressed),
            "silent": dict(self.silent),
            "dead_letters": self.dead_letters,
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "first_prediction_s": self.first_prediction_s,
            "hit_rate": round(told.hit_rate, 4),
            "hit_rate_popularity": round(told.hit_rate_popularity, 4),
            "n": told.n,
            "sessions": told.sessions,
            "interval": [round(told.low, 4), round(told.high, 4)],
            "events_per_s": round(self.events_per_s, 1),
            "behind_ms_max": round(self.behind_ms_max, 1),
            "stages_s": {name: round(seconds, 2) for name, seconds in self.stages_s.items()},
            "troubles": self.troubles,
            "versions": versions(),
            "machine": machine(),
        }

    def show(self, console: Console) -> None:
        """The table for people."""
        console.print()
        for name, text in self._rows():
            console.print(Text.assemble((f"{name:<18}", "dim"), text), soft_wrap=True)

    def _rows(self) -> Iterator[tuple[str, str]]:
        told = self.foretold
        yield "events in", f"{self.events_in:,} at {self.events_per_s:,.0f}/s, {self.decided:,} decided"
        yield "predictions out", f"{self.predictions_out:,}"
        yield "held back", _listed(self.suppressed)
        yield "silent", _listed(self.silent)
        yield "dead letters", f"{self.dead_letters:,}"
        if self.latencies_ms is not None:
            p50, p90, p99 = self.latencies_ms
            yield "latency", f"p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms, from send to receipt"
        if self.first_prediction_s is not None:
            yield "first prediction", f"{self.first_prediction_s:.1f} s after the start"
        yield (
            "hit rate",
            f"{told.hit_rate:.3f}: of {told.n:,} predictions in {told.sessions:,} baskets, those that named"
            " something bought later",
        )
        yield "popularity's", f"{told.hit_rate_popularity:.3f}: asked at the same moments for as many items"
        difference = told.hit_rate - told.hit_rate_popularity
        yield "difference", f"{difference:+.3f}, 95 % interval {told.low:+.3f} to {told.high:+.3f}"
        yield "time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.stages_s.items())


def _listed(counts: Mapping[str, int]) -> str:
    if not counts:
        return "0"
    return f"{sum(counts.values()):,}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
