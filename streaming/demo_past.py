"""What the demo knows before its first event, and the events to come. Nothing here is chosen by what came later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from streaming.errors import InputError
from streaming.shop import ShopInfo

FROM = 1_509_494_400_000
"""2017-11-01T00:00Z: statistics before it, replay from it on."""
CATALOGUE = 4000
"""Items on the catalogue, the most popular of the past."""


@dataclass(frozen=True, slots=True)
class Past:
    """A shop's past up to FROM, and the events after it that are replayed."""

    info: ShopInfo
    history: pl.DataFrame
    """Events before FROM."""
    catalogue: pl.DataFrame
    """Items, the most popular of the history first."""
    events: pl.DataFrame
    """To be replayed, in time order, with `event_id`; with `title` where the catalogue has not the item."""
    titles: Mapping[str, str]
    """What to call an item."""


def past_of(info: ShopInfo, events: pl.DataFrame, items: pl.DataFrame, count: int, catalogue: int = CATALOGUE) -> Past:
    """Cuts a shop's events at FROM: the first `count` events of sessions that began after it are to be replayed.

    Raises:
        InputError: there are not so many.
    """
    history = events.filter(pl.col("time") < FROM)
    open_sessions = history.filter(pl.col("time") >= FROM - 3_600_000)["session_id"].unique()
    later = events.filter(pl.col("time") >= FROM, ~pl.col("session_id").is_in(open_sessions.implode()))
    if len(later) < count:
        raise InputError(
            f"{count:,} events were asked for, expected at most the {len(later):,} there are; ask for less"
        )
    popularity = history.group_by("item_id").agg(bought=pl.len())
    best = (
        items.join(popularity, on="item_id")
        .sort(["bought", "item_id"], descending=[True, False])
        .head(catalogue)
        .drop("bought")
    )
    names = items.select("item_id", "title")
    known = pl.col("item_id").is_in(best["item_id"].implode())
    replayed = (
        later.head(count)
        .join(names, on="item_id", how="left", maintain_order="left")
        .with_columns(
            title=pl.when(~known).then("title"),
            event_id=pl.format("demo-{}", pl.int_range(pl.len())),
        )
    )
    return Past(info, history, best, replayed, dict(names.iter_rows()))
