"""Rows of neighbours as a data frame that names items by id: equal tables, equal frames, whatever their codes."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from index.adjacency import ITEM, SLOT
from index.vocabulary import Codes, Vocabulary

_LISTS = {"after": pl.UInt32, "weight": pl.Int64, "support": pl.Int32, "low": pl.UInt32, "high": pl.UInt32}


PIECE = 8192
"""Items whose rows are made at once: making them takes several times as much memory as they do."""


def rows_to_frame(vocabulary: Vocabulary, table: NDArray[np.void], slots: NDArray[np.void]) -> pl.DataFrame:
    """One row an item that was seen or met, sorted by id: item_id, seen, heat, total, and lists after (row numbers),
    weight, support, low, high, sorted by `after`."""
    known = (table["seen"] > 0) | (table["total"] > 0)
    for start in range(0, len(table), PIECE):
        _, used = _used(table[start : start + PIECE], slots)
        known[used["after"]] = True
    codes: Codes = np.flatnonzero(known).astype(np.int32)
    codes = codes[np.argsort(np.array(vocabulary.ids(codes), dtype=object), kind="stable")]
    row = np.zeros(len(table), np.int64)
    row[codes] = np.arange(len(codes))
    starts = range(0, max(len(codes), 1), PIECE)
    return pl.concat([_piece(vocabulary, table, slots, codes[start : start + PIECE], row) for start in starts])


def _used(table: NDArray[np.void], slots: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """The slots that these rows fill, row by row, each with the place of its row."""
    filled = table["filled"].astype(np.int64)
    before = np.repeat(np.arange(len(table)), filled)
    place = np.arange(len(before)) - np.repeat(np.cumsum(filled) - filled, filled)
    return before, slots[table["start"][before] + place]


def _piece(
    vocabulary: Vocabulary, table: NDArray[np.void], slots: NDArray[np.void], codes: Codes, row: NDArray[np.int64]
) -> pl.DataFrame:
    """The rows of these items. `row`: of each code."""
    before, used = _used(table[codes], slots)
    after = row[used["after"]]
    order = np.lexsort((after, before))
    pairs = pl.DataFrame(
        {
            "row": before[order],
            "after": after[order],
            **{column: used[column][order] for column in ("weight", "support", "low", "high")},
        }
    ).with_columns(pl.col(column).cast(kind) for column, kind in _LISTS.items())
    items = pl.DataFrame(
        {
            "row": np.arange(len(codes)),
            "item_id": pl.Series(vocabulary.ids(codes), dtype=pl.String),
            **{column: table[column][codes] for column in ("seen", "heat", "total")},
        }
    )
    lists = pairs.group_by("row", maintain_order=True).agg(*_LISTS)
    return (
        items.join(lists, on="row", how="left", maintain_order="left")
        .with_columns(pl.col(*_LISTS).fill_null([]))
        .drop("row")
    )


def rows_from_frame(
    vocabulary: Vocabulary, frame: pl.DataFrame, limit: int
) -> tuple[NDArray[np.void], NDArray[np.void], int]:
    """What `rows_to_frame` gave: table, slots, slots in use. `limit`: neighbours kept of an item; a row that was being
    learned may have twice as many, and a longer one loses its lightest."""
    codes = vocabulary.add_all(frame["item_id"])
    pairs = (
        frame.select(*_LISTS)
        .with_row_index("row")
        .filter(pl.col("after").list.len() > 0)
        .explode(*_LISTS)
        .sort("row", "weight", "after", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("row") < 2 * limit)
    )
    row = pairs["row"].to_numpy()
    filled = np.bincount(row, minlength=len(codes)).astype(np.int64)
    room = np.minimum(np.maximum(4, 2 ** np.ceil(np.log2(np.maximum(filled, 1))).astype(np.int64)), 2 * limit)
    room[filled == 0] = 0
    start = np.cumsum(room) - room
    table = np.zeros(len(vocabulary), ITEM)
    for column in ("seen", "heat", "total"):
        table[column][codes] = frame[column].to_numpy()
    table["start"][codes], table["filled"][codes], table["room"][codes] = start, filled, room
    slots = np.zeros(int(room.sum()), SLOT)
    at = start[row] + np.arange(len(row)) - np.searchsorted(row, row)
    slots["after"][at] = codes[pairs["after"].to_numpy()]
    for column in ("weight", "support", "low", "high"):
        slots[column][at] = pairs[column].to_numpy()
    return table, slots, int(room.sum())
