"""REES46's events of a large shop, month by month: views, carts and purchases to the second, as a real stream has them.

A price of 0 stands there for an unknown one. Products have no names: a title is made of brand and kind.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from streaming.adapters.tables import ShopTables, clock, located, mapped
from streaming.checking import Source
from streaming.shop import ShopInfo
from streaming.tables import ROW, Scan

KINDS = {"cart": "cart_add", "remove_from_cart": "cart_remove"}
"""What is called otherwise there."""


def rees46(source: Path | None, scan: Scan) -> ShopTables:
    """Events and items of `events.csv`, or of the file that `source` is.

    Raises:
        InputError: it is not there.
    """
    (file,) = located(source, "events.csv")
    raw = scan(file)
    tables = {"events": [Source(file, _events(raw))], "items": [Source(file, _items(raw))]}
    return ShopTables(ShopInfo(name="REES46"), tables, file)


_PRICE = pl.when(~pl.col("price").cast(pl.Float64, strict=False).eq_missing(0)).then("price")


def _events(raw: pl.LazyFrame) -> pl.LazyFrame:
    return mapped(
        raw,
        kind=pl.col("event_type").replace(KINDS),
        session_id="user_session",
        time=clock(pl.col("event_time"), "%Y-%m-%d %H:%M:%S UTC"),
        user_id="user_id",
        item_id="product_id",
        price=_PRICE,
    )


def _items(raw: pl.LazyFrame) -> pl.LazyFrame:
    """What the last event of each product says of it."""
    last = (
        raw.filter(pl.col("product_id").is_not_null())
        .group_by("product_id")
        .agg(pl.col(ROW, "category_id", "category_code", "brand").last(), _PRICE.last().alias("price"))
    )
    words = pl.col("category_code").str.replace_all("_", " ").str.to_lowercase()
    kind = pl.concat_str("brand", words.str.split(".").list.last(), separator=" ", ignore_nulls=True)
    title = kind.str.slice(0, 1).str.to_uppercase() + kind.str.slice(1)
    return last.sort(ROW).select(
        ROW,
        item_id="product_id",
        title=pl.when(title != "").then(title).otherwise(pl.format("item {}", "product_id")),
        brand="brand",
        category=words.str.to_titlecase().str.replace_all(".", " > ", literal=True),
        price="price",
        attributes=pl.struct("category_id").struct.json_encode(),
    )
