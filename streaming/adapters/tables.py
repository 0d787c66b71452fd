"""What an adapter gives: the tables of a shop, not yet checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import polars as pl

from streaming.shop import ShopInfo


@dataclass(frozen=True, slots=True)
class ShopTables:
    """A shop's tables, with columns as in a shop folder."""

    info: ShopInfo
    tables: dict[str, pl.DataFrame]
    """By the name of the table: events, items, facts."""
    source: Path
    """Where they come from, for reports."""


Adapter: TypeAlias = Callable[[Path | None], ShopTables]
"""Reads a source; None: the place where the data is by itself, such as an installed package."""
