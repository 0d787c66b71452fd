"""Sets for research whose items are numbers: a catalogue without words, made of what the sessions name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from streaming.adapters.tables import ShopTables, mapped, seconds
from streaming.checking import Source
from streaming.shop import ShopInfo
from streaming.tables import Scan

PAUSE_MS = 7_200_000
"""No pause within a session of these sets is as long, so that none is closed in its middle."""


def numbered_shop(name: str, events: list[Source], folder: Path, *, evaluate_last_only: bool = False) -> ShopTables:
    """A shop that has these events and no more: its items are those they name, `titles = false`."""
    info = ShopInfo(
        name=name,
        session_idle_ms=PAUSE_MS,
        repeats_allowed=True,
        titles=False,
        evaluate_last_only=evaluate_last_only,
    )
    named = pl.concat([source.rows.select("item_id") for source in events]).drop_nulls().unique().sort("item_id")
    items = named.select("item_id", title=pl.format("item {}", "item_id"))
    return ShopTables(info, {"events": events, "items": [Source(folder / "items", items)]}, folder)


def click_files(files: Sequence[Path], splits: Sequence[str], scan: Scan) -> list[Source]:
    """Files with the columns SessionId, ItemId, Time (seconds), one a split: each line is a `view`."""
    return [
        Source(
            file,
            mapped(
                scan(file),
                kind=pl.lit("view"),
                session_id="SessionId",
                time=seconds("Time"),
                item_id="ItemId",
                split=pl.lit(split),
            ),
        )
        for file, split in zip(files, splits, strict=True)
    ]
