"""UCI's e-shop clothing 2008: a shop for expectant mothers click by click, with the day and the order but no time.

Times are made up: the sessions of a day stand in the order of their numbers, evenly over its first 23 hours, and their
clicks are 10 s apart. Products are letters and numbers; a title is made of what is known of them.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from streaming.adapters.tables import ShopTables, located, mapped
from streaming.checking import Source
from streaming.shop import ShopInfo
from streaming.tables import ROW, Scan

CLICK_MS = 10_000
DAY_MS = 23 * 3_600_000
"""The part of a day in which sessions begin."""
CATEGORIES = {"1": "trousers", "2": "skirts", "3": "blouses", "4": "sale"}
COLOURS = {
    "1": "beige", "2": "black", "3": "blue", "4": "brown", "5": "burgundy", "6": "gray", "7": "green", "8": "navy blue",
    "9": "of many colours", "10": "olive", "11": "pink", "12": "red", "13": "violet", "14": "white",
}  # fmt: skip
PLACES = {
    "1": "top left", "2": "top in the middle", "3": "top right",
    "4": "bottom left", "5": "bottom in the middle", "6": "bottom right",
}  # fmt: skip
PHOTOS = {"1": "en face", "2": "in profile"}
"""What the numbers of description.txt mean."""


def clothing(source: Path | None, scan: Scan) -> ShopTables:
    """Events and items of `clicks.csv`.

    Raises:
        InputError: it is not there.
    """
    (file,) = located(source, "clicks.csv")
    raw = scan(file, separator=";")
    tables = {"events": [Source(file, _events(raw))], "items": [Source(file, _items(raw))]}
    return ShopTables(ShopInfo(name="E-shop clothing 2008", currency="USD"), tables, file)


def _events(raw: pl.LazyFrame) -> pl.LazyFrame:
    year, month, day, order, session = (
        pl.col(name).cast(pl.Int64, strict=False) for name in ("year", "month", "day", "order", "session ID")
    )
    place = session.rank("dense").cast(pl.Int64).over("year", "month", "day") - 1
    begin = DAY_MS * place // (place.max().over("year", "month", "day") + 1)
    return mapped(
        raw,
        kind=pl.lit("view"),
        session_id="session ID",
        time=pl.datetime(year, month, day, time_unit="ms").dt.epoch("ms") + begin + CLICK_MS * (order - 1),
        item_id="page 2 (clothing model)",
        price="price",
    )


def _items(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Each product once, in the category where it is clicked most: one click of a pair of trousers says skirts."""
    model = pl.col("page 2 (clothing model)")
    once = (
        raw.filter(model.is_not_null())
        .group_by(model)
        .agg(
            pl.col(ROW).max(),
            pl.col("price", "page").last(),
            category=_meaning("page 1 (main category)", CATEGORIES).mode().min(),
            colour=_meaning("colour", COLOURS).last(),
            place=_meaning("location", PLACES).last(),
            photo=_meaning("model photography", PHOTOS).last(),
            dearer=(pl.col("price 2") == "1").last(),
        )
    )
    category = pl.col("category").str.to_titlecase()
    return once.sort(ROW).select(
        ROW,
        item_id=model,
        title=pl.format("{} {}, {}, photographed {}", category, model, "colour", "photo"),
        category=category,
        price="price",
        attributes=pl.struct("colour", "photo", "page", "place", "dearer").struct.json_encode(),
    )


def _meaning(name: str, words: dict[str, str]) -> pl.Expr:
    return pl.col(name).replace_strict(words, default="unknown")
