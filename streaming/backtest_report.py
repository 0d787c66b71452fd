"""What a backtest says: figures of its quality and of its costs, as JSON and as a table for people.

Quality is a function of the log, the model and the settings, equal to the byte; costs are of this machine and this run,
and are kept apart.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from index.calibrating import auc, brier, ece
from streaming.backtest import Costs
from streaming.backtest_quality import DEPTH, Quality, Sent
from streaming.evaluation.bootstrap import draw
from streaming.provenance import machine, versions

METRICS = ("hr_10", "hr_20", "mrr_10", "mrr_20", "ndcg_10", "ndcg_20")
TITLES = {
    "hr_10": "HR@10",
    "hr_20": "HR@20",
    "mrr_10": "MRR@10",
    "mrr_20": "MRR@20",
    "ndcg_10": "NDCG@10",
    "ndcg_20": "NDCG@20",
}
PIECES = 40
"""Stretches of equally many questions that the course of a hit rate is told by."""

Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Run:
    """What was run on what."""

    shop: str
    model: str
    """Version of the model folder."""
    learn: bool
    partitions: int
    items: int
    set_aside: int
    """Rows of the log that were refused before the engine saw them."""
    seen_by_model: int
    """Events of the log that the model was built on, as far as it says."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told of one backtest."""

    run: Run
    quality: Quality
    costs: Costs
    dead_letters: Mapping[str, int]

    # ----------------------------------------------------------------------------------------------------------- JSON
    def as_json(self) -> dict[str, Any]:
        """One object, for `--json`."""
        return self.quality_json() | self.timings_json()

    def quality_json(self) -> dict[str, Any]:
        """What the same log gives every time."""
        run, heard = self.run, self.quality
        return {
            "shop": run.shop,
            "model": run.model,
            "learn": run.learn,
            "partitions": run.partitions,
            "items": run.items,
            "events": heard.events,
            "due": heard.due,
            "sessions": heard.visits,
            "first_time": heard.first_time,
            "last_time": heard.last_time,
            "set_aside": run.set_aside,
            "seen_by_model": run.seen_by_model,
            "dead_letters": dict(sorted(self.dead_letters.items())),
            "rankings": self._rankings(),
            "sent": self._sent(),
            "suppressed": _summed(heard.suppressed, 0),
            "suppressed_by_trigger": _summed(heard.suppressed, 1),
            "silent": dict(sorted(heard.silent.items())),
            "levels": _summed(heard.predictions, 1),
        }

    def timings_json(self) -> dict[str, Any]:
        """What this run took."""
        costs, events = self.costs, self.quality.events
        wall = math.fsum(costs.steps_s)
        return {
            **_percentiles(costs.steps_s),
            "stages": {stage: _percentiles(laps) for stage, laps in costs.stages_s.items()},
            "cpu_us_per_event": round(costs.cpu_s / events * 1e6, 1) if events else None,
            "events_per_s": round(events / wall, 1) if wall else None,
            "versions": versions(),
            "machine": machine(),
        }

    def _rankings(self) -> dict[str, Any]:
        heard = self.quality
        ours, theirs = values_of(heard.ranks), values_of(heard.popular_ranks)
        told: dict[str, Any] = {
            "n": len(ours),
            "left_out_repeats": heard.left_out,
            "unfollowed": heard.unfollowed,
            "metrics": _means(ours)
            | {
                "coverage_20": _rounded(len(heard.shown) / self.run.items if self.run.items else 0.0),
                "novelty_20_bits": _rounded(heard.novelty()),
            },
            "popularity": _means(theirs),
            "intervals": {},
            "gains": {},
        }
        if len(ours):
            drawn = draw(np.hstack([ours, theirs]), _numbered(heard.groups))
            for place, metric in enumerate(METRICS):
                told["intervals"][metric] = _ends(drawn.interval(place))
                told["gains"][metric] = _ends(drawn.difference(place, place + len(METRICS)))
        return told

    def _sent(self) -> dict[str, Any]:
        heard = self.quality
        spoken = sum(heard.predictions.values()) - heard.withdrawals
        decided = heard.events + heard.due
        hits = np.array([bool(sent.taken) for sent in heard.sent], np.float64)
        popular = np.array([sent.popular_hit for sent in heard.sent], np.float64)
        told: dict[str, Any] = {
            "predictions": spoken,
            "predictions_by_trigger": _summed(heard.predictions, 0),
            "withdrawals": heard.withdrawals,
            "share_of_decisions": _rounded(spoken / decided if decided else 0.0),
            "sessions_spoken_to": len({sent.session for sent in heard.sent}),
            "cut_off": heard.cut_off,
            **_precision(heard.sent),
            "hit_rate_popularity": _rounded(float(popular.mean()) if len(popular) else 0.0),
            "by_trigger": {
                trigger: _precision([sent for sent in heard.sent if sent.trigger == trigger])
                for trigger in sorted({sent.trigger for sent in heard.sent})
            },
            "lead_s": lead_s(heard.sent),
            "calibrated": heard.calibrated,
            "calibration": self._calibration(),
        }
        if len(hits):
            groups = _numbered(array("q", (sent.session for sent in heard.sent)))
            drawn = draw(np.stack([hits, popular], axis=1), groups)
            told["hit_rate_interval"] = _ends(drawn.interval(0))
            told["hit_rate_gain"] = _ends(drawn.difference(0, 1))
        return told

    def _calibration(self) -> dict[str, float | int]:
        scores, taken = self.quality.scores()
        return {
            "n": len(scores),
            "mean_score": _rounded(float(scores.mean()) if len(scores) else 0.0),
            "hit_rate": _rounded(float(taken.mean()) if len(taken) else 0.0),
            "ece": _rounded(ece(scores, taken)),
            "brier": _rounded(brier(scores, taken)),
            "auc": _rounded(auc(scores, taken)),
        }

    # ---------------------------------------------------------------------------------------------------- for people
    @property
    def warnings(self) -> list[str]:
        """What makes the figures worth less than they look."""
        run, heard = self.run, self.quality
        found = []
        if run.seen_by_model:
            found.append(
                f"the model was built on {run.seen_by_model:,} of these {heard.events:,} events: quality says nothing "
                "about what it foretells; build it with --until the time at which the backtest begins"
            )
        if self.dead_letters or run.set_aside:
            found.append(f"{sum(self.dead_letters.values()) + run.set_aside:,} rows of the log were refused")
        return found

    def show(self, console: Console) -> None:
        """Tables: what was ranked, what was sent, what it took."""
        told, took = self.quality_json(), self.timings_json()
        console.print(
            f"{told['shop']} with model {told['model']}: {told['events']:,} events of {told['sessions']:,} sessions, "
            f"{'learned as they came' if told['learn'] else 'nothing learned from them'}",
            highlight=False,
            markup=False,
        )
        for warning in self.warnings:
            console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
        for title, columns, rows in tables(told, took):
            table = Table(title, *columns, box=None, pad_edge=False)
            for column in table.columns[1:]:
                column.justify = "right"
            for row in rows:
                table.add_row(*row)
            console.print()
            console.print(table, highlight=False)


