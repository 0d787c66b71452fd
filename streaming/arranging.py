"""Events of any number put in the order of their times, cleaned on the way, in bounded memory.

They are read in batches, divided by visitor so that one can be judged as a whole, divided anew by time, and each
stretch of time is sorted. A single visitor and a single millisecond are each in memory as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from streaming.checking import Source, TableReport, checked, empty
from streaming.cleaning import SOURCE, VISITOR, Cleaner, Cleaning
from streaming.partitions import ROWS_IN_MEMORY, Partitions
from streaming.tables import ROW

PARTS = 64
"""Parts that visitors are divided into, once there are too many events for memory."""
_SAMPLED = 50
"""One event in so many tells where the stretches of time end."""


def arrange(
    sources: Sequence[Source],
    cleaning: Cleaning,
    catalogue: pl.Series | None,
    scratch: Path,
    rows_in_memory: int = ROWS_IN_MEMORY,
) -> tuple[list[pl.LazyFrame], TableReport]:
    """Good events as stretches of time, one after the other: each sorted, ties in the order of the sources and rows.

    Args:
        sources: of the table events.
        cleaning: what is set aside of the good ones.
        catalogue: ids of all items, or None where there is no table of them.
        scratch: an empty folder, which has to stay as long as the result is read; it needs room for the events twice.
        rows_in_memory: events that are held at a time; a bound for tests.

    Raises:
        InputError: a required column is missing.
        DamagedError: a file cannot be read so.
    """
    report = TableReport("events", "none")
    visitors = Partitions(scratch / "visitors", PARTS, rows_in_memory)
    sample = []
    for number, source in enumerate(sources):
        for batch in checked("events", source, report):
            numbered = batch.with_columns(pl.lit(number, pl.UInt32).alias(SOURCE))
            visitors.add(numbered, VISITOR.hash(0) % PARTS)
            sample.append(batch["time"].gather_every(_SAMPLED))
    ends = _ends(sample, math.ceil(visitors.rows / rows_in_memory))
    stretches = Partitions(scratch / "stretches", len(ends) + 1, rows_in_memory)
    cleaner = Cleaner(cleaning, catalogue, [source.file.name for source in sources], report)
    for part in visitors:
        stretches.add(cleaner.clean(part), pl.lit(ends).search_sorted(pl.col("time"), side="right"))
    cleaner.finish()
    report.kept = stretches.rows
    return list(_sorted(stretches, scratch)) or [empty("events").drop(ROW).lazy()], report


def _ends(sample: Sequence[pl.Series], count: int) -> pl.Series:
    """The first times of all stretches but the first, such that each of `count` has about as many events."""
    if count <= 1:
        return pl.Series([], dtype=pl.Int64)
    times = pl.concat(sample).sort()
    return times.gather([len(times) * number // count for number in range(1, count)]).unique().sort()


def _sorted(stretches: Partitions, scratch: Path) -> Iterator[pl.LazyFrame]:
    for number, events in enumerate(stretches):
        ordered = events.sort("time", SOURCE, ROW, maintain_order=True).drop(SOURCE, ROW)
        if not stretches.on_disk:
            yield ordered.lazy()
            return
        file = scratch / f"{number:08}.arrow"
        ordered.write_ipc(file, compression="lz4")
        yield pl.scan_ipc(file, glob=False)
