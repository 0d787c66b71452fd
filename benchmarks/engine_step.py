"""What one event costs the engine, without Kafka: `python benchmarks/engine_step.py --json`.

The model is fitted on a past of synthetic visitors and read back from its folder as a worker reads it: counts with as
many neighbours an item as are kept, sessions for the neighbours, facts of brand, category and attributes, vectors of
text, graph and behaviour. Every part of the ranking weighs something. Vectors of texts come from the dummy encoder,
turned to 128 dimensions as BERT's are, so that BERT itself is not in the figures.

Visitors go from one family of items to another at each event, so that the head of the ranking changes every time, and
there is no throttle: all but 1 event in 100 ends in a prediction with ten items and their reasons, which no shop does.

CPU time of this process, in batches, the best of several runs: other programs on the machine can only make a run
slower. The stages are timed in runs of their own, for a clock costs time too.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from encoders.cache import CachedTextEncoder
from encoders.catalogue import item_text
from encoders.session import PooledSessionEncoder
from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index.model import Manifest, ModelFolder
from index.table_fitting import fit_tables
from index.tables import TableSettings
from streaming import decisions
from streaming.decisions import Decision
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.provenance import machine, versions
from streaming.ranking import RankingSettings
from streaming.records import Item, Learned
from streaming.sessions import SessionState
from streaming.settings import RuleSettings, Settings
from streaming.topics import BROWSES, SOURCES

ITEMS = 12_101
"""As many as Amazon Beauty has."""
FAMILIES = 20
VISITORS = 200
DIMENSION = 128
PAST_EVENTS_PER_ITEM = 25
"""In walks of 20 events: enough that every item has met more others than are kept."""
BEGIN = 1_700_000_000_000
RANKING = RankingSettings(text=0.07, graph=0.06, behaviour=0.05, prior=0.02)
"""So that of the reasons given a fair share is of each kind; those of facts cost most."""
RULES = RuleSettings(quiet_ms=0, trigger_cooldown_ms=0, item_cooldown_ms=0, min_gain=0, daily_cap=1_000_000)
"""No throttle."""


@dataclass(slots=True)
class Costs:
    """CPU time of one run, in us an event."""

    step: float = 0.0
    """From events to decisions."""
    learn: float = 0.0
    """Taking in what they taught, as a worker does that reads `learned`."""
    stages: dict[str, float] = field(default_factory=dict)
    """Of `step`, by stage, where it was asked for."""
    within: dict[str, float] = field(default_factory=dict)
    """Of the stages `rank` and `decide`, what is of interest by itself."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """What events ended in."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Codes of the reasons given."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=6000)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3, help="the best of them is reported")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, catalogue = Path(folder) / "model", _catalogue(given.items)
        content = _build(model, catalogue)
        runs = [measure(model, catalogue, given.events, given.batch) for _ in range(given.runs)]
        split = min(
            (measure(model, catalogue, given.events, given.batch, split=True) for _ in range(given.runs)),
            key=lambda costs: costs.step,
        )
    report = {
        "events": given.events,
        "items": given.items,
        "batch": given.batch,
        "runs": given.runs,
        **content,
        "cpu_us_per_event": round(min(costs.step for costs in runs), 1),
        "learn_us_per_event": round(min(costs.learn for costs in runs), 1),
        "stages_us": _rounded(split.stages),
        "within_us": _rounded(split.within),
        "outcomes": dict(runs[0].outcomes),
        "reasons": dict(runs[0].reasons),
        "versions": versions(),
        "machine": machine(),
    }
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:28}{value}")


def measure(model: Path, catalogue: Sequence[Item], events: int, batch: int, *, split: bool = False) -> Costs:
    """One run over a shop of its own.

    Args:
        split: by stage; the sum is then larger than it is without.
    """
    with tempfile.TemporaryDirectory() as cache:
        shop = Shop.of(ModelFolder.load(model), CachedTextEncoder(DummyTextEncoder(), Path(cache)))
        shop.upsert(catalogue)
    settings = Settings(no_pseudonyms=True, rules=RULES)
    engine = Engine(settings, shop, PooledSessionEncoder(shop.dimension), Pseudonyms(None), RANKING)
    load = list(_load(events, len(catalogue)))
    states: dict[str, SessionState] = {}
    costs, explain = Costs(), decisions.explain
    if split:
        _split(engine, costs)
    step = learn = 0
    for start in range(0, events, batch):
        begun = time.process_time_ns()
        changed, decided = engine.step(load[start : start + batch], states)
        done = time.process_time_ns()
        shop.learn(_lesson(decided))
        learn += time.process_time_ns() - done
        step += done - begun
        states.update(changed)
        for decision in decided:
            _count(decision, costs)
    decisions.explain = explain
    for part in (costs.stages, costs.within):
        part.update({name: total / 1000 / events for name, total in part.items()})
    costs.step, costs.learn = step / 1000 / events, learn / 1000 / events
    return costs


