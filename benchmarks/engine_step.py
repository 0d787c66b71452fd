"""What one event costs the engine, without Kafka: `python benchmarks/engine_step.py --json [SHOP MODEL]`.

With a shop folder and the model that `beforehand build` made of it, the shop's newest events go through, visitor by
visitor in turn, 150 ms apart, with the weights and vectors of the model and the words of its catalogue. Neighbours are
asked even where the model gives them no weight. What was said to a session is forgotten after each batch, so that it is
said again.

Without, all is made up. The model is fitted on a past of synthetic visitors and read back from its folder as a worker
reads it: counts with as many neighbours an item as are kept, sessions for the neighbours, facts of brand, category and
attributes, vectors of text, graph and behaviour. Every part of the ranking weighs something, those most that cost most:
six reasons in seven are of facts. Vectors of texts come from the dummy encoder, turned to 128 dimensions as BERT's are.
Visitors go from one family of items to another at each event, so that the head of the ranking changes every time.

With `--generated FOLDER` the shop is the one that `beforehand bench` makes up, of `--items`, kept in that folder: with
100,000 and with 1,000,000 it says how the engine grows.

There is no throttle: whenever a ranking has a new head, it ends in a prediction with ten items and their reasons, which
no shop does; `emitted` is the share of such events. All texts were encoded before: BERT is not in the figures.

CPU time of this process, in batches, and its 90th percentile over the batches, the best of several runs: other programs
on the machine can only make a run slower. The stages are timed in runs of their own, for a clock costs time too.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from encoders.cache import CachedTextEncoder
from encoders.catalogue import item_text
from encoders.text import DummyTextEncoder, TextEncoder
from encoders.whitening import Whitening
from index.model import Manifest, ModelFolder
from index.table_fitting import fit_tables
from index.tables import TableSettings
from streaming import said
from streaming.bench import generated
from streaming.bench.generated import GeneratedShop
from streaming.bench.worker import NO_THROTTLE
from streaming.decisions import Decision
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.provenance import machine, versions
from streaming.ranking import RankingSettings
from streaming.records import Item, Learned
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder
from streaming.topics import BROWSES, SOURCES

ITEMS = 12_101
"""As many as Amazon Beauty has."""
FAMILIES = 20
VISITORS = 200
DIMENSION = 128
PAST_EVENTS_PER_ITEM = 25
"""In walks of 20 events: enough that every item has met more others than are kept."""
BEGIN = 1_700_000_000_000
BROWSE = SOURCES.index(BROWSES)
RANKING = RankingSettings(text=0.07, graph=0.06, behaviour=0.05, prior=0.02)
"""So that of the reasons given a fair share is of each kind; those of facts cost most."""
LEAST = 1e-6
"""Weight of neighbours where a model gives them none."""


@dataclass(slots=True)
class Costs:
    """CPU time of one run, in us an event."""

    step: float = 0.0
    """From events to decisions."""
    p90: float = 0.0
    """The same, of the batch that nine in ten are no dearer than."""
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
    parser.add_argument("folders", type=Path, nargs="*", metavar="SHOP MODEL", help="a real one; none: it is made up")
    parser.add_argument("--vectors", type=Path, help="folder of encoded texts of SHOP; without it they are encoded")
    parser.add_argument("--events", type=int, default=6000)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--generated", type=Path, metavar="FOLDER", help="the shop that `beforehand bench` makes up")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3, help="the best of them is reported")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    if len(given.folders) not in (0, 2) or (given.folders and given.generated):
        parser.error("expected a shop folder and a model folder, or neither; without them perhaps --generated")
    with ExitStack() as things:
        folder = Path(things.enter_context(tempfile.TemporaryDirectory()))
        if given.folders:
            load = _real(given.folders[0], given.folders[1], given.events, given.vectors or folder, things)
        elif given.generated:
            load = _generated(given.generated, given.items, given.events)
        else:
            load = _made_up(folder / "model", folder, given.items, given.events)
        runs = [measure(load, given.batch) for _ in range(given.runs)]
        split = min((measure(load, given.batch, split=True) for _ in range(given.runs)), key=lambda costs: costs.step)
        content = _content(load.model)
    report = {
        "events": len(load.events),
        "batch": given.batch,
        "runs": given.runs,
        **content,
        "cpu_us_per_event": round(min(costs.step for costs in runs), 1),
        "p90_us_per_event": round(min(costs.p90 for costs in runs), 1),
        "learn_us_per_event": round(min(costs.learn for costs in runs), 1),
        "stages_us": _rounded(split.stages),
        "within_us": _rounded(split.within),
        "emitted": round(runs[0].outcomes["prediction"] / len(load.events), 4),
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


@dataclass(frozen=True, slots=True)
class Load:
    """What goes through, and what it goes through."""

    model: Path
    catalogue: Sequence[Item]
    texts: TextEncoder
    events: Sequence[Event]
    ranking: RankingSettings
    forgets: bool = False
    """What was said to a session, after each batch."""


def measure(load: Load, batch: int, *, split: bool = False) -> Costs:
    """One run over a shop of its own.

    Args:
        split: by stage; the sum is then larger than it is without.
    """
    shop = Shop.of(ModelFolder.load(load.model), load.texts)
    shop.upsert(load.catalogue)
    settings = Settings(no_pseudonyms=True, rules=NO_THROTTLE)
    engine = Engine(settings, shop, shop.encoder, Pseudonyms(None), load.ranking)
    states: dict[str, SessionState] = {}
    costs = Costs()
    if split:
        _split(engine, costs)
    learn, steps = 0, []
    for start in range(0, len(load.events), batch):
        begun = time.process_time_ns()
        changed, decided = engine.step(load.events[start : start + batch], states)
        done = time.process_time_ns()
        shop.learn(_lesson(decided))
        learn += time.process_time_ns() - done
        steps.append(done - begun)
        states.update(
            {name: replace(state, said=said.NOTHING) for name, state in changed.items()} if load.forgets else changed
        )
        for decision in decided:
            _count(decision, costs)
    for part in (costs.stages, costs.within):
        part.update({name: total / 1000 / len(load.events) for name, total in part.items()})
    costs.step, costs.learn = sum(steps) / 1000 / len(load.events), learn / 1000 / len(load.events)
    costs.p90 = float(np.percentile(steps[: len(load.events) // batch], 90)) / 1000 / batch
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


def _count(decision: Decision, costs: Costs) -> None:
    if decision.prediction is None:
        costs.outcomes[decision.suppressed.rule if decision.suppressed is not None else str(decision.silent)] += 1
        return
    costs.outcomes["prediction"] += 1
    costs.reasons.update(reason.code for offer in decision.prediction.items for reason in offer.reasons)


# ---------------------------------------------------------------------------------------------------------- the model
def _real(shop: Path, model: Path, events: int, vectors: Path, things: ExitStack) -> Load:
    """The newest events of a shop folder, each as the page views that they could be."""
    folder = ShopFolder(shop)
    newest = folder.table("events")[0].filter(pl.col("item_id").is_not_null()).sort("time").tail(events)
    newest = newest.sort(pl.int_range(pl.len()).over("session_id"), maintain_order=True)
    wanted = Settings.from_environment(no_pseudonyms=True, encoder={"cache_dir": str(vectors)})
    texts = things.enter_context(text_encoder(wanted))
    load = [
        Event(Source(BROWSE, 0, number, at := BEGIN + 150 * number), session, None, "view", at, item_id=item)
        for number, (session, item) in enumerate(newest.select("session_id", "item_id").iter_rows())
    ]
    ranking = ModelFolder.load(model).manifest.settings["ranking"]
    asked = RankingSettings(**ranking | {"neighbours": max(ranking["neighbours"], LEAST)})
    return Load(model, list(items_of(folder.table("items")[0])), texts, load, asked, forgets=True)


def _generated(folder: Path, items: int, events: int) -> Load:
    """Views of the visitors of the shop that `beforehand bench` makes up."""
    shop = GeneratedShop.made(folder, items)
    load = [
        Event(Source(BROWSE, 0, number, at := BEGIN + 150 * number), f"s{visitor}", None, "view", at, item_id=item)
        for number, (visitor, item) in enumerate(shop.visits(events, generated.VISITORS, seed=1))
    ]
    return Load(shop.folder, list(shop.catalogue()), DummyTextEncoder(), load, generated.RANKING, forgets=True)


def _made_up(model: Path, cache: Path, items: int, events: int) -> Load:
    catalogue = _catalogue(items)
    _build(model, catalogue)
    return Load(model, catalogue, CachedTextEncoder(DummyTextEncoder(), cache), list(_load(events, items)), RANKING)


def _content(model: Path) -> dict[str, Any]:
    """How much is in it."""
    folder = ModelFolder.load(model)
    tables = folder.tables
    return {
        "items": len(folder.index),
        "index_kind": folder.index.kind.value,
        "neighbours_per_item": round(float(tables.counts.to_frame()["after"].list.len().mean() or 0), 1),  # type: ignore[arg-type]
        "sessions_entries": len(tables.knn),
        "facts": len(tables.graph.to_frame()),
        "dimensions": folder.index.dimension,
    }


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


def _build(folder: Path, catalogue: Sequence[Item]) -> None:
    """Writes the model."""
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
        source = Source(BROWSE, 0, number, at)
        item = _item(draw, items, (visitor + 5 * turn) % FAMILIES)
        yield Event(source, f"s{visitor}", None, "view", at, item_id=item)


def _lesson(decided: Sequence[Decision]) -> Learned:
    taught = [decision.taught for decision in decided if decision.taught is not None]
    return Learned(topic=BROWSES.name, partition=0, transitions=taught)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(figure, 1) for name, figure in figures.items()}


if __name__ == "__main__":
    main()
