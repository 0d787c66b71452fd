"""How soon a new item is searched while events flow, and what memory the worker takes:
`python benchmarks/live_upsert.py SHOP MODEL --json`.

Apache Kafka where BEFOREHAND_KAFKA_HOME names one (one node), else a local broker, or what `--brokers` names; one
worker with the model and real BERT, the whole catalogue on its topic; then the shop's newest events at a steady rate,
the throttle as in production, and beside them items that nobody has seen, at a steady rate too. From the record's time
on `catalogue` to the end of its upsert, as the worker's own metric has it, in buckets.

With `--generated FOLDER --catalogue 100000` the shop is the one that `beforehand bench` makes up, with the dummy
encoder, and the load that of its visitors.
"""

from __future__ import annotations

import argparse
import json
import secrets
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
from prometheus_client.parser import text_string_to_metric_families

from streaming.admin import create_topics
from streaming.bench.generated import VISITORS, GeneratedShop
from streaming.bench.ground import Ground
from streaming.delivery import Delivery
from streaming.demo import environment_of
from streaming.demo_worker import DemoWorker
from streaming.item_rows import items_of
from streaming.pace import Pace
from streaming.provenance import machine, versions
from streaming.publisher import Publisher
from streaming.records import Item
from streaming.replay import EventLog, Replay
from streaming.settings import Settings
from streaming.shop import ShopFolder

METRIC = "beforehand_catalogue_seconds"
DECIDED_S = 120.0
"""How long the worker may take for what waits after the last event."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="SHOP MODEL", help="a real one, unless --generated")
    parser.add_argument("--generated", type=Path, metavar="FOLDER", help="the shop that `beforehand bench` makes up")
    parser.add_argument("--catalogue", type=int, default=100_000, help="items of the one that is made up")
    parser.add_argument("--events", type=int, default=12_000)
    parser.add_argument("--rate", type=float, default=300.0, help="events a second")
    parser.add_argument("--items", type=float, default=5.0, help="new items a second")
    parser.add_argument("--brokers", help="a Kafka that is there, its topics made anew")
    parser.add_argument("--vectors", type=Path, help="folder of encoded texts; without it the catalogue is encoded")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    if (len(given.folders) == 2) == (given.generated is not None):
        parser.error("expected a shop folder and a model folder, or --generated")
    report = measure(given)
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:28}{value}")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    events, items, model = made_up(given) if given.generated else of_folder(given)
    now = pl.lit(time.time_ns() // 1_000_000)
    events = events.with_columns(time=now + pl.int_range(pl.len()) * int(1000 / given.rate))
    with ExitStack() as things:
        ground = things.enter_context(Ground(given.brokers, 1))
        broker, folder = ground.broker, ground.folder
        told = {
            "brokers": broker.addresses,
            "secret": secrets.token_hex(16),
            "broker": {"fence": broker.fence is not False, "session_timeout_s": 20, "request_timeout_s": 40},
            "topics": {"prefix": f"upsert-{secrets.token_hex(4)}.", "partitions": 2, "replication": 1},
            "encoder": {"cache_dir": str(given.vectors or folder / "vectors")}
            | ({"model": "dummy"} if given.generated else {}),
            "worker": {"id": "w", "data_dir": str(folder / "worker"), "model": str(model.resolve()), "port": 0},
        }
        settings = Settings.from_environment(**told)
        create_topics(settings)
        worker = things.enter_context(DemoWorker(folder / "worker", environment_of(told)))
        publisher = things.enter_context(Publisher(settings))
        for item in items:
            publisher.put_item(item)
        publisher.flush(120)
        worker.wait_ready(len(items))
        begun, at_rest = time.monotonic(), metrics(worker)
        done = threading.Event()
        newcomers = threading.Thread(target=add_items, args=(publisher, given.items, done), daemon=True)
        newcomers.start()
        delivery = Delivery(settings)
        progress = Replay(EventLog("events", events), delivery, settings.topics, Pace(rate=given.rate)).run()
        delivery.close(30)
        seconds = time.monotonic() - begun
        done.set()
        newcomers.join()
        until = time.monotonic() + DECIDED_S
        while worker.tally().decided < progress.sent:
            if time.monotonic() > until:
                raise TimeoutError(
                    f"{worker.tally().decided} of {progress.sent} events decided after {DECIDED_S:.0f} s"
                )
            time.sleep(0.2)
        after = metrics(worker)
    count = after[f"{METRIC}_count", ""]
    below = {edge: value for (name, edge), value in after.items() if name == f"{METRIC}_bucket"}
    return {
        "broker": broker.kind,
        "events": progress.sent,
        "events_a_second": round(progress.sent / seconds, 1),
        "items": len(items),
        "new_items": int(count),
        "searched_within": {edge: round(value / count, 4) for edge, value in below.items() if 0.01 <= float(edge) <= 1},
        "p99_s": min(float(edge) for edge, value in below.items() if value >= 0.99 * count),
        "resident_mb_at_rest": round(at_rest["process_resident_memory_bytes", ""] / 1e6),
        "resident_mb_after": round(after["process_resident_memory_bytes", ""] / 1e6),
        "versions": versions(),
        "machine": machine(),
    }


def of_folder(given: argparse.Namespace) -> tuple[pl.DataFrame, list[Item], Path]:
    """The newest events of a shop folder, its items, and the model."""
    shop, model = given.folders
    folder = ShopFolder(shop)
    return folder.table("events")[0].sort("time").tail(given.events), list(items_of(folder.table("items")[0])), model


def made_up(given: argparse.Namespace) -> tuple[pl.DataFrame, list[Item], Path]:
    """The same of a shop that is made up."""
    shop = GeneratedShop.made(given.generated, given.catalogue)
    visits = pl.DataFrame(shop.visits(given.events, VISITORS, seed=1), ["visitor", "item_id"], orient="row")
    events = visits.select("item_id", session_id=pl.format("s{}", "visitor"), kind=pl.lit("view"))
    return events, list(shop.catalogue()), shop.folder


def add_items(publisher: Publisher, rate: float, done: threading.Event) -> None:
    """Items with a text of their own, until `done`."""
    number = 0
    while not done.wait(1 / rate):
        number += 1
        title = f"New arrival {number}: {secrets.token_hex(3)} cream with {secrets.token_hex(3)} oil, {number} ml"
        publisher.put_item(Item(item_id=f"new-{number}", title=title, brand="Newcomer", category="Beauty > Skin Care"))
        publisher.flush()


def metrics(worker: DemoWorker) -> dict[tuple[str, str], float]:
    """The worker's metrics, by name and bucket."""
    page = worker.page("/metrics") or ""
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


if __name__ == "__main__":
    main()
