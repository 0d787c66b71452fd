"""A shop's past cut by time into a part to learn from, one to choose by, and one to measure on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from streaming.columns import SPLITS


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a part begins: at a time, or after a share of all events."""

    time: int | None = None
    """ms since the epoch."""
    share: float | None = None
    """0 to 1, of the events in time order."""


def cut_times(cuts: Sequence[Cut], events: Sequence[pl.LazyFrame]) -> list[int]:
    """When each cut is, in ms, among events that stand in time order in one frame after the other.

    A share is cut before the event that stands there, and before all of the same time, so that what happened at once
    stays together; after the last where it is 1.

    >>> events = [pl.LazyFrame({"time": [10, 20]}), pl.LazyFrame({"time": [30, 30, 50]})]
    >>> cut_times([Cut(share=0.4), Cut(share=0.6)], events), cut_times([Cut(time=7)], events)
    ([30, 30], [7])
    """
    counts = [frame.select(pl.len()).collect().item() for frame in events]
    return [cut.time if cut.time is not None else _at(cut.share or 0, counts, events) for cut in cuts]


def _at(share: float, counts: Sequence[int], events: Sequence[pl.LazyFrame]) -> int:
    place = round(share * sum(counts))
    last = 0
    for count, frame in zip(counts, events, strict=True):
        if place < count:
            return int(frame.select("time").slice(place, 1).collect().item())
        if count:
            last = int(frame.select("time").slice(count - 1, 1).collect().item())
        place -= count
    return last + 1


def split_of(cuts: Sequence[int]) -> pl.Expr:
    """The part of each event by its `time`: one cut is train and test, two are train, valid and test.

    >>> events = pl.DataFrame({"time": [1, 2, 3]})
    >>> events.select(split_of([2, 3])).to_series().to_list(), events.select(split_of([3])).to_series().to_list()
    (['train', 'valid', 'test'], ['train', 'train', 'test'])
    """
    names = SPLITS if len(cuts) == 2 else (SPLITS[0], SPLITS[-1])
    found = pl.when(pl.col("time") >= cuts[0]).then(pl.lit(names[1])).otherwise(pl.lit(names[0]))
    for cut, name in zip(cuts[1:], names[2:], strict=True):
        found = pl.when(pl.col("time") >= cut).then(pl.lit(name)).otherwise(found)
    return found.alias("split")
