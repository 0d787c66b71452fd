"""UCI's Online Retail II: invoices of a shop for gifts in Britain.

A session is an invoice, a line is a `purchase`. All lines of an invoice have one time and stand as they were keyed in,
so their order means nothing. Times are London's. Cancelled invoices, fees, postage and corrections of the stock are
set aside.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from streaming.adapters.tables import ShopTables, clock, located, mapped
from streaming.checking import Source
from streaming.columns import Rule
from streaming.shop import ShopInfo
from streaming.tables import ROW, Scan

ZONE = "Europe/London"
NO_PRODUCTS = (
    "ADJUST", "ADJUST2", "AMAZONFEE", "B", "BANK CHARGES", "C2", "CRUK",
    "D", "DOT", "M", "POST", "S", "TEST001", "TEST002",
)  # fmt: skip
"""Codes of what is on an invoice but not on a shelf."""


def retail(source: Path | None, scan: Scan) -> ShopTables:
    """Events and items of `online_retail_year1.parquet`, or of the file that `source` is.

    Raises:
        InputError: it is not there.
    """
    (file,) = located(source, "online_retail_year1.parquet")
    raw = scan(file).with_columns(code=pl.col("StockCode").str.strip_chars().str.to_uppercase())
    info = ShopInfo(name="Online Retail II", currency="GBP", time_zone=ZONE, ordered=False)
    tables = {"events": [Source(file, _events(raw), _RULES)], "items": [Source(file, _items(raw))]}
    return ShopTables(info, tables, file)


_RULES = (
    Rule(
        "cancelled",
        "session_id",
        pl.col("session_id").str.contains("^[A-Z]").fill_null(False),
        "the number of a sale",
        "nothing to do: a cancellation or a correction is no purchase",
    ),
    Rule(
        "no_product",
        "item_id",
        pl.col("item_id").is_in(NO_PRODUCTS).fill_null(False),
        "the code of a product",
        "nothing to do: fees and postage are no items",
    ),
    Rule(
        "no_price",
        "price",
        (pl.col("price").cast(pl.Float64, strict=False) == 0).fill_null(False),
        "a price above 0",
        "nothing to do: corrections of the stock stand so",
    ),
)


def _events(raw: pl.LazyFrame) -> pl.LazyFrame:
    return mapped(
        raw,
        kind=pl.lit("purchase"),
        session_id="Invoice",
        time=clock(pl.col("InvoiceDate"), "%Y-%m-%d %H:%M:%S", ZONE),
        user_id=pl.col("Customer ID").cast(pl.Int64, strict=False).cast(pl.String),
        item_id="code",
        quantity="Quantity",
        price="Price",
    )


def _items(raw: pl.LazyFrame) -> pl.LazyFrame:
    """What was sold, called as on most of its invoices, at its last price."""
    sold = raw.filter(pl.col("Price") > 0, pl.col("Quantity") > 0, ~pl.col("code").is_in(NO_PRODUCTS))
    name = pl.col("Description").str.strip_chars().str.replace_all(r"\s+", " ").str.to_lowercase()
    once = sold.group_by("code").agg(
        pl.col(ROW).max(), name=name.drop_nulls().mode().min(), price=pl.col("Price").last()
    )
    title = pl.col("name").str.slice(0, 1).str.to_uppercase() + pl.col("name").str.slice(1)
    return once.sort(ROW).select(
        ROW, item_id="code", title=title.fill_null(pl.format("item {}", "code")), price="price"
    )