def _split(engine: Engine, costs: Costs) -> None:
    """Has the engine's stages timed, and within them what one wants to know of each."""
    running: list[Any] = [None, 0]

    def mark(stage: str | None) -> None:
        now = time.process_time_ns()
        if running[0] is not None:
            costs.stages[running[0]] = costs.stages.get(running[0], 0.0) + now - running[1]
        running[:] = stage, now

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            begun = time.process_time_ns()
            answer = function(*given, **named)
            costs.within[name] = costs.within.get(name, 0.0) + time.process_time_ns() - begun
            return answer

        return call

    engine.mark = mark
    shop: Any = engine.shop
    shop.counts.together = timed("counts", shop.counts.together)
    shop.knn.scores = timed("neighbours", shop.knn.scores)
    decisions.explain = timed("reasons", decisions.explain)


def _count(decision: Decision, costs: Costs) -> None:
    if decision.prediction is None:
        costs.outcomes[decision.suppressed.rule if decision.suppressed is not None else str(decision.silent)] += 1
        return
    costs.outcomes["prediction"] += 1
    costs.reasons.update(reason.code for offer in decision.prediction.items for reason in offer.reasons)


# ---------------------------------------------------------------------------------------------------------- the model
def _catalogue(items: int) -> list[Item]:
    return [
        Item(
            item_id=f"i{n}",
            title=f"family{n % FAMILIES} kind{n % 7} number{n}",
            brand=f"brand{n % 61}",
            category=f"family{n % FAMILIES} > kind{n % 7}",
            attributes={"colour": f"colour{n % 11}", "series": f"series{n // 9}"},
        )
        for n in range(items)
    ]


def _build(folder: Path, catalogue: Sequence[Item]) -> dict[str, Any]:
    """Writes the model, and says how much is in it."""
    known = {
        "item_id": [item.item_id for item in catalogue],
        "title": [item.title for item in catalogue],
        "brand": [item.brand for item in catalogue],
        "category": [item.category for item in catalogue],
        "attributes": [json.dumps(item.attributes) for item in catalogue],
    }
    frame = pl.DataFrame(known)
    facts = pl.DataFrame(schema={"head": pl.String, "relation": pl.String, "tail": pl.String})
    tables = fit_tables(_past(len(catalogue)), frame, facts, _turned(), TableSettings())
    texts = DummyTextEncoder()
    shop = Shop(texts, tables)
    shop.stock(catalogue, texts.encode([item_text(item.title, item.brand, item.category) for item in catalogue]))
    ModelFolder(Manifest(data="synthetic", text=texts.digest), tables, frame, shop.index).save(folder)
    counted = tables.counts.to_frame()["after"].list.len()
    return {
        "index_kind": shop.index.kind.value,
        "neighbours_per_item": round(float(counted.mean() or 0), 1),  # type: ignore[arg-type]
        "sessions_entries": len(tables.knn),
        "facts": len(tables.graph.to_frame()),
        "dimensions": shop.layout.dimension,
    }


def _turned() -> Whitening:
    """The dummy's 64 dimensions spread over 128; every cosine stays what it is."""
    axes, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(DIMENSION, DummyTextEncoder.dimension)))
    return Whitening(np.zeros(DummyTextEncoder.dimension, np.float32), axes.T.astype(np.float32))


def _past(items: int) -> pl.DataFrame:
    """Walks that ended before the load begins."""
    rows = []
    for number in range(items * PAST_EVENTS_PER_ITEM // 20):
        begun = BEGIN - 86_400_000 + number
        walk = _walk(random.Random(number), items, 20, random.Random(-number - 1).randrange(FAMILIES))
        rows += [("view", f"past-{number}", begun + 1000 * n, item, None) for n, item in enumerate(walk)]
    columns = ["kind", "session_id", "time", "item_id", "user_id"]
    return pl.DataFrame(rows, columns, orient="row").sort("time", maintain_order=True)


def _walk(draw: random.Random, items: int, length: int, family: int) -> list[str]:
    """Items of one family, now and then of another, some of them far more often than others."""
    return [_item(draw, items, family if draw.random() < 0.8 else draw.randrange(FAMILIES)) for _ in range(length)]


def _item(draw: random.Random, items: int, family: int) -> str:
    near = range(family, items, FAMILIES)
    return f"i{near[int(len(near) * draw.random() ** 2)]}"


# ----------------------------------------------------------------------------------------------------------- the load
def _load(events: int, items: int) -> Iterator[Event]:
    """Views of visitors in turn, each 30 s after their last, so that histories fill; each of another family than the
    one before."""
    draw = random.Random(1)
    for number in range(events):
        at = BEGIN + 150 * number
        visitor, turn = number % VISITORS, number // VISITORS
        source = Source(SOURCES.index(BROWSES), 0, number, at)
        item = _item(draw, items, (visitor + 5 * turn) % FAMILIES)
        yield Event(source, f"s{visitor}", None, "view", at, item_id=item)


def _lesson(decided: Sequence[Decision]) -> Learned:
    taught = [decision.taught for decision in decided if decision.taught is not None]
    return Learned(topic=BROWSES.name, partition=0, transitions=taught)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(figure, 1) for name, figure in figures.items()}


if __name__ == "__main__":
    main()
