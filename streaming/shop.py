"""A shop folder: tables of events, items and facts with `shop.toml`; wrong rows are set aside and told.

What is read is checked by the rules of `streaming.columns`; nothing stops at a wrong row.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streaming.checking import DamagedError, Source, TableReport, check
from streaming.columns import TABLES
from streaming.errors import InputError
from streaming.tables import Scan, find, scan, scan_damaged


class ShopInfo(BaseModel):
    """`shop.toml`: what holds for the whole shop."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    name: str = "shop"
    """For people."""
    currency: str | None = Field(default=None, min_length=3, max_length=3)
    """Of prices that say none."""
    time_zone: str = "UTC"
    """Of visitors whose own is not known; an IANA name. A worker is told by BEFOREHAND_WORKER__UTC_OFFSET_MIN."""
    session_idle_ms: int = Field(default=1_800_000, ge=0)
    """A session without events for this long is closed. 0: never. A worker is told by
    BEFOREHAND_WORKER__SESSION_IDLE_MS."""
    repeats_allowed: bool = False
    """May an item that was seen be predicted again. `build` puts it into the model."""
    ordered: bool = True
    """Does the order of a session's events mean something. Not among the lines of a basket: there `build` counts pairs
    without direction and distance."""
    titles: bool = True
    """Do the items' titles say something. Not where items are numbers: there `build` makes no vectors of text."""
    evaluate_last_only: bool = False
    """Is only the last item of a session of the split `test` to be foretold. So where such a session is one question,
    what came before and the answer, and one visit makes several of them: nothing is to be learned from them either."""
    licence: str | None = None
    """Of the data."""

    def priced(self, columns: Iterable[str]) -> list[pl.Expr]:
        """Prices that name no currency are in the shop's: what to put into a table with these columns."""
        if self.currency is None or not {"price", "currency"} <= set(columns):
            return []
        in_the_shops = pl.col("currency").is_null() & pl.col("price").is_not_null()
        return [pl.when(in_the_shops).then(pl.lit(self.currency)).otherwise("currency").alias("currency")]

    def to_toml(self) -> str:
        """As it stands in `shop.toml`; JSON's strings, numbers and booleans are TOML's too."""
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in self if value is not None]
        return "\n".join(lines) + "\n"


class ShopFolder:
    """A shop folder on disk.

    shop = ShopFolder(Path("my-shop"))
    events, report = shop.table("events")

    """

    def __init__(self, path: Path) -> None:
        """Open it; tables are read on demand.

        Raises:
            InputError: there is no such folder, no table in it, or its shop.toml is wrong.
        """
        if not path.is_dir():
            raise InputError(f"{path} is no folder, expected a shop folder with a table `events`, `items` or `facts`")
        self.path = path
        self.files = {table: file for table in TABLES if (file := find(path, table)) is not None}
        if not self.files:
            raise InputError(
                f"{path} holds no table, expected events, items or facts as .parquet, .csv, .tsv or .jsonl"
            )
        self.info = read_info(path / "shop.toml")

    def table(self, name: str) -> tuple[pl.DataFrame, TableReport]:
        """The good rows of `events`, `items` or `facts`: all columns in their types, in a fixed order.

        Events are in time order, ties as in the file. Of items with one id the last row counts; a fact counts
        once. A table without a file has no rows.

        Raises:
            InputError: a required column is missing, or the file cannot be read.
        """
        try:
            rows, report = check(name, self.sources(name, scan))
        except DamagedError:
            rows, report = check(name, self.sources(name, scan_damaged))
        return rows.with_columns(self.info.priced(rows.columns)), report

    def sources(self, name: str, read: Scan) -> list[Source]:
        """The rows of a table as they stand, read by `read`: one file or none."""
        file = self.files.get(name)
        return [] if file is None else [Source(file, read(file))]


def read_info(path: Path) -> ShopInfo:
    """`shop.toml`, or its defaults where there is none.

    Raises:
        InputError: it is no TOML, or a value is refused.
    """
    if not path.exists():
        return ShopInfo()
    try:
        return ShopInfo.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} is no TOML ({exc}); correct it, or take it away for the defaults") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {name} is {first['input']!r}: {first['msg']}; correct it") from exc
