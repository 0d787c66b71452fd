"""Which items meet in a session: all pairs within a window, counted from arrays."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Codes = NDArray[np.int32]

UNIT = 1 << 24
"""Weights are summed as whole numbers of 1 / UNIT, so that a sum does not depend on its order."""


def encode_ids(ids: pl.Series) -> tuple[list[str], Codes]:
    """The distinct ids in order, and the position of each of `ids` among them."""
    distinct = ids.unique().sort()
    codes = ids.replace_strict(distinct, pl.int_range(len(distinct), eager=True, dtype=pl.Int32))
    return distinct.to_list(), codes.to_numpy()


def count_pairs(
    sessions: Codes, items: Codes, window: int, backward: float, *, by_distance: bool = True
) -> pl.DataFrame:
    """Directed pairs of items that met in a session at most `window` places apart.

    A pair that is `distance` places apart weighs 1 / distance in its own direction and `backward` times that
    in the other. It counts once a session, at its nearest; an item is no neighbour of itself.

    Args:
        sessions: session of each event; events in time order, sessions may be interleaved.
        items: item of each event.
        by_distance: False: a pair weighs 1 at any distance within the window.

    Returns:
        before, after (Int32), weight (Float32), support (UInt32: sessions in which the two met, in either
        order); sorted by before, then weight falling, then after.
    """
    order = np.argsort(sessions, kind="stable")
    size = int(items.max(initial=0)) + 1
    pair, rising, falling = _meetings(sessions[order], items[order], window, size, by_distance)

    by_pair = np.argsort(pair)
    starts = np.flatnonzero(np.diff(pair[by_pair], prepend=-1))
    if not len(starts):
        return _directed(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    low, high = np.divmod(pair[by_pair[starts]], size)
    support = np.diff(starts, append=len(pair))
    up = np.add.reduceat(rising[by_pair], starts) / UNIT
    down = np.add.reduceat(falling[by_pair], starts) / UNIT
    # From high to low first: then, within an item, those after it stand in order already.
    return _directed(
        np.concatenate([high, low]),
        np.concatenate([low, high]),
        np.concatenate([down + backward * up, up + backward * down]),
        np.concatenate([support, support]),
    )


def _directed(
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    weight: NDArray[np.float64],
    support: NDArray[np.number],
) -> pl.DataFrame:
    """The frame of `count_pairs`; `after` is in order already within each of `before`."""
    light = weight.astype(np.float32)
    # One number to sort by: the item, then the weight falling (the bits of a positive float rise with it).
    key = (before << 32) | (0xFFFF_FFFF - light.view(np.uint32).astype(np.int64))
    order = np.argsort(key, kind="stable")
    order = order[light[order] > 0]
    return pl.DataFrame(
        {
            "before": before[order].astype(np.int32),
            "after": after[order].astype(np.int32),
            "weight": light[order],
            "support": support[order].astype(np.uint32),
        }
    )


def _meetings(
    sessions: Codes, items: Codes, window: int, size: int, by_distance: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Once for each session and unordered pair that met in it; events come session by session.

    Returns:
        pair: low * size + high
        rising, falling: UNIT / distance (UNIT, where not `by_distance`) where the lower item came first, and where
            the higher did; 0: never
    """
    apart = [_meetings_at(sessions, items, distance, size, by_distance) for distance in range(1, window + 1)]
    whose, pair, rising, falling = (np.concatenate(column) for column in zip(*apart, strict=True))
    # Only a session that holds an item twice can hold a pair twice; most hold none, and grouping costs.
    events, times = np.unique(sessions.astype(np.int64) * size + items, return_counts=True)
    again = np.isin(whose, events[times > 1] // size)
    repeated = (
        pl.DataFrame({"session": whose[again], "pair": pair[again], "up": rising[again], "down": falling[again]})
        .group_by("session", "pair")
        .agg(pl.col("up", "down").max())
    )
    return (
        np.concatenate([pair[~again], repeated["pair"].to_numpy()]),
        np.concatenate([rising[~again], repeated["up"].to_numpy()]),
        np.concatenate([falling[~again], repeated["down"].to_numpy()]),
    )


def _meetings_at(
    sessions: Codes, items: Codes, distance: int, size: int, by_distance: bool
) -> tuple[NDArray[np.int64], ...]:
    """Session, pair, rising and falling of the events that stand exactly `distance` apart."""
    first, second = items[:-distance].astype(np.int64), items[distance:].astype(np.int64)
    whose = sessions[distance:].astype(np.int64)
    met = (sessions[:-distance] == whose) & (first != second)
    first, second = first[met], second[met]
    up = first < second
    weight = UNIT // distance if by_distance else UNIT
    return (
        whose[met],
        np.where(up, first * size + second, second * size + first),
        np.where(up, weight, 0),
        np.where(up, 0, weight),
    )
