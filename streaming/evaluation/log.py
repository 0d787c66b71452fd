"""A shop's past as an evaluation sees it: events on items in time order, items and sessions by number.

What a ranker may learn from is a `TrainingPart`, which holds its own rows and no others. Every part knows which rows
of the log it has, so that a target among them is found before anything is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from index.lesson import LEARNING_KINDS
from index.vocabulary import Codes, Vocabulary
from streaming.errors import InputError, LeakError
from streaming.holdout import DAY_MS
from streaming.shop import ShopInfo

KINDS = tuple(sorted(LEARNING_KINDS))
"""Kinds of event that count, by number."""
COLUMNS = ("kind", "session_id", "time", "item_id", "user_id", "split")
"""Of the log's events, and of a part's; `user_id` and `split` may be null."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Log:
    """Events on items, in time order; ties as in the shop's table. All arrays are (n,), one entry an event."""

    events: pl.DataFrame
    """`COLUMNS`, of the kinds that teach."""
    items: pl.DataFrame
    facts: pl.DataFrame
    info: ShopInfo
    catalogue: Vocabulary
    """Every item that the table or an event names: what is ranked."""
    codes: Codes
    """Items."""
    sessions: Codes
    users: Codes
    """The user, else the session, each with a number of its own."""
    kinds: NDArray[np.uint8]
    """By place in `KINDS`."""
    times: Rows
    """ms since the epoch."""

    @classmethod
    def of(cls, events: pl.DataFrame, items: pl.DataFrame, facts: pl.DataFrame, info: ShopInfo) -> Log:
        """The log of a shop's tables, as `ShopFolder.table` gives them.

        Raises:
            InputError: there is no event on an item.
        """
        missing = [name for name in ("user_id", "split") if name not in events.columns]
        used = (
            events.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
            .select(COLUMNS)
            .filter(pl.col("kind").is_in(list(KINDS)), pl.col("item_id").is_not_null())
            .sort("time", maintain_order=True)
        )
        if used.is_empty():
            raise InputError(f"the shop has {len(events):,} events and none of {', '.join(KINDS)} on an item; add some")
        catalogue = Vocabulary(items["item_id"].to_list())
        codes = catalogue.add_all(used["item_id"].to_list())
        users = used.select(
            pl.when(pl.col("user_id").is_null())
            .then(pl.concat_str(pl.lit("s\0"), "session_id"))
            .otherwise(pl.concat_str(pl.lit("u\0"), "user_id"))
        ).to_series()
        return cls(
            events=used,
            items=items,
            facts=facts,
            info=info,
            catalogue=catalogue,
            codes=codes,
            sessions=_numbered(used["session_id"]),
            users=_numbered(users),
            kinds=np.fromiter(map(KINDS.index, used["kind"].to_list()), np.uint8, len(used)),
            times=used["time"].to_numpy(),
        )

    def __len__(self) -> int:
        """Events."""
        return len(self.codes)

    @property
    def by_day(self) -> bool:
        """Whether times are whole days, so that the order within a day means nothing to a statistic."""
        return not (self.times % DAY_MS).any()

    def split_rows(self, names: Sequence[str]) -> Rows:
        """Rows whose `split` is one of these."""
        return np.flatnonzero(self.events["split"].is_in(list(names)).fill_null(False).to_numpy())

    def part(self, rows: Rows) -> TrainingPart:
        """The part that holds these rows of the log and no others."""
        rows = np.sort(rows)
        return TrainingPart(
            rows=rows,
            events=self.events[rows].drop("split"),
            items=self.items,
            facts=self.facts,
            info=self.info,
            catalogue=self.catalogue,
            codes=self.codes[rows],
            sessions=self.sessions[rows],
            users=self.users[rows],
            kinds=self.kinds[rows],
            times=self.times[rows],
        )


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """What a ranker may learn from: some rows of a log, in time order, and all that does not depend on time."""

    rows: Rows
    """Which rows of the log these are, rising."""
    events: pl.DataFrame
    """kind, session_id, time, item_id, user_id."""
    items: pl.DataFrame
    facts: pl.DataFrame
    info: ShopInfo
    catalogue: Vocabulary
    codes: Codes
    sessions: Codes
    users: Codes
    kinds: NDArray[np.uint8]
    times: Rows

    def counts(self) -> NDArray[np.int64]:
        """Events of each item of the catalogue, (items,)."""
        return np.bincount(self.codes, minlength=len(self.catalogue))


def refuse_leak(part: TrainingPart, target_rows: Rows) -> None:
    """Nothing, unless a target stands among the rows that are learned from.

    Raises:
        LeakError: one does; the first is named.
    """
    places = np.flatnonzero(np.isin(part.rows, target_rows))
    if len(places):
        raise LeakError(
            f"the training part holds {len(places):,} of {len(target_rows):,} targets, expected none; the first is"
            f" the {told(part.events, int(places[0]))}; split the data anew"
        )


def told(events: pl.DataFrame, row: int) -> str:
    """An event in words, for a message."""
    kind, session, time, item = events.select("kind", "session_id", "time", "item_id").row(row)
    when = datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{kind} of {item!r} in session {session!r} at {when} UTC"


def _numbered(ids: pl.Series) -> Codes:
    """A number for each distinct id, in order of first sight; (n,)."""
    return Vocabulary().add_all(ids.to_list())
