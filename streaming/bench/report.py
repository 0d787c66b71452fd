"""What a bench found: a table for people, JSON, and a plot of latency against rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from streaming import plots
from streaming.bench.points import Point
from streaming.provenance import machine, versions

HELD_MS = 50.0
"""p99 at which a rate counts as held."""
ECHO, STOCK = "aiokafka, echo", "stock Faust"
"""Names of the references that figures are held against."""


@dataclass(slots=True)
class Size:
    """The product with a catalogue of one size."""

    items: int
    point: Point
    peak: Point | None = None
    scaled: Point | None = None
    """The peak of several workers."""
    sweep: list[Point] = field(default_factory=list)
    """In the order of their rates."""

    def points(self) -> list[Point]:
        """All that was measured."""
        return [point for point in (self.point, self.peak, self.scaled, *self.sweep) if point is not None]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        found: dict[str, Any] = {"items": self.items, **self.point.as_json()}
        if self.peak is not None:
            found["peak"] = self.peak.as_json()
        if self.scaled is not None:
            found["scaled"] = self.scaled.as_json()
        if self.sweep:
            found["sweep"] = [each.as_json() for each in self.sweep]
            found["highest_rate_per_s"] = highest(self.sweep)
        return found


@dataclass(slots=True)
class Reference:
    """Something that does less, at the same rate."""

    name: str
    point: Point
    peak: Point | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        found: dict[str, Any] = {"name": self.name, **self.point.as_json()}
        if self.peak is not None:
            found["peak"] = self.peak.as_json()
        return found


@dataclass(slots=True)
class Report:
    """All of it."""

    rate: float
    seconds: float
    warm_s: float
    visitors: int
    partitions: int
    throttle: bool = False
    """Whether predictions were held back, so that not each event was answered."""
    core: int | None = None
    """Which the worker, and each reference in its turn, kept to; none: the system put them where it liked."""
    broker: str = ""
    sizes: list[Size] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    gpu: dict[str, Any] | None = None

    def faults(self) -> dict[str, int]:
        """What must not be: events without an answer, and answers to nothing."""
        points = [point for size in self.sizes for point in size.points()]
        found = {
            "unmatched": sum(point.unmatched for point in points),
            "strangers": sum(point.strangers for point in points),
        }
        return {name: count for name, count in found.items() if count}

    def ratios(self) -> dict[str, float]:
        """The first size, held against the references of the same run."""
        found = {}
        known = {reference.name: reference for reference in self.references}
        first = self.sizes[0]
        if ECHO in known and known[ECHO].point.latency.count and first.point.latency.count:
            found["p90_over_echo"] = round(first.point.latency.ms(90) / known[ECHO].point.latency.ms(90), 2)
        stock = known[STOCK].peak if STOCK in known else None
        if stock is not None and first.peak is not None and stock.events_per_s:
            found["peak_over_stock_faust"] = round(first.peak.events_per_s / stock.events_per_s, 2)
        if len(self.sizes) > 1 and first.point.latency.count:
            found["p90_largest_over_first"] = round(self.sizes[-1].point.latency.ms(90) / first.point.latency.ms(90), 2)
        return found

    def as_json(self) -> dict[str, Any]:
        """Plain data; units stand in the names."""
        return {
            "rate_per_s": self.rate,
            "seconds": self.seconds,
            "warm_up_s": self.warm_s,
            "visitors": self.visitors,
            "partitions": self.partitions,
            "throttle": self.throttle,
            "core": self.core,
            "broker": self.broker,
            "faults": self.faults(),
            "sizes": [size.as_json() for size in self.sizes],
            "references": [reference.as_json() for reference in self.references],
            "ratios": self.ratios(),
            "gpu": self.gpu,
            "versions": versions(),
            "machine": machine(),
        }

    def show(self, console: Console) -> None:
        """The tables for people."""
        held = ", held back as in a shop" if self.throttle else ""
        held += f", on core {self.core}" if self.core is not None else ""
        table = Table(title=f"{self.rate:,.0f} events/s for {self.seconds:g} s{held}, broker: {self.broker}")
        for name in ("", "events/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "CPU us", "RSS MB", "lost"):
            table.add_column(name, justify="right" if name else "left", no_wrap=True)
        for name, point in self._rows():
            cost = point.costs.get("worker", {})
            told = point.latency.as_json()
            table.add_row(
                name,
                f"{point.events_per_s:,.0f}",
                *(_number(told[key]) for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms")),
                _number(cost.get("cpu_us_per_event")),
                _number(cost.get("rss_mb")),
                str(point.unmatched),
            )
        console.print(table)
        for size in self.sizes:
            console.print(f"{size.items:,} items: {_stages(size.point)}", soft_wrap=True)
            if size.peak is not None:
                console.print(f"{size.items:,} items, all at once: {_stages(size.peak)}", soft_wrap=True)
            if size.scaled is not None:
                console.print(f"several workers over one: {size.scaled.costs['over_one']}", soft_wrap=True)
            if size.sweep:
                rate = highest(size.sweep)
                found = f"{rate:,.0f} events/s" if rate else "none that was tried"
                console.print(f"{size.items:,} items, highest rate with p99 <= {HELD_MS:g} ms: {found}")
        for name, value in self.ratios().items():
            console.print(f"{name.replace('_', ' ')}: {value:g}")
        if self.gpu is not None:
            console.print(f"GPU: {self.gpu.get('skipped') or self.gpu}", soft_wrap=True)
        if self.faults():
            console.print(f"[red]does not tally: {self.faults()}[/red]")

    def _rows(self) -> Iterator[tuple[str, Point]]:
        for size in self.sizes:
            yield f"product, {size.items:,} items", size.point
            for point in size.sweep:
                yield f"  at {point.rate:,.0f}/s", point
            if size.peak is not None:
                yield "  all at once", size.peak
            if size.scaled is not None:
                yield f"  to {size.scaled.costs['over_one']['workers']} workers", size.scaled
        for reference in self.references:
            yield reference.name, reference.point
            if reference.peak is not None:
                yield "  all at once", reference.peak

    def plot(self) -> bytes:
        """Latency against rate, as PNG: of the sweep where there was one, else of the one rate that was sent."""
        series = {}
        for size in self.sizes:
            points = size.sweep or [size.point]
            for percentile in (50, 90, 99):
                name = f"p{percentile}" + (f", {size.items:,} items" if len(self.sizes) > 1 else "")
                timed = [point for point in points if point.latency.count]
                rates = [point.rate for point in timed]
                series[name] = rates, [point.latency.ms(percentile) for point in timed]
        for reference in self.references:
            if reference.point.latency.count:
                series[f"p90, {reference.name}"] = [reference.point.rate], [reference.point.latency.ms(90)]
        return plots.lines_png(series, xlabel="events a second", ylabel="ms from due to heard", log_y=True)


def holds(point: Point) -> bool:
    """Whether a rate was held: every event answered, and p99 within bounds."""
    return not point.unmatched and point.latency.count > 0 and point.latency.ms(99) <= HELD_MS


def highest(points: list[Point]) -> float | None:
    """The highest rate that was held; none: none was."""
    return max((point.rate for point in points if holds(point)), default=None)


def _stages(point: Point) -> str:
    work = point.costs.get("worker", {})
    stages = work.get("stages_us_per_event", {})
    parts = [f"{name} {spent:,.0f}" for name, spent in stages.items()]
    levels = ", ".join(f"{level} {count:,}" for level, count in point.levels.most_common())
    if point.unanswered:
        levels += f", decided and not told {point.unanswered:,}"
    if point.below_full_until_s is not None:
        levels += f", the last below full heard {point.below_full_until_s:,.1f} s after the load began"
    around = ", ".join(
        f"{n.removesuffix('_cpu_us_per_event')} {v:,.0f}"
        for n, v in point.costs.items()
        if n.endswith("_cpu_us_per_event")
    )
    return (
        f"us of CPU an event: {', '.join(parts)} (beside it: {around}); {work.get('events_per_batch')} events a batch;"
        f" queue at most {work.get('queue_events_max')}, lag {work.get('lag_records_max')}; levels: {levels}"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
