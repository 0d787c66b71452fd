"""Items as a table has them, row by row: for whoever reads a shop folder, and for the model that was made of one; and
what is read of an item."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from encoders.catalogue import item_text
from streaming.records import Item

if TYPE_CHECKING:
    import polars as pl


def items_of(frame: pl.DataFrame) -> Iterator[Item]:
    """The items of a shop folder's table `items`, row by row."""
    for row in frame.select([name for name in Item.__struct_fields__ if name in frame.columns]).iter_rows(named=True):
        given = {name: value for name, value in row.items() if value is not None}
        if "attributes" in given:
            given["attributes"] = json.loads(given["attributes"])
        yield Item(**given)


def description(item: Item) -> str:
    """All that an item's vector is made of, of what the catalogue says."""
    attributes = sorted((item.attributes or {}).items())
    return "\n".join([text_of(item), item.brand or "", item.category or "", repr(attributes) if attributes else ""])


def text_of(item: Item) -> str:
    """What the text encoder reads of it."""
    return item_text(item.title, item.brand, item.category)
