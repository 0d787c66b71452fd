"""What a search of the item index costs, and what it finds: `python benchmarks/vector_index.py --json`.

Items of one shop: families, each with a middle in text, graph and behaviour, a fifth of the items without behaviour;
a query is made of three items of one family. `search` compares raw vectors; `near` does not, and is what the engine
asks. Times are CPU time of this thread, the best of several runs: other programs on the machine can only make a run
slower. Only live writes are timed by the clock, alone and beside 300 searches a second on another thread: how long
until an item that was written is found.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from index.fusion import LAYOUT, assemble, normalised, query
from index.nearest import Flat, Kind, choose
from index.snapshot import SearchSettings
from index.vector_index import VectorIndex
from index.vocabulary import Vocabulary
from streaming.provenance import machine, versions

FAMILY = 120
"""Items of one family."""
WEIGHTS = (0.8, 0.1, 0.6, 0.1, 0.05)
EMPHASIS = tuple(np.repeat(WEIGHTS, LAYOUT.widths).tolist())
NOISE = 1.2
"""Length of what an item has of its own, beside its family's middle of length 1."""
ASKED = 128
WRITES = 300
SEARCHES_A_SECOND = 300
CHUNK = 50_000


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 12_101, 100_000])
    parser.add_argument("--kinds", type=Kind, nargs="+", default=[Kind.FLAT, Kind.IVF_PQ])
    parser.add_argument("--recall", type=float, default=0.95, help="how much IVF is to find")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for size in given.sizes:
        items, queries = shop(size)
        chosen = choose(items)
        for kind in given.kinds:
            rows.append({"items": size, "asked_for": kind.value, "chosen": chosen.value})
            rows[-1] |= measure(items, queries, kind, SearchSettings(recall=given.recall, emphasis=EMPHASIS))
            if not given.json:
                _print(rows[-1], heading=len(rows) == 1)
    if given.json:
        print(json.dumps({"searches": rows, "versions": versions(), "machine": machine()}))


def shop(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Item vectors (size, 321) and queries (ASKED, 321)."""
    source = np.random.default_rng(1)
    families = -(-size // FAMILY)
    middles = [source.normal(size=(families, width)) / np.sqrt(width) for width in LAYOUT.widths[:3]]
    chunks = []
    for begin in range(0, size, CHUNK):
        family = np.arange(begin, min(size, begin + CHUNK)) % families
        text, graph, behaviour = (
            (middle[family] + NOISE * source.normal(size=(len(family), width)) / np.sqrt(width)).astype(np.float32)
            for middle, width in zip(middles, LAYOUT.widths, strict=False)
        )
        behaviour[source.random(len(family)) < 0.2] = 0
        chunks.append(assemble(text, graph, behaviour, None, source.random(len(family)) ** 4))
    items = np.concatenate(chunks)
    seen = (
        source.integers(0, families, size=(ASKED, 1)) + families * source.integers(0, FAMILY - 1, (ASKED, 3))
    ) % size
    pooled = np.zeros((ASKED, LAYOUT.session), dtype=np.float32)
    for place, weight in enumerate((1, 0.6, 0.36)):
        pooled += weight * items[seen[:, place], : LAYOUT.session]
    return items, query(normalised(pooled), WEIGHTS)


def measure(items: np.ndarray, queries: np.ndarray, kind: Kind, settings: SearchSettings) -> dict[str, Any]:
    """One index of all items, served from its files."""
    vocabulary = Vocabulary(f"i{number:07d}" for number in range(len(items)))
    with tempfile.TemporaryDirectory() as folder:
        index = VectorIndex(vocabulary, LAYOUT.dimension, settings=settings)
        index.upsert(np.arange(len(items), dtype=np.int32), items)
        begun = time.perf_counter()
        index.swap(index.rebuild(kind, folder=Path(folder)))
        built = time.perf_counter() - begun
        files = {path.name: path.stat().st_size / 1e6 for path in Path(folder).iterdir()}
        return {
            "kind": index.kind.value,
            "build_s": round(built, 1),
            "vectors_mb": round(files["vectors.npy"], 1),
            "lists_mb": round(files.get("index.faiss", 0.0), 1),
            **_served(index, items, queries),
        }


def _served(index: VectorIndex, items: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    _, truth = Flat(items).search(queries, 100)
    report = {
        "recall_at_100": round(_recall(truth, index.search(queries, 100)), 4),
        "recall_at_10": round(_recall(truth[:, :10], index.search(queries, 10)), 4),
        "near_10_of_100": round(_recall(truth[:, :10], index.near(queries, 100)), 4),
    }
    for batch in (1, 4, 16, 64):
        for name, search in (("search", index.search), ("near", index.near)):
            spent = _cpu(partial(_in_batches, search, queries, batch)) / len(queries)
            report[f"{name}_us_batch_{batch}"] = round(spent, 1)
    alone, beside = _writes(index, items, busy=None), _writes(index, items, busy=queries[:16])
    report |= {"write_ms_p50": alone[0], "write_ms_p99": alone[1]}
    return report | {"write_ms_p50_while_searching": beside[0], "write_ms_p99_while_searching": beside[1]}


def _recall(truth: np.ndarray, found: list[np.ndarray]) -> float:
    return float(np.mean([np.isin(right, best).mean() for right, best in zip(truth, found, strict=True)]))


def _in_batches(search: Callable[[np.ndarray, int], object], queries: np.ndarray, batch: int) -> None:
    for begin in range(0, len(queries), batch):
        search(queries[begin : begin + batch], 100)


def _cpu(work: Callable[[], None]) -> float:
    """CPU time of this thread in us, the best of five."""
    spent = []
    for _ in range(5):
        begun = time.thread_time_ns()
        work()
        spent.append(time.thread_time_ns() - begun)
    return min(spent) / 1000


def _writes(index: VectorIndex, items: np.ndarray, *, busy: np.ndarray | None) -> tuple[float, float]:
    """Median and 99th percentile of the time from a write until its item is found, in ms."""
    done = threading.Event()

    def search() -> None:
        while busy is not None and not done.wait(len(busy) / SEARCHES_A_SECOND):
            index.search(busy, 100)

    thread = threading.Thread(target=search)
    thread.start()
    spent = []
    source = np.random.default_rng(2)
    for code in source.integers(0, len(items), WRITES).tolist():
        vector = source.normal(size=(1, LAYOUT.dimension)).astype(np.float32)
        begun = time.perf_counter()
        index.upsert(np.array([code], dtype=np.int32), vector)
        (best,) = index.search(vector, 1)
        spent.append(time.perf_counter() - begun)
        if best.tolist() != [code]:
            raise RuntimeError(f"item {code} was written and not found")
        time.sleep(0.001)
    done.set()
    thread.join()
    return round(float(np.median(spent)) * 1000, 2), round(float(np.percentile(spent, 99)) * 1000, 2)


def _print(row: dict[str, Any], *, heading: bool) -> None:
    if heading:
        print("  ".join(row))
    print("  ".join(f"{value!s:>{len(name)}}" for name, value in row.items()))


if __name__ == "__main__":
    main()
