"""What an adapter gives: the tables of a shop, not yet checked, and what most adapters say in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import polars as pl
import polars.selectors as cs

from streaming.checking import Source
from streaming.errors import InputError
from streaming.shop import ShopInfo
from streaming.tables import BROKEN, ROW, Scan


@dataclass(frozen=True, slots=True)
class ShopTables:
    """A shop's tables."""

    info: ShopInfo
    tables: dict[str, list[Source]]
    """By the name of the table (events, items, facts). Events of one time come out in the order of the sources."""
    source: Path
    """Where they come from, for reports."""


Adapter: TypeAlias = Callable[[Path | None, Scan], ShopTables]
"""Reads a source by the `Scan` it is given. None: where the data is by itself, such as in an installed package."""


def located(source: Path | None, *names: str) -> list[Path]:
    """The files of a source, in the order of `names`, as they stand or packed with .gz.

    A source that is a file itself is the only one there has to be.

    Raises:
        InputError: there is no source, or it lacks one of them.
    """
    if source is None:
        raise InputError(f"no SOURCE was given, expected the folder with {', '.join(names)}; name it")
    if len(names) == 1 and source.is_file():
        return [source]
    found = [file_of(source, name) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise InputError(
            f"{source} lacks {', '.join(missing)}, expected the folder with {', '.join(names)} (or .gz); name that one"
        )
    return [path for path in found if path is not None]


def file_of(folder: Path, name: str) -> Path | None:
    """The file of this name as it stands or packed with .gz, if there is one."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def mapped(raw: pl.LazyFrame, **columns: pl.Expr | str) -> pl.LazyFrame:
    """Rows with these columns only, under their numbers; a text names a column."""
    return raw.select(cs.by_name(ROW, BROKEN, require_all=False), **columns)


def seconds(name: str) -> pl.Expr:
    """Seconds since the epoch, as text with or without decimals, in ms. What is no number stays, to be told."""
    ms = (pl.col(name).cast(pl.Float64, strict=False) * 1000).round()
    whole = pl.when(ms.is_finite()).then(ms).cast(pl.Int64, strict=False)
    return pl.coalesce(whole.cast(pl.String), pl.col(name))


def clock(text: pl.Expr, form: str, zone: str = "UTC") -> pl.Expr:
    """A written time of a time zone in ms since the epoch; an hour that a clock strikes twice is the first.

    What is no such time stays, to be told.
    """
    local = text.str.to_datetime(form, time_unit="ms", strict=False)
    ms = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.epoch("ms")
    return pl.coalesce(ms.cast(pl.String), text)
