"""Diginetica (CIKM Cup 2016) as the papers on session recommendation prepare it: sessions of numbers, without times.

`train.txt` has one session a line, in the order of their days; `test.tsv` has one question a line: what was viewed,
and, after a tab, what came next. A visit of five items stands there as four lines, so that only the last item of each
is to be foretold, and nothing is to be learned from them: `evaluate_last_only` says so.

Times are made up: line n of both files together begins n minutes after 2016-01-01, and its items are a second apart.
Only their order means something.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from streaming.adapters.numbered import numbered_shop
from streaming.adapters.tables import ShopTables, located
from streaming.checking import Source
from streaming.tables import ROW, Scan

BEGIN = 1_451_606_400_000
"""2016-01-01T00:00Z."""
LINE_MS = 60_000
ITEM_MS = 1000


def diginetica(source: Path | None, scan: Scan) -> ShopTables:
    """Events of `train.txt` and `test.tsv`; sessions are called train-1, test-1 and so on, by their lines.

    Raises:
        InputError: one of them is not there.
    """
    train, test = located(source, "train.txt", "test.tsv")
    sessions = scan(train, separator="\t", names=["items"])
    questions = scan(test, names=["before", "next"])
    lines = sessions.select(pl.col(ROW).max()).collect(engine="streaming").item() or 0
    events = [
        Source(train, _events(sessions, pl.col("items"), "train", 0)),
        Source(test, _events(questions, pl.col("before") + " " + pl.col("next"), "test", lines)),
    ]
    return numbered_shop("Diginetica", events, train.parent, evaluate_last_only=True)


def _events(raw: pl.LazyFrame, items: pl.Expr, split: str, lines_before: int) -> pl.LazyFrame:
    """One `view` an item; each has the number of its line."""
    line = pl.col(ROW).cast(pl.Int64)
    each = raw.select(
        ROW,
        session_id=pl.format(f"{split}-{{}}", ROW),
        time=BEGIN + LINE_MS * (line + lines_before),
        item_id=items.str.strip_chars().str.split(" "),
    )
    place = pl.int_ranges(pl.col("item_id").list.len())
    spread = each.with_columns(place=place).explode("item_id", "place")
    return spread.select(
        ROW,
        "session_id",
        "item_id",
        kind=pl.lit("view"),
        time=pl.col("time") + ITEM_MS * pl.col("place"),
        split=pl.lit(split),
    )
