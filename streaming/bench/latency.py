"""How long answers took, in an HdrHistogram. The one door to that library.

A latency is counted from the moment at which an event was to be sent, not from that at which a late generator got round
to it: so what a stall keeps waiting is counted as it was felt (coordinated omission).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

LEAST_US, MOST_US, DIGITS = 1, 600_000_000, 3
"""From 1 us to 10 min, to three digits."""


@dataclass(slots=True)
class Latency:
    """Latencies of one run."""

    histogram: HdrHistogram = field(default_factory=lambda: HdrHistogram(LEAST_US, MOST_US, DIGITS))

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency:
        """Counts them; what is out of the histogram's bounds counts as the nearest of them.

        >>> [round(Latency.of([0.001] * 98 + [0.05, 0.2]).ms(percentile)) for percentile in (50, 99)]
        [1, 50]
        """
        latency = cls()
        for value in seconds:
            latency.histogram.record_value(min(MOST_US, max(LEAST_US, round(value * 1e6))))
        return latency

    @property
    def count(self) -> int:
        """Latencies in it."""
        return int(self.histogram.get_total_count())

    def ms(self, percentile: float) -> float:
        """A percentile, in ms."""
        return round(float(self.histogram.get_value_at_percentile(percentile)) / 1000, 2)

    def as_json(self) -> dict[str, Any]:
        """Percentiles, and the whole histogram as its library writes it (V2, compressed, base 64)."""
        if not self.count:
            return {"n": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "p999_ms": None, "max_ms": None}
        return {
            "n": self.count,
            "p50_ms": self.ms(50),
            "p90_ms": self.ms(90),
            "p99_ms": self.ms(99),
            "p999_ms": self.ms(99.9),
            "max_ms": round(self.histogram.get_max_value() / 1000, 2),
            "hdr": self.histogram.encode().decode(),
        }
