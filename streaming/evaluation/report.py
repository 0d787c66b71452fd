"""An evaluation as JSON, and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from streaming.evaluation.cold import ColdTest
from streaming.evaluation.curves import Curve
from streaming.evaluation.curves import as_json as curves_json
from streaming.evaluation.evaluation import Comparison, Evaluation, Measured
from streaming.evaluation.forecasts import Forecasts, Promise
from streaming.provenance import machine, versions

SHOWN = ("hr_1", "hr_5", "hr_10", "hr_20", "ndcg_10", "mrr_20", "coverage_20", "novelty_20", "diversity_20")
NARROW = ("hr_10", "hr_20", "ndcg_10", "mrr_20")
"""What a table that has to fit a terminal shows."""
TITLES = {
    "hr_1": "HR@1",
    "hr_5": "HR@5",
    "hr_10": "HR@10",
    "hr_20": "HR@20",
    "ndcg_10": "NDCG@10",
    "mrr_20": "MRR@20",
    "coverage_20": "coverage@20",
    "novelty_20": "novelty, bits",
    "diversity_20": "diversity",
}
"""What metrics are called before people."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `beforehand evaluate` says; the JSON's keys are a contract."""

    shop: str
    model: str
    """Version of the model folder whose settings were used."""
    data: Mapping[str, int | str | bool]
    evaluation: Evaluation
    cold: ColdTest | None = None
    forecasts: Forecasts | None = None
    curves: Sequence[Curve] = ()
    """How what was trained went."""
    warnings: Sequence[str] = ()
    """What makes figures worth less than they look, or a loser of the product."""

    def as_json(self) -> dict[str, Any]:
        """One object."""
        found = self.evaluation
        best = found.best_baseline
        told: dict[str, Any] = {
            "protocol": found.protocol,
            "shop": self.shop,
            "model": self.model,
            "data": dict(self.data),
            "n": found.n,
            "groups": found.groups,
            "metrics": _rounded(found.product.means),
            "intervals": _intervals(found.product.intervals),
            "baselines": {line.name: _line(line) for line in found.lines if line.family == "baseline"},
            "variants": {line.name: _line(line) for line in found.lines if line.family == "variant"},
            "primary": found.primary,
            "best_baseline": best.name,
            "comparisons": [
                {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(each).items()}
                for each in found.comparisons
            ],
            "slices": {
                slice_: {
                    label: {
                        "n": size,
                        "metrics": _rounded(found.product.by_slice[slice_][label]),
                        "interval": [round(end, 5) for end in found.product.slice_intervals[slice_][label]],
                        "best_baseline": _rounded(best.by_slice[slice_][label]),
                    }
                    for label, size in labels.items()
                }
                for slice_, labels in found.sizes.items()
            },
        }
        if self.cold is not None:
            told["cold"] = self.cold.as_json()
        if self.forecasts is not None:
            told["forecasts"] = self.forecasts.as_json()
        told |= {"training": curves_json(self.curves), "warnings": list(self.warnings)}
        return told | {"versions": versions(), "machine": machine()}

    def show(self, console: Console) -> None:
        """Tables: all rankers, then the product and the best baseline by slice, then what is said of chances."""
        found = self.evaluation
        console.print(
            f"{self.shop}, {found.protocol}: {found.n:,} questions of {found.groups:,} {self.data['groups']};"
            f" learned from {self.data['learned']:,} of {self.data['events']:,} events;"
            f" all {self.data['items']:,} items ranked",
            highlight=False,
        )
        console.print(_all_rankers(found))
        console.print(
            "95 % intervals by paired bootstrap; * p < .05 by Holm; the best of a column is bold", highlight=False
        )
        for warning in self.warnings:
            console.print(f"! {warning}", highlight=False, markup=False)
        console.print()
        console.print(_slices(found))
        if self.forecasts is not None and self.forecasts.calibrated:
            console.print()
            console.print(_chances(self.forecasts))
        if self.cold is not None:
            console.print(self.cold.table())


