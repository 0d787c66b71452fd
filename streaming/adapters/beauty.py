"""Amazon's product reviews, 5-core, such as Beauty: what each person reviewed, in order, with a catalogue and facts.

A review tells of a purchase, so each is a `purchase`; times are whole days, and ties keep the order of the file, which
is that of the benchmark. A session is a person and never expires. The last event of each is of the split test, the last
but one of valid: leave-one-out.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from streaming.adapters.tables import ShopTables, file_of, located, mapped, seconds
from streaming.checking import Source
from streaming.columns import Rule
from streaming.shop import ShopInfo
from streaming.tables import Scan

NO_BRAND = "Unknown"


def beauty(source: Path | None, scan: Scan) -> ShopTables:
    """Events of `interactions.tsv`, items of `items.tsv`, facts of `knowledge.tsv` where there is one.

    The relations also_bought, also_viewed and bought_together come from a crawl after the reviews and may know their
    future; `build` leaves them out unless it is told otherwise.

    Raises:
        InputError: one of the first two is not there.
    """
    interactions, items = located(source, "interactions.tsv", "items.tsv")
    folder = interactions.parent
    knowledge = file_of(folder, "knowledge.tsv")
    tables = {
        "events": [Source(interactions, _events(scan(interactions)))],
        "items": [Source(items, _items(scan(items)))],
    }
    if knowledge is not None:
        tables["facts"] = [Source(knowledge, scan(knowledge), (_UNKNOWN,))]
    return ShopTables(ShopInfo(name=f"Amazon {folder.resolve().name}", session_idle_ms=0), tables, folder)


_UNKNOWN = Rule(
    "no_brand",
    "tail",
    (pl.col("tail") == f"brand:{NO_BRAND}").fill_null(False),
    "a brand",
    "nothing to do: that the brand is not known is no fact",
)


def _events(raw: pl.LazyFrame) -> pl.LazyFrame:
    place = pl.col("position").cast(pl.Int64, strict=False)
    left = place.max().over("user_id") - place
    return mapped(
        raw,
        kind=pl.lit("purchase"),
        session_id="user_id",
        user_id="user_id",
        time=seconds("timestamp"),
        item_id="item_id",
        split=pl.when(left == 0).then(pl.lit("test")).when(left == 1).then(pl.lit("valid")).otherwise(pl.lit("train")),
    )


def _items(raw: pl.LazyFrame) -> pl.LazyFrame:
    """A product without a title is called by its kind."""
    brand = pl.when(pl.col("brand") != NO_BRAND).then("brand")
    kind = pl.col("categories").str.split(" > ").list.last()
    return mapped(raw, item_id="item_id", title=pl.coalesce("title", kind), brand=brand, category="categories")
