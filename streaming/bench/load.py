"""What is sent: events with their keys and bytes made beforehand, so that the generator does nothing but send."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import polars as pl

from streaming import codec, topics
from streaming.bench.arrivals import Seconds
from streaming.decisions import prediction_id
from streaming.errors import InputError
from streaming.intake import Event, Source
from streaming.item_rows import items_of
from streaming.records import CLICK_KINDS, EventRecord, Item, Kind
from streaming.said import TRIGGERS
from streaming.sessions import INTEREST_KINDS
from streaming.shop import ShopFolder

KINDS: tuple[Kind, ...] = ("view", "view", "view", "click", "cart_add")
"""Of generated events, in turn: three in five are on `browses`, as more is looked at than clicked."""
START_S = 1.0
"""After a load was made, before its first event is due."""

Visit = tuple[str, Kind, str]
"""Session, kind and item; of a search its words."""
_NOWHERE = Source(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One record that is due."""

    topic: str
    """Without its prefix."""
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """Records and when each is due."""

    name: str
    """Begins the ids of its events: `name-0`, `name-1` and so on."""
    due: Seconds
    """In s from the start, ascending."""
    rows: Sequence[Row]

    @classmethod
    def of(cls, name: str, due: Seconds, visits: Iterator[Visit]) -> Load:
        """Made now, to be sent in a second; the events' own times are those at which they are due."""
        begun = time.time_ns() // 1_000_000 + round(START_S * 1000)
        rows = []
        for number, at in enumerate(due):
            session, kind, about = next(visits)
            record = EventRecord(
                kind=kind,
                session_id=session,
                time=begun + int(at * 1000),
                item_id=None if kind == "search" else about,
                query=about if kind == "search" else None,
                event_id=f"{name}-{number}",
            )
            topic = topics.CLICKS if kind in CLICK_KINDS else topics.BROWSES
            rows.append(Row(topic.name, session.encode(), codec.encode(record)))
        return cls(name, due, rows)

    def answers(self) -> dict[str, int]:
        """Every id that the answer to one of the events may have, to the event's number."""
        return {
            prediction_id(Event(_NOWHERE, "", None, "view", 0, event_id=f"{self.name}-{number}"), trigger, 0): number
            for number in range(len(self.rows))
            for trigger in TRIGGERS
        }

    def values(self) -> dict[bytes, int]:
        """Each record's bytes, to its number: for what only passes records on."""
        return {row.value: number for number, row in enumerate(self.rows)}


class ShopLog:
    """The events of a shop folder's log that tell what a visitor is after, in their order, over and over."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: it is no shop folder, or its log has no such events.
        """
        shop = ShopFolder(folder)
        events = shop.table("events")[0]
        told = events.filter(pl.col("kind").is_in(sorted(INTEREST_KINDS)) & pl.col("item_id").is_not_null())
        if not len(told):
            raise InputError(f"{folder}: its log has no event of an item; expected views, clicks, carts or purchases")
        self._rows = told.select("session_id", "kind", "item_id")
        self._items = shop.table("items")[0]

    def catalogue(self) -> Iterator[Item]:
        """Its items."""
        return items_of(self._items)

    def visits(self) -> Iterator[Visit]:
        """Without end: each time round the visitors are others."""
        for turn in count():
            for session, kind, item in self._rows.iter_rows():
                yield f"{session}~{turn}" if turn else session, kind, item


def searches(visits: Iterator[Visit], catalogue: Iterable[Item]) -> Iterator[Visit]:
    """In place of each visit a search in the words of the item's title and a number: words that nobody used before."""
    titles = {item.item_id: item.title for item in catalogue}
    for number, (session, _, item) in enumerate(visits):
        yield session, "search", f"{titles.get(item, item)} {number}"[:1000]


def generated(visits: Sequence[tuple[int, str]]) -> Iterator[Visit]:
    """Generated visits with their kinds."""
    for number, (visitor, item) in enumerate(visits):
        yield f"visitor-{visitor}", KINDS[number % len(KINDS)], item
