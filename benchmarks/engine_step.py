"""What one event costs the engine, without Kafka: `python benchmarks/engine_step.py --json`.

Synthetic visitors look at items of a catalogue in 20 families; vectors come from the dummy encoder, so that BERT is not
in the figure. CPU time of this thread, per event, in batches.
"""

from __future__ import annotations

import argparse
import json
import random
import time

from encoders.session import PooledSessionEncoder
from encoders.text import DummyTextEncoder
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.provenance import machine, versions
from streaming.records import Item
from streaming.sessions import SessionState
from streaming.settings import Settings

FAMILIES = 20
BEGIN = 1_700_000_000_000


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    cpu_us, spoken = measure(given.events, given.items, given.batch)
    report = {
        "events": given.events,
        "items": given.items,
        "batch": given.batch,
        "cpu_us_per_event": round(cpu_us, 1),
        "predictions_and_held_back": spoken,
        "versions": versions(),
        "machine": machine(),
    }
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:28}{value}")


def measure(events: int, items: int, batch: int) -> tuple[float, int]:
    """CPU time an event in us, and how many events were answered."""
    settings = Settings(no_pseudonyms=True)
    shop = Shop(DummyTextEncoder())
    shop.upsert([Item(item_id=f"i{n}", title=f"family{n % FAMILIES} kind{n % 7} number{n}") for n in range(items)])
    engine = Engine(settings, shop, PooledSessionEncoder(shop.dimension), Pseudonyms(None))
    load = _load(events, items)
    states: dict[str, SessionState] = {}
    spoken = 0
    begun = time.thread_time_ns()
    for start in range(0, events, batch):
        changed, decisions = engine.step(load[start : start + batch], states)
        states.update(changed)
        spoken += sum(decision.silent is None for decision in decisions)
    return (time.thread_time_ns() - begun) / 1000 / events, spoken


def _load(events: int, items: int) -> list[Event]:
    draw = random.Random(1)
    load = []
    for number in range(events):
        source = Source(1, 0, number, BEGIN + 100 * number)
        item = f"i{draw.randrange(items)}"
        load.append(Event(source, f"s{draw.randrange(200)}", None, "view", BEGIN + 100 * number, item_id=item))
    return load


if __name__ == "__main__":
    main()
