"""How soon a worker decides again after kill -9, by how many sessions it keeps: `python benchmarks/recovery.py --json`.

Apache Kafka where BEFOREHAND_KAFKA_HOME names one (one node), else the local broker; one worker with all partitions and
a model that is made up. States of so many live sessions, each of a few events that an engine decided, are put on the
changelog as a worker would have; while events of such sessions flow, the worker is killed and started at once, first
with its data folder, then with an emptied one. What is told is the time from the kill to the first record that the new
process put on `predictions` or `suppressed`; a supervisor's pause before the start comes on top.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.partitioner.default import murmur2
from msgspec.structs import replace
from pydantic import SecretStr

from encoders.text import DummyTextEncoder
from streaming import codec, connections, topics
from streaming.bench import worker
from streaming.bench.generated import GeneratedShop
from streaming.bench.ground import Ground
from streaming.engine import Engine
from streaming.errors import BeforehandError
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.provenance import machine, versions
from streaming.publisher import Publisher
from streaming.records import EventRecord
from streaming.sessions import SessionState
from streaming.settings import BrokerSettings, EncoderSettings, Settings, TopicSettings, WorkerSettings
from streaming.worker_process import WorkerProcess, metric

PARTITIONS = 8
RATE = 50.0
"""Events a second that flow all the time."""
KINDS_OF_STATE = 500
"""Sessions that an engine makes states of; the others have one of these."""
BATCH = 64
PATIENCE_S = 300.0
LOOK_S = 0.05
"""Between looks at the page `/ready`."""
KEPT, EMPTIED = "kept", "emptied"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--events", type=int, default=4, help="of each session")
    parser.add_argument("--items", type=int, default=10_000, help="of the made-up catalogue")
    parser.add_argument("--times", type=int, default=3, help="kills of each kind, at each size")
    parser.add_argument("--folder", type=Path, default=Path("beforehand-bench"), help="where made-up shops are kept")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    report = measure(given)
    if given.json:
        print(json.dumps(report))
        return
    print(f"{'sessions':>10} {'folder':>8} {'median s':>9} {'worst s':>8} {'CPU s':>6}  of the median one, s")
    for row in report["recoveries"]:
        parts = ", ".join(f"{name} {spent}" for name, spent in row["phases_s"].items())
        figures = f"{row['median_s']:>9} {row['worst_s']:>8} {row['median_cpu_s']:>6}"
        print(f"{row['sessions']:>10,} {row['folder']:>8} {figures}  {parts}")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All sizes."""
    shop = GeneratedShop.made(given.folder, given.items)
    rows: list[dict[str, Any]] = []
    with Ground(None, 1) as ground:
        for number, sessions in enumerate(given.sessions):
            say(f"{sessions:,} sessions")
            settings = settings_of(ground, shop, f"recovery{number}.")
            ground.topics(settings, [])
            state_bytes = fill(settings, shop, sessions, given.events)
            with Publisher(settings) as publisher:
                for item in shop.catalogue():
                    publisher.put_item(item)
                publisher.flush(120)
            for folder, times in recoveries(settings, ground, sessions, given).items():
                rows.append(row_of(sessions, folder, times) | {"state_bytes": state_bytes})
        kind = ground.broker.kind
    return {
        "items": given.items,
        "events_per_session": given.events,
        "partitions": PARTITIONS,
        "broker": kind,
        "recoveries": rows,
        "versions": versions(),
        "machine": machine(),
    }


@dataclass(frozen=True, slots=True)
class Recovery:
    """One of them; times in s since the kill."""

    first_decision_s: float
    cpu_s: float
    """CPU time of the new process up to then, on whatever machine and beside whatever else it ran."""
    phases: dict[str, float]
    """How long each reason stood on the page `/ready`, and how long there was no page."""