def tables(told: Mapping[str, Any], took: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, columns and rows, as text: the same on a terminal and on a page."""
    yield _ranking_table(told["rankings"])
    yield _sent_table(told["sent"])
    yield _outcome_table(told)
    yield _cost_table(took)


def _ranking_table(ranked: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for metric in METRICS:
        low, high = ranked["gains"].get(metric, (0.0, 0.0))
        ours, theirs = ranked["metrics"][metric], ranked["popularity"][metric]
        rows.append(
            [TITLES[metric], f"{ours:.4f}", f"{theirs:.4f}", f"{ours - theirs:+.4f}", f"{low:+.4f} to {high:+.4f}"]
        )
    rows.append(["coverage@20", f"{ranked['metrics']['coverage_20']:.4f}", "", "", ""])
    rows.append(["novelty, bits", f"{ranked['metrics']['novelty_20_bits']:.2f}", "", "", ""])
    return f"rankings, {ranked['n']:,} asked", ["ours", "popularity", "gain", "95 %"], rows


def _sent_table(sent: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    lines = [*sent["by_trigger"].items(), ("all", sent)]
    rows = [
        [
            name,
            f"{line['n']:,}",
            f"{line['hit_rate']:.4f}",
            f"{line['hit_rate_followed']:.4f}",
            f"{line['precision']:.4f}",
        ]
        for name, line in lines
    ]
    rows.append(["popularity", "", f"{sent['hit_rate_popularity']:.4f}", "", ""])
    title = f"sent, on {sent['share_of_decisions']:.1%} of decisions; {sent['cut_off']:,} end after the log"
    return title, ["predictions", "hit", "hit where the session went on", "precision"], rows


def _outcome_table(told: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = [[f"held back: {rule}", f"{count:,}"] for rule, count in told["suppressed"].items()]
    rows += [[f"silent: {reason}", f"{count:,}"] for reason, count in told["silent"].items()]
    lead, calibration = told["sent"]["lead_s"], told["sent"]["calibration"]
    if lead["n"]:
        rows.append(
            [
                "seconds to what was taken up, p10 / p50 / p90",
                " / ".join(f"{lead[p]:,.0f}" for p in ("p10", "p50", "p90")),
            ]
        )
    rows.append(
        [
            "mean score of what was sent, and its hit rate",
            f"{calibration['mean_score']:.4f} / {calibration['hit_rate']:.4f}",
        ]
    )
    rows.append(["calibration error of the scores (ECE)", f"{calibration['ece']:.4f}"])
    return "outcome", [""], rows


def _cost_table(took: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    names = ("p50_ms", "p90_ms", "p99_ms")
    lines = [*took["stages"].items(), ("whole step", took)]
    rows = [[name, *("" if line[each] is None else f"{line[each]:.3f}" for each in names)] for name, line in lines]
    per_event = took["cpu_us_per_event"]
    cpu = "" if per_event is None else f", {per_event:,.0f} us of CPU an event"
    return f"latency, ms{cpu}", ["p50", "p90", "p99"], rows


# ---------------------------------------------------------------------------------------------------------- figures
def values_of(ranks: array[float]) -> Figures:
    """(n, METRICS): every metric of every rank; an infinite one is a miss."""
    places = np.frombuffer(ranks, np.float64) if len(ranks) else np.empty(0)
    columns = []
    for metric in METRICS:
        name, _, depth = metric.partition("_")
        gain = {"hr": np.ones_like(places), "mrr": 1 / places, "ndcg": 1 / np.log2(1 + places)}[name]
        columns.append(np.where(places <= int(depth), gain, 0.0))
    return np.stack(columns, axis=1)


def course(quality: Quality) -> tuple[list[float], list[float], list[float]]:
    """Events so far, and the hit rate at DEPTH of ours and of popularity, of stretches of equally many questions."""
    ours, theirs = (np.isfinite(np.frombuffer(ranks, np.float64)) for ranks in (quality.ranks, quality.popular_ranks))
    places = np.frombuffer(quality.places, np.int64)
    pieces = [piece for piece in np.array_split(np.arange(len(ours)), PIECES) if len(piece)]
    return (
        [float(places[piece[-1]]) for piece in pieces],
        [float(ours[piece].mean()) for piece in pieces],
        [float(theirs[piece].mean()) for piece in pieces],
    )


def lead_s(sent: list[Sent]) -> dict[str, float | int | None]:
    """Seconds from a prediction to the first event on one of its items, of those that came to one."""
    leads = [one.lead_ms / 1000 for one in sent if one.lead_ms is not None]
    points = [round(float(value), 1) for value in np.percentile(leads, [10, 50, 90])] if leads else [None] * 3
    return {"n": len(leads), **dict(zip(("p10", "p50", "p90"), points, strict=True))}


def _precision(sent: list[Sent]) -> dict[str, float | int]:
    """Share of predictions of which an item was taken up, in all and where the session went on; and of items."""
    hits = sum(bool(one.taken) for one in sent)
    followed = sum(one.followed for one in sent)
    items = sum(len(one.items) for one in sent)
    return {
        "n": len(sent),
        "hit_rate": _rounded(hits / len(sent) if sent else 0.0),
        "followed": followed,
        "hit_rate_followed": _rounded(hits / followed if followed else 0.0),
        "precision": _rounded(sum(len(one.taken) for one in sent) / items if items else 0.0),
    }


def _means(values: Figures) -> dict[str, float]:
    means = values.mean(axis=0).tolist() if len(values) else [0.0] * len(METRICS)
    return {metric: _rounded(mean) for metric, mean in zip(METRICS, means, strict=True)}


def _numbered(groups: array[int]) -> NDArray[np.int64]:
    """Groups from 0 on, without gaps."""
    return np.unique(np.frombuffer(groups, np.int64), return_inverse=True)[1].astype(np.int64)


def _percentiles(laps: array[float]) -> dict[str, float | None]:
    points = (np.percentile(np.frombuffer(laps), [50, 90, 99]) * 1000).round(4).tolist() if len(laps) else [None] * 3
    return dict(zip(("p50_ms", "p90_ms", "p99_ms"), points, strict=True))


def _summed(counts: Mapping[tuple[str, str], int], place: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for names, count in sorted(counts.items()):
        found[names[place]] = found.get(names[place], 0) + count
    return found


def _rounded(value: float) -> float:
    return round(value, 5)


def _ends(interval: tuple[float, float]) -> list[float]:
    return [_rounded(end) for end in interval]


assert DEPTH == 20  # the metrics' names say so