def json_of(reports: Sequence[Report]) -> dict[str, Any]:
    """One object: that of the only report, else each under its protocol."""
    if len(reports) == 1:
        return reports[0].as_json()
    first = reports[0]
    protocols = {report.evaluation.protocol: report.as_json() for report in reports}
    return {"shop": first.shop, "model": first.model, "protocols": protocols}


def _all_rankers(found: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for metric in NARROW:
        table.add_column(TITLES[metric], justify="right", no_wrap=True)
    table.add_column(f"{TITLES[found.primary]} over it", justify="right", no_wrap=True)
    beside = {each.against: each for each in found.comparisons}
    family = found.lines[0].family
    best = {metric: max(line.means[metric] for line in found.lines) for metric in NARROW}
    for line in found.lines:
        if line.family != family:
            table.add_section()
            family = line.family
        figures = [
            f"[bold]{told}[/bold]" if line.means[metric] == best[metric] else told
            for metric in NARROW
            if (told := figure(metric, line.means[metric]))
        ]
        each = beside.get(line.name)
        table.add_row(line.name, *figures, "" if each is None else difference(each))
    return table


def _slices(found: Evaluation) -> Table:
    ours, best, primary = found.product, found.best_baseline, found.primary
    table = Table(box=None, pad_edge=False, title=f"{TITLES[primary]} by slice", title_justify="left")
    table.add_column("")
    for title in ("questions", ours.name, "95 %", best.name):
        table.add_column(title, justify="right", no_wrap=True)
    for slice_, labels in found.sizes.items():
        for label, size in labels.items():
            low, high = ours.slice_intervals[slice_][label]
            figures = (ours.by_slice[slice_][label][primary], best.by_slice[slice_][label][primary])
            mine, theirs = (f"{value:.4f}" for value in figures)
            table.add_row(f"{slice_}: {label}", f"{size:,}", mine, f"{low:.4f} to {high:.4f}", theirs)
    return table


def _chances(told: Forecasts) -> Table:
    title = "Probabilities shown, that an item comes within the horizon"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("of")
    for name in ("n", "came", "ECE", "Brier", "AUC"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, each in told.calibrated.items():
        table.add_row(name, f"{each.n:,}", *(f"{value:.4f}" for value in (each.rate, each.ece, each.brier, each.auc)))
    if told.promise is not None:
        table.caption, table.caption_justify = promise_told(told.promise), "left"
    return table


def promise_told(promise: Promise) -> str:
    """A promise in words.

    >>> promise_told(Promise(0.3, None, 50, 0, 0.0, 0.0, 1.0))
    'asked for a precision of 30 %: no threshold keeps it'
    """
    asked = f"asked for a precision of {promise.asked:.0%}".replace("%", " %")
    if promise.threshold is None:
        return f"{asked}: no threshold keeps it"
    figures = (promise.precision, promise.low, promise.high, promise.coverage)
    precision, low, high, coverage = (f"{value * 100:.1f}" for value in figures)
    return f"{asked}: {precision} % ({low} to {high}) at {coverage} % coverage of {promise.n:,} other moments"


def difference(each: Comparison) -> str:
    """What the product is ahead, with its 95 % interval; a star where Holm's p is below .05.

    >>> difference(Comparison("popularity", 0.05, 0.04, 0.06, 0.001, 0.004))
    '+.0500 (+.0400 to +.0600)*'
    """
    ahead, low, high = (f"{value:+.4f}".replace("0.", ".", 1) for value in (each.difference, each.low, each.high))
    return f"{ahead} ({low} to {high})" + "*" * (each.p_holm < 0.05)


def figure(metric: str, value: float) -> str:
    """A metric's value before people."""
    return f"{value:.2f}" if metric == "novelty_20" else f"{value:.4f}"


def _line(line: Measured) -> dict[str, Any]:
    return {**_rounded(line.means), "intervals": _intervals(line.intervals)}


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in figures.items()}


def _intervals(intervals: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {name: [round(low, 5), round(high, 5)] for name, (low, high) in intervals.items()}