def row_of(sessions: int, folder: str, times: Sequence[Recovery]) -> dict[str, Any]:
    """What several came to; the phases are those of the one in the middle."""
    ordered = sorted(times, key=lambda each: each.first_decision_s)
    return {
        "sessions": sessions,
        "folder": folder,
        "times": len(times),
        "median_s": round(statistics.median(each.first_decision_s for each in ordered), 2),
        "worst_s": round(ordered[-1].first_decision_s, 2),
        "median_cpu_s": round(statistics.median(each.cpu_s for each in ordered), 2),
        "phases_s": {name: round(spent, 2) for name, spent in ordered[len(ordered) // 2].phases.items()},
    }


def settings_of(ground: Ground, shop: GeneratedShop, prefix: str) -> Settings:
    """Of one size. Sessions expire after a day: each waits for that, so that the worker's metrics count them."""
    fence = bool(ground.broker.fence)
    return Settings(
        brokers=tuple(ground.broker.addresses.split(",")),
        secret=SecretStr("a secret of the benchmark, long enough"),
        broker=BrokerSettings(fence=fence, session_timeout_s=6, heartbeat_s=1, request_timeout_s=40),
        topics=TopicSettings(prefix=prefix, partitions=PARTITIONS, replication=1),
        encoder=EncoderSettings(model="dummy"),
        rules=worker.NO_THROTTLE,
        worker=WorkerSettings(
            id="w0", data_dir=ground.folder / prefix, model=shop.folder.resolve(), port=0, session_idle_ms=86_400_000
        ),
    )


# --------------------------------------------------------------------------------------------------------- the states
def fill(settings: Settings, shop: GeneratedShop, sessions: int, events: int) -> int:
    """Puts the states on the changelog; their mean size in bytes."""
    kinds = states(settings, shop, min(sessions, KINDS_OF_STATE), events)
    pseudonyms = Pseudonyms.from_settings(settings)
    producer = KafkaProducer(
        **connections.kafka_python(settings), acks="all", enable_idempotence=settings.broker.fence, linger_ms=20
    )
    name = topics.changelog(settings.topics)
    for number in range(sessions):
        who = session(number)
        producer.send(name, kinds[number % len(kinds)], pseudonyms(who).encode(), partition=partition_of(who))
        if number % 10_000 == 0:
            producer.flush(120)
    producer.flush(120)
    producer.close()
    return round(statistics.mean(len(value) for value in kinds))


def states(settings: Settings, shop: GeneratedShop, count: int, events: int) -> list[bytes]:
    """Encoded states of sessions of so many views, as an engine leaves them, with what it told them."""
    served = Shop.open(shop.folder, DummyTextEncoder())
    served.upsert(list(shop.catalogue()))
    engine = Engine(settings, served, served.tables.session_encoder(), Pseudonyms.from_settings(settings))
    now = time.time_ns() // 1_000_000
    visits = iter(shop.visits(count * events, count, seed=3))
    kept: dict[str, SessionState] = {}
    for step in range(events):
        views = [
            Event(
                Source(1, 0, step * count + n, now),
                f"s{n}",
                None,
                "view",
                now - 1000 * (events - step),
                item_id=next(visits)[1],
            )
            for n in range(count)
        ]
        for start in range(0, count, BATCH):
            few = views[start : start + BATCH]
            kept |= engine.step(few, {each.session: kept[each.session] for each in few if each.session in kept})[0]
    return [codec.encode(replace(state, offsets=(-1, -1))) for state in kept.values()]


def session(number: int) -> str:
    """What the site calls it."""
    return f"visitor-{number}"


def partition_of(name: str) -> int:
    """Where a site's client puts its events."""
    return int((murmur2(name.encode()) & 0x7FFFFFFF) % PARTITIONS)


# ------------------------------------------------------------------------------------------------------- the recoveries
def recoveries(
    settings: Settings, ground: Ground, sessions: int, given: argparse.Namespace
) -> dict[str, list[Recovery]]:
    """Kills a worker again and again while events flow."""
    process = WorkerProcess(settings, ground.folder, worker.COMMAND).start()
    found: dict[str, list[Recovery]] = {KEPT: [], EMPTIED: []}
    try:
        wait_for(process, sessions)
        with flowing(settings, sessions, given.items):
            recover(settings, process, empty=False)  # the first one compiles and fills caches
            wait_for(process, sessions)
            for folder, times in found.items():
                for _ in range(given.times):
                    times.append(recover(settings, process, empty=folder == EMPTIED))
                    say(f"{folder}: {times[-1].first_decision_s:.2f} s")
                    wait_for(process, sessions)
    finally:
        process.kill()
    return found


def recover(settings: Settings, process: WorkerProcess, *, empty: bool) -> Recovery:
    """One kill and one start.

    Raises:
        BeforehandError: nothing was decided in time.
    """
    with decided(settings) as consumer:
        process.kill()
        killed, wall = time.monotonic(), time.time() * 1000
        process.start(empty=empty)
        phases: dict[str, float] = {}
        last = killed
        while time.monotonic() < killed + PATIENCE_S:
            what = phase(process)
            now = time.monotonic()
            phases[what] = phases.get(what, 0.0) + now - last
            last = now
            stamps = [row.timestamp for rows in consumer.poll(10).values() for row in rows if row.timestamp > wall]
            if stamps:
                cpu_s = metric(process.page("/metrics"), "process_cpu_seconds_total")
                return Recovery((min(stamps) - wall) / 1000, cpu_s, phases)
            time.sleep(LOOK_S)
    raise BeforehandError(f"nothing was decided within {PATIENCE_S:.0f} s of the kill:\n{process.tail()}")


def phase(process: WorkerProcess) -> str:
    """What the worker is at, as its page tells it."""
    try:
        return process.says_no("/ready", timeout=2) or "ready"
    except (OSError, ValueError):
        return "no page yet"


@contextmanager
def decided(settings: Settings) -> Iterator[Any]:
    """A consumer of what workers say, from now on."""
    consumer = KafkaConsumer(**connections.kafka_python(settings), enable_auto_commit=False)
    names = [settings.topics.prefix + topic.name for topic in (topics.PREDICTIONS, topics.SUPPRESSED)]
    consumer.assign([TopicPartition(name, number) for name in names for number in range(PARTITIONS)])
    consumer.seek_to_end()
    for part in consumer.assignment():
        consumer.position(part)
    try:
        yield consumer
    finally:
        consumer.close()


def wait_for(process: WorkerProcess, sessions: int) -> None:
    """Until it is ready and knows them all.

    Raises:
        BeforehandError: it does not.
    """
    process.wait_ready(PATIENCE_S)
    end = time.monotonic() + PATIENCE_S
    while (known := metric(process.page("/metrics"), "beforehand_sessions_waiting")) < sessions:
        if time.monotonic() > end:
            raise BeforehandError(f"the worker knows {known:,.0f} of {sessions:,} sessions:\n{process.tail()}")
        time.sleep(0.5)


@contextmanager
def flowing(settings: Settings, sessions: int, items: int) -> Iterator[None]:
    """Events of the sessions that are kept, all the time."""
    over = threading.Event()
    producer = KafkaProducer(**connections.kafka_python(settings), enable_idempotence=settings.broker.fence)
    name = settings.topics.prefix + topics.BROWSES.name

    def send() -> None:
        number = 0
        while not over.wait(1 / RATE):
            number += 1
            who, now = session(number * 7919 % sessions), time.time_ns() // 1_000_000
            event = EventRecord(
                kind="view", session_id=who, time=now, item_id=f"i{number % items}", event_id=f"recovery-{number}"
            )
            producer.send(name, codec.encode(event), who.encode(), headers=codec.HEADERS)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        producer.close()


def say(what: str) -> None:
    """Progress."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
