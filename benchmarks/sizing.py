"""How much of what a load needs: `python benchmarks/sizing.py --rate 1000 --sessions 100000 --items 1M`.

Pure computing from named constants, each with where it is from: measured (M), computed (C) or a rule of thumb (R). Put
in your own by `--set NAME=VALUE`, as often as you like. Without a load it prints the tables of docs/sizing.md.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEASURED, COMPUTED, RULE = "M", "C", "R"


@dataclass(frozen=True, slots=True)
class Constant:
    """A figure that the rest is computed from."""

    value: float
    unit: str
    kind: str
    source: str


CONSTANTS: Mapping[str, Constant] = {
    "cpu_us_per_event": Constant(
        1033, "us", MEASURED, "`bench --rate 1000 --items 100k`, a quiet machine, full batches"
    ),
    "lesson_us": Constant(18, "us", MEASURED, "decode and learn what another worker's event taught; 10,000 items"),
    "lesson_client_us": Constant(15, "us", RULE, "aiokafka, for each event of what all workers read"),
    "utilisation": Constant(0.6, "of a core", RULE, "so that bursts and a worker that is away fit"),
    "spare_workers": Constant(1, "", RULE, "may be away"),
    "cores_per_worker": Constant(2, "", RULE, "one decides; one for the event loop, clients and texts"),
    "partitions_per_worker": Constant(2, "", RULE, "they cannot be made more later"),
    "least_partitions": Constant(8, "", RULE, "the setting's default"),
    "worker_mb": Constant(763, "MB", MEASURED, "resident, MiniLM on a CPU, no items"),
    "item_bytes": Constant(
        10_900, "bytes", MEASURED, "resident, `bench --items 1k` and `100k`: (1,409 - 326) MB / 99,000"
    ),
    "vector_dimensions": Constant(321, "", COMPUTED, "text 128, behaviour 128, graph 64, prior 1"),
    "pq_bytes": Constant(64, "bytes", RULE, "a vector's code in IVF-PQ"),
    "lean_item_bytes": Constant(1_000, "bytes", RULE, "an item's record, facts and counts on disk, not in memory"),
    "session_bytes_in_memory": Constant(2212, "bytes", MEASURED, "`benchmarks/sizes.py`, Beauty, after 4 events"),
    "state_cache": Constant(100_000, "sessions", COMPUTED, "`BEFOREHAND_WORKER__STATE_CACHE`, its default"),
    "state_bytes": Constant(593, "bytes", MEASURED, "`benchmarks/sizes.py`, Beauty, after 4 events"),
    "event_bytes": Constant(128, "bytes", MEASURED, "`benchmarks/sizes.py`, REES46"),
    "learned_bytes": Constant(104, "bytes", MEASURED, "the same"),
    "prediction_bytes": Constant(2093, "bytes", MEASURED, "the same"),
    "suppressed_bytes": Constant(2219, "bytes", MEASURED, "the same"),
    "predictions_per_event": Constant(0.44, "", MEASURED, "the same"),
    "suppressed_per_event": Constant(0.25, "", MEASURED, "the same"),
    "copies": Constant(3, "", RULE, "replication"),
    "retention_days": Constant(7, "days", COMPUTED, "of the topics' settings"),
    "mean_over_peak": Constant(0.3, "", RULE, "a day's mean rate over the highest"),
    "broker_us_per_event": Constant(397, "us", MEASURED, "one Apache Kafka, one copy, as `cpu_us_per_event`"),
    "text_share": Constant(0.05, "of events", RULE, "words that are new: searches, new titles"),
    "text_ms": Constant(3.7, "ms", MEASURED, "MiniLM int8 on one core, 16 tokens (`encoders/int8.py`)"),
    "gpu_texts_per_s": Constant(0, "texts/s", RULE, "not measured: 0. `bench --gpu` tells it where there is one"),
    "shard_gb": Constant(64, "GB", RULE, "memory of a machine that holds a part of a sharded index"),
    "pq_codes_per_us": Constant(400, "codes", RULE, "of an inverted list, one core"),
    "flops_per_us": Constant(20_000, "", RULE, "one core comparing with the lists' centres"),
    "lists": Constant(65_536, "", RULE, "of an index of 100 M items"),
    "probes": Constant(64, "lists", RULE, "looked through for each event"),
}
LOADS = (
    (10, 1_000, 10_000),
    (100, 10_000, 100_000),
    (1_000, 100_000, 100_000),
    (1_000, 100_000, 1_000_000),
    (5_000, 500_000, 1_000_000),
    (10_000, 1_000_000, 1_000_000),
)
"""Events a second, live sessions, items."""
SHARDED = ((10_000, 1_000_000, 10_000_000), (10_000, 1_000_000, 100_000_000))
"""What no worker holds whole."""
_UNITS = {"k": 1000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Need:
    """What a load needs; all computed."""

    workers: int
    partitions: int
    cores: int
    memory_gb_per_worker: float
    state_gb_per_worker: float
    """On its disk."""
    kafka_in_mb_per_s: float
    kafka_out_mb_per_s: float
    """To workers, `learned` once to each."""
    kafka_disk_gb: float
    broker_cores: float
    """Of each copy."""
    text_cores: float
    text_gpus: float | None
    """None: not measured."""


def sized(rate: float, sessions: float, items: float, told: Mapping[str, float]) -> Need:
    """What so many events a second, live sessions and items need.

    Args:
        told: a value for each name of `CONSTANTS`.

    Raises:
        ValueError: learning alone takes a worker's core: no number of workers is enough.
    """
    c = told
    room = c["utilisation"] * 1e6 - rate * (c["lesson_us"] + c["lesson_client_us"])
    if room <= 0:
        raise ValueError(
            f"{rate:g} events/s: what all teach takes more of each worker than {c['utilisation']:g} of a core"
        )
    busy = math.ceil(rate * c["cpu_us_per_event"] / room)
    workers = int(busy + c["spare_workers"])
    partitions = max(int(c["least_partitions"]), _even(workers * c["partitions_per_worker"]))
    decoded = min(c["state_cache"], sessions / busy)
    memory = c["worker_mb"] * 1e6 + items * c["item_bytes"] + decoded * c["session_bytes_in_memory"]
    outputs = c["predictions_per_event"] * c["prediction_bytes"] + c["suppressed_per_event"] * c["suppressed_bytes"]
    changelog = c["state_bytes"] + outputs  # the outbox goes with the states
    written = c["event_bytes"] + c["learned_bytes"] + outputs + changelog
    read = c["event_bytes"] + workers * c["learned_bytes"]
    kept = c["event_bytes"] + c["learned_bytes"] + outputs
    day = rate * c["mean_over_peak"] * 86_400
    texts = rate * c["text_share"]
    return Need(
        workers=workers,
        partitions=partitions,
        cores=int(workers * c["cores_per_worker"]),
        memory_gb_per_worker=memory / 1e9,
        state_gb_per_worker=sessions / busy * c["state_bytes"] / 1e9,
        kafka_in_mb_per_s=rate * written / 1e6,
        kafka_out_mb_per_s=rate * read / 1e6,
        kafka_disk_gb=day * c["retention_days"] * kept * c["copies"] / 1e9,
        broker_cores=rate * c["broker_us_per_event"] / 1e6 / c["utilisation"],
        text_cores=texts * c["text_ms"] / 1e3 / c["utilisation"],
        text_gpus=texts / c["gpu_texts_per_s"] / c["utilisation"] if c["gpu_texts_per_s"] else None,
    )


@dataclass(frozen=True, slots=True)
class Sharded:
    """An index in parts, searched by a service beside the workers; that service is not part of the product."""

    whole_gb_in_each_worker: float
    """What it would be as the product is."""
    codes_gb: float
    refinement_gb: float
    """Vectors in one byte a dimension, on disk, memory-mapped."""
    records_gb: float
    shards: int
    search_us: float
    """Of one event, over all shards together."""
    search_cores: float


def sharded(rate: float, items: float, told: Mapping[str, float]) -> Sharded:
    """IVF-PQ over so many items, cut into shards."""
    c = told
    codes = items * (c["pq_bytes"] + 8)
    search = c["lists"] * c["vector_dimensions"] * 2 / c["flops_per_us"]
    search += c["probes"] * items / c["lists"] / c["pq_codes_per_us"]
    return Sharded(
        whole_gb_in_each_worker=items * c["item_bytes"] / 1e9,
        codes_gb=codes / 1e9,
        refinement_gb=items * c["vector_dimensions"] / 1e9,
        records_gb=items * c["lean_item_bytes"] / 1e9,
        shards=math.ceil(codes / (c["shard_gb"] * 1e9 * c["utilisation"])),
        search_us=search,
        search_cores=rate * search / 1e6 / c["utilisation"],
    )


def values(changes: Mapping[str, float] | None = None) -> dict[str, float]:
    """The constants' values, with others in the place of some.

    Raises:
        ValueError: there is no constant of that name.
    """
    unknown = set(changes or {}) - CONSTANTS.keys()
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no such constant, expected some of {', '.join(CONSTANTS)}")
    return {name: constant.value for name, constant in CONSTANTS.items()} | dict(changes or {})


# --------------------------------------------------------------------------------------------------------- the tables
def tables(told: Mapping[str, float]) -> str:
    """Those of docs/sizing.md, in Markdown."""
    rows = ["| constant | value | unit | | from |", "|---|---|---|---|---|"]
    for name, constant in CONSTANTS.items():
        rows.append(f"| `{name}` | {told[name]:,g} | {constant.unit} | {constant.kind} | {constant.source} |")
    rows += [
        "",
        "| events/s | sessions | items | workers | partitions | cores | GB a worker | state GB a worker | Kafka in MB/s"
        " | out MB/s | disk GB | broker cores | text cores | text GPUs |",
        "|" + "---|" * 14,
    ]
    for rate, sessions, items in LOADS:
        need = sized(rate, sessions, items, told)
        gpus = "not measured" if need.text_gpus is None else f"{need.text_gpus:.2g}"
        rows.append(
            f"| {rate:,} | {sessions:,} | {items:,} | {need.workers} | {need.partitions} | {need.cores} |"
            f" {need.memory_gb_per_worker:.1f} | {need.state_gb_per_worker:.2g} | {need.kafka_in_mb_per_s:.2g} |"
            f" {need.kafka_out_mb_per_s:.2g} | {need.kafka_disk_gb:,.0f} | {need.broker_cores:.2g} |"
            f" {need.text_cores:.2g} | {gpus} |"
        )
    rows += [
        "",
        "| events/s | items | as it is, GB in each worker | codes GB | refinement GB | records GB | shards"
        " | search us an event | search cores |",
        "|" + "---|" * 9,
    ]
    for rate, _, items in SHARDED:
        cut = sharded(rate, items, told)
        rows.append(
            f"| {rate:,} | {items:,} | {cut.whole_gb_in_each_worker:,.0f} | {cut.codes_gb:.1f} |"
            f" {cut.refinement_gb:.1f} | {cut.records_gb:.0f} | {cut.shards} | {cut.search_us:,.0f} |"
            f" {cut.search_cores:,.0f} |"
        )
    return "\n".join(rows) + "\n"


def count(text: str) -> float:
    """A count as people write it.

    >>> count("100k"), count("100M"), count("250")
    (100000.0, 100000000.0, 250.0)
    """
    word = text.strip().lower()
    return float(word[:-1]) * _UNITS[word[-1]] if word[-1:] in _UNITS else float(word)


def change(text: str) -> tuple[str, float]:
    """`NAME=VALUE`.

    >>> change("cpu_us_per_event=900")
    ('cpu_us_per_event', 900.0)
    """
    name, _, value = text.partition("=")
    return name, float(value)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=count, help="events a second at the busiest")
    parser.add_argument("--sessions", type=count, default=10_000.0, help="live at once")
    parser.add_argument("--items", type=count, default=100_000.0)
    parser.add_argument("--set", type=change, action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    told = values(dict(given.set))
    if given.rate is None:
        print(tables(told), end="")
        return
    found: dict[str, Any] = {
        name: getattr(need, name)
        for need in (sized(given.rate, given.sessions, given.items, told), sharded(given.rate, given.items, told))
        for name in need.__dataclass_fields__
    }
    print(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in found.items()}, indent=2))


def _even(number: float) -> int:
    return math.ceil(number / 2) * 2


if __name__ == "__main__":
    main()
