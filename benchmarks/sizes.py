"""How large records and states are, and what they take in memory: `python benchmarks/sizes.py SHOP --json`.

The engine goes over the first events of a shop folder, with all of its items, and learns counts on the way; the
dummy encoder stands for BERT, whose vectors are in none of these records. Bytes on the wire are those of the values,
before compression and without Kafka's own. Bytes in memory are what Python allocates for one of many.
"""

from __future__ import annotations

import argparse
import json
import tracemalloc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from encoders.text import DummyTextEncoder
from streaming import codec
from streaming.backtest import Backtest
from streaming.decisions import Decision
from streaming.engine import Engine
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.moments import Work
from streaming.outputs import Outputs
from streaming.privacy import Pseudonyms
from streaming.provenance import machine, versions
from streaming.records import Item, Record
from streaming.replay import EventLog
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.shop import ShopFolder

LENGTHS = (4, 20)
"""Events of a session whose state is weighed."""
ALIKE = 5_000
"""Values held at once, to see what one takes in memory."""


class WeighingEngine(Engine):
    """Keeps the encoded states of sessions of the lengths asked for."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.states: dict[int, list[bytes]] = defaultdict(list)

    def step(
        self, events: Sequence[Work], states: Mapping[str, SessionState], now: int | None = None
    ) -> tuple[dict[str, SessionState], list[Decision]]:
        """As the engine does."""
        changed, decisions = super().step(events, states, now)
        for state in changed.values():
            if not state.closed and sum(state.counts) in LENGTHS:
                self.states[sum(state.counts)].append(codec.encode(state))
        return changed, decisions


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path, help="a shop folder, such as `beforehand import` writes")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    report = weigh(ShopFolder(given.shop), given.events) | {"versions": versions(), "machine": machine()}
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:28}{value}")


def weigh(folder: ShopFolder, limit: int) -> dict[str, Any]:
    """The report without where it comes from."""
    events = folder.table("events")[0].head(limit)
    items = list(items_of(folder.table("items")[0]))
    settings = Settings(no_pseudonyms=True).with_shop(folder.info.model_dump())
    shop = Shop(DummyTextEncoder())
    shop.upsert(items)
    engine = WeighingEngine(settings, shop, shop.encoder, Pseudonyms(None))
    log = EventLog(folder.path.name, events)
    said: dict[str, list[int]] = defaultdict(list)
    outputs = Outputs("")
    for decision in Backtest(engine, log, Pseudonyms(None)).decisions():
        for kind in ("prediction", "suppressed", "closed"):
            record: Record | None = getattr(decision, kind)
            if record is not None:
                said[kind].append(len(codec.encode(record)))
        said["learned"] += [len(record.value or b"") for record in outputs.learned([decision])]
    encoded = [codec.encode(item) for item in items]
    return {
        "shop": folder.info.name,
        "events": len(log),
        "items": len(items),
        "event_bytes": _mean([len(record.value) for record in log.records(0) if record.value is not None]),
        "item_bytes": _mean([len(value) for value in encoded]),
        "item_in_memory_bytes": _in_memory(encoded, Item),
        **{f"{kind}_bytes": _mean(sizes) for kind, sizes in said.items()},
        **{f"{kind}_per_event": round(len(sizes) / len(log), 3) for kind, sizes in said.items()},
        "state_bytes": {length: _mean([len(value) for value in found]) for length, found in engine.states.items()},
        "state_in_memory_bytes": {length: _in_memory(found, SessionState) for length, found in engine.states.items()},
    }


def _mean(sizes: Sequence[int]) -> int:
    return round(mean(sizes)) if sizes else 0


def _in_memory(values: Sequence[bytes], kind: type[Item] | type[SessionState]) -> int:
    """What one of many takes once it is decoded, its place in a list included."""
    tracemalloc.start()
    held = [codec.decode(values[number % len(values)], kind) for number in range(ALIKE)]
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(grown / len(held))


if __name__ == "__main__":
    main()
