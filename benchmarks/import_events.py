"""Time and memory of an import of many events: `python benchmarks/import_events.py --events 10000000 --json`.

It writes a shop folder of synthetic events, in no order of time and with wrong rows, duplicates and bots, imports
it in a process of its own, and gives that process's largest resident memory (`getrusage`). What it writes goes into a
temporary folder under `--folder` and is removed again; 10 million events need some 3 GB there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streaming.importing import import_shop
from streaming.provenance import machine, versions

BEGIN = 1_700_000_000_000
SPAN_MS = 30 * 86_400_000
CHUNK = 500_000
ITEMS = 100_000
KINDS = ("view", "view", "view", "click", "cart_add", "purchase", "peek")
"""The last is none: a seventh of the rows are wrong."""
SEED = 7


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--format", choices=("csv.gz", "csv", "parquet"), default="csv.gz")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; the system's temporary folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="import-events-", dir=arguments.folder) as name:
        folder = Path(name)
        write(folder / "shop", arguments.events, arguments.format)
        measured = measure(folder / "shop", folder / "out")
    if arguments.json:
        print(json.dumps({**measured, "versions": versions(), "machine": machine()}))
    else:
        for key, value in measured.items():
            print(f"{key:<20}{value:>16,}" if isinstance(value, int | float) else f"{key:<20}{value!s:>16}")


def write(shop: Path, count: int, ending: str) -> None:
    """A shop folder of `count` events and their items."""
    shop.mkdir()
    items = pl.int_range(ITEMS, eager=True)
    pl.DataFrame({"item_id": items.cast(pl.String), "title": items.cast(pl.String)}).write_csv(shop / "items.csv")
    chance = np.random.default_rng(SEED)
    chunks = [min(CHUNK, count - begin) for begin in range(0, count, CHUNK)]
    file = shop / f"events.{ending}"
    if ending == "parquet":
        parts = [shop / f"part-{number}" for number in range(len(chunks))]
        for part, rows in zip(parts, chunks, strict=True):
            events(chance, rows, count).write_parquet(part)
        pl.concat([pl.scan_parquet(part) for part in parts]).sink_parquet(file)
        for part in parts:
            part.unlink()
        return
    with gzip.open(file, "wb", compresslevel=1) if ending == "csv.gz" else file.open("wb") as out:
        for number, rows in enumerate(chunks):
            out.write(events(chance, rows, count).write_csv(include_header=number == 0).encode())


def events(chance: np.random.Generator, rows: int, count: int) -> pl.DataFrame:
    """Some of `count` events: visitors with five each, one in a hundred rows twice, and a bot."""
    visitor = chance.integers(0, max(1, count // 5), rows)
    visitor[chance.random(rows) < 0.001] = -1  # the bot
    time_ms = BEGIN + chance.integers(0, SPAN_MS, rows)
    frame = pl.DataFrame(
        {
            "kind": np.array(KINDS)[chance.integers(0, len(KINDS), rows)],
            "session_id": visitor,
            "time": np.where(visitor == -1, BEGIN + (time_ms - BEGIN) // 10_000, time_ms),
            "user_id": visitor // 2,
            "item_id": chance.integers(0, ITEMS + 1000, rows),
            "price": chance.integers(100, 100_000, rows) / 100,
        }
    ).with_columns(pl.format("session-{}", "session_id"), pl.format("user-{}", "user_id"))
    return pl.concat([frame.head(rows - rows // 100), frame.head(rows // 100)])


def measure(shop: Path, out: Path) -> dict[str, Any]:
    """What the import took, in a new process, so that nothing of this one is in its memory."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_import, args=(shop, out, writer))
    child.start()
    writer.close()
    measured: dict[str, Any] = reader.recv()
    child.join()
    return measured


def _import(shop: Path, out: Path, told: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    report = import_shop(shop, out)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    (events_told,) = (table for table in report.tables if table.table == "events")
    told.send(
        {
            "file": events_told.file,
            "file_mb": round((shop / events_told.file).stat().st_size / 1e6),
            "events_read": events_told.read,
            "events_kept": events_told.kept,
            **{f"set_aside_{rule}": rows for rule, rows in events_told.bad.items()},
            "import_s": round(seconds, 1),
            "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
            "events_per_s": round(events_told.read / seconds),
            "rss_before_mb": round(before.ru_maxrss / 1024),
            "rss_max_mb": round(after.ru_maxrss / 1024),
        }
    )


if __name__ == "__main__":
    main()
