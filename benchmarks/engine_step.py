"""What one event costs the engine, without Kafka: `python benchmarks/engine_step.py --json`.

Synthetic visitors walk through the families of a catalogue, 20 of them; a past of such walks fills the counts to the
brim, so that each item has as many neighbours as are kept. Vectors come from the dummy encoder, turned to 128
dimensions as BERT's are, so that BERT itself is not in the figures. CPU time of this thread, in batches, the best of
several runs: other programs on the machine can only make a run slower.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.session import PooledSessionEncoder
from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index.counts import Counts
from streaming.decisions import Decision
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.provenance import machine, versions
from streaming.records import Item, Learned
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.topics import BROWSES, SOURCES

FAMILIES = 20
VISITORS = 200
DIMENSION = 128
PAST_EVENTS_PER_ITEM = 25
"""In walks of 20 events: enough that every item has met more others than are kept."""
BEGIN = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of one run, in us an event."""

    step: float
    """From events to decisions."""
    learn: float
    """Taking in what they taught, as a worker does that reads `learned`."""
    answered: int
    """Events that ended in a prediction, sent or held back."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--items", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3, help="the best of them is reported")
    parser.add_argument("--no-counts", action="store_true", help="without a past: vectors and live counts alone")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    past = Counts() if given.no_counts else _past(given.items)
    table = past.to_frame()
    costs = [measure(given.events, given.items, given.batch, Counts.from_frame(table)) for _ in range(given.runs)]
    report = {
        "events": given.events,
        "items": given.items,
        "batch": given.batch,
        "runs": given.runs,
        "neighbours_per_item": round(float(table["after"].list.len().mean() or 0), 1) if len(table) else 0.0,
        "cpu_us_per_event": round(min(cost.step for cost in costs), 1),
        "learn_us_per_event": round(min(cost.learn for cost in costs), 1),
        "predictions_and_held_back": costs[0].answered,
        "versions": versions(),
        "machine": machine(),
    }
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:28}{value}")


def measure(events: int, items: int, batch: int, counts: Counts) -> Cost:
    """One run over a shop of its own, with `counts` to begin with."""
    settings = Settings(no_pseudonyms=True)
    shop = Shop(DummyTextEncoder(), _turned(), counts)
    shop.upsert([Item(item_id=f"i{n}", title=f"family{n % FAMILIES} kind{n % 7} number{n}") for n in range(items)])
    engine = Engine(settings, shop, PooledSessionEncoder(shop.dimension), Pseudonyms(None))
    load = list(_load(events, items))
    states: dict[str, SessionState] = {}
    step = learn = answered = 0
    for start in range(0, events, batch):
        begun = time.thread_time_ns()
        changed, decisions = engine.step(load[start : start + batch], states)
        decided = time.thread_time_ns()
        shop.learn(_lesson(decisions))
        learn += time.thread_time_ns() - decided
        step += decided - begun
        states.update(changed)
        answered += sum(decision.silent is None for decision in decisions)
    return Cost(step / 1000 / events, learn / 1000 / events, answered)


def _turned() -> Whitening:
    """The dummy's 64 dimensions spread over 128; every cosine stays what it is."""
    axes, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(DIMENSION, DummyTextEncoder.dimension)))
    return Whitening(np.zeros(DummyTextEncoder.dimension, np.float32), axes.T.astype(np.float32))


def _past(items: int) -> Counts:
    walks = [_walk(random.Random(number), items, 20) for number in range(items * PAST_EVENTS_PER_ITEM // 20)]
    return Counts.fit(
        [f"past-{number}" for number, walk in enumerate(walks) for _ in walk], [item for walk in walks for item in walk]
    )


def _walk(draw: random.Random, items: int, length: int) -> list[str]:
    """Items of one family, now and then of another."""
    family = draw.randrange(FAMILIES)
    near = range(family, items, FAMILIES)
    return [f"i{draw.choice(near) if draw.random() < 0.8 else draw.randrange(items)}" for _ in range(length)]


def _load(events: int, items: int) -> Iterator[Event]:
    """Views of visitors in turn, each 30 s after their last, so that histories fill and some predictions are held
    back."""
    draw = random.Random(1)
    walks = [_walk(draw, items, -(-events // VISITORS)) for _ in range(VISITORS)]
    for number in range(events):
        at = BEGIN + 150 * number
        source = Source(SOURCES.index(BROWSES), 0, number, at)
        item = walks[number % VISITORS][number // VISITORS]
        yield Event(source, f"s{number % VISITORS}", None, "view", at, item_id=item)


def _lesson(decisions: Sequence[Decision]) -> Learned:
    taught = [decision.taught for decision in decisions if decision.taught is not None]
    return Learned(topic=BROWSES.name, partition=0, transitions=taught)


if __name__ == "__main__":
    main()
