"""The newest part of a shop's past, held out: what is asked there, and what is learned meanwhile, as a worker would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import polars as pl
from xxhash import xxh3_64_intdigest

from index.lesson import Lesson
from index.meetings import CONTEXT, MEMORY, lesson_context, visitor_tag
from streaming.gating import HORIZON_EVENTS, HORIZON_MS
from streaming.sessions import KINDS, Step
from streaming.teaching import session_tag

MOMENTS = 8000
"""Moments that are asked, at most."""
MOST = 500_000
"""Newest events that are looked at: enough to tell weights by, and no second fit of a past of any size."""
LAST = 0.1
"""Of the events, the newest, that are held out."""
FEW_UNKNOWN = 0.01
"""Of the catalogue: where fewer are unknown, as few answers would be, and nothing could be learned from them."""
DAY_MS = 86_400_000
HISTORY = 20
"""Newest events of a session that a moment has."""


class Moment(NamedTuple):
    """A session at one of its events, and what came then."""

    session: str
    history: tuple[Step, ...]
    time: int
    coming: tuple[tuple[str, int], ...]
    """Item and time of the next events on items, at most `HORIZON_EVENTS`."""
    learned: int
    """Of `Held.lessons`, how many are known by then: those before the first that came, by day where times are days."""


@dataclass(frozen=True, slots=True)
class Held:
    """A past, parted."""

    before: pl.DataFrame
    moments: list[Moment]
    """Of which what came first was held out."""
    endings: list[Moment]
    """Of the same sessions and others, at their last event, in proportion; none where sessions never end."""
    lessons: list[Lesson]
    """What the events held out teach, in their order."""
    hidden: bool = False
    """`before` lacks some items altogether, so that there are some that nobody has had."""


def hold_out(events: pl.DataFrame, *, endless: bool, count: int = MOMENTS) -> Held:
    """Parts events (in time order) into those to fit on and, the last `LAST` of them, those to choose on: each is asked
    for and then learned.

    Args:
        endless: sessions never expire.
        count: moments at most, see `_drawn`.
    """
    newest = events.tail(MOST).with_row_index("row")
    times = newest["time"].to_numpy()
    if not len(times):
        return Held(newest.drop("row"), [], [], [])
    first = int(np.searchsorted(times, times[int(len(times) * (1 - LAST))]))
    by_day = not (times % DAY_MS).any()
    moments, endings, lessons = [], [], {}
    for session in _sessions(newest.filter(pl.col("row").max().over("session_id") >= first)):
        for place, row in enumerate(session.rows):
            if row >= first:
                lessons[row] = session.lesson(place)
            last = place == len(session.rows) - 1
            asked = row + 1 if last else session.rows[place + 1]
            if asked < first or (last and (row < first or endless)):
                continue
            known = int(np.searchsorted(times, times[row if last else asked])) if by_day else asked
            moment = session.moment(place, max(known, first) - first)
            if not last:
                moments.append(moment)
            elif moment.time + HORIZON_MS <= times[-1]:
                endings.append(moment)
    some = round(len(endings) * min(1.0, count / max(len(moments), 1)))
    return Held(
        newest[:first].drop("row"),
        _drawn(moments, count),
        _drawn(endings, some),
        [lesson for _, lesson in sorted(lessons.items())],
    )


def hold_out_last(events: pl.DataFrame, *, count: int = MOMENTS, unknown: float = 0.0) -> Held:
    """Parts events (in time order) as a leave-one-out test does: of each session the last two are held out, the last is
    asked for, and nothing is learned meanwhile. For that test alone.

    Args:
        count: moments at most, see `_drawn`.
        unknown: share of the catalogue that nobody has had. Where it is `FEW_UNKNOWN` or more, as large a part of the
            items, by a hash, is taken out of `before` and stays in histories and answers: else what is chosen would
            know nothing of new items.
    """
    numbered = events.tail(MOST).with_row_index("row")
    after = pl.len().over("session_id") - 1 - pl.int_range(pl.len()).over("session_id")
    asked = numbered.filter(pl.len().over("session_id") >= 3)
    moments = [session.moment(len(session.rows) - 2, 0) for session in _sessions(asked)]
    before = numbered.filter(after > 1).drop("row")
    part = int(unknown * 2**64) if unknown >= FEW_UNKNOWN else 0
    some = [item for item in before["item_id"].unique() if xxh3_64_intdigest(item.encode()) < part]
    before = before.filter(~pl.col("item_id").is_in(some))
    return Held(before, _drawn(moments, count), [], [], hidden=bool(some))


@dataclass(frozen=True, slots=True)
class _Session:
    name: str
    visitor: int
    rows: list[int]
    items: list[str]
    kinds: list[str]
    times: list[int]

    def moment(self, place: int, learned: int) -> Moment:
        """At one of its events."""
        start, end = max(0, place + 1 - HISTORY), place + 1
        seen = zip(range(start, end), self.items[start:end], self.kinds[start:end], self.times[start:end], strict=True)
        history = tuple([Step(time, n, KINDS.index(kind), item) for n, item, kind, time in seen])
        coming = zip(self.items[end : end + HORIZON_EVENTS], self.times[end : end + HORIZON_EVENTS], strict=True)
        return Moment(self.name, history, self.times[place], tuple(coming), learned)

    def lesson(self, place: int) -> Lesson:
        """What one of its events teaches."""
        start = max(0, place + 1 - MEMORY)
        context = lesson_context(self.items[start : place + 1], self.times[start : place + 1], CONTEXT)
        return Lesson(
            self.items[place], context, self.kinds[place], self.times[place], session_tag(self.name), self.visitor
        )


def _sessions(events: pl.DataFrame) -> Iterator[_Session]:
    columns = ("row", "item_id", "kind", "time")
    for (name,), rows in events.group_by(["session_id"], maintain_order=True):
        user = rows["user_id"][-1] if "user_id" in rows.columns else None
        yield _Session(str(name), visitor_tag(user or str(name)), *(rows[column].to_list() for column in columns))


def _drawn(moments: Iterable[Moment], count: int) -> list[Moment]:
    """At most so many, by a hash: one of each session first, then a second of each, so that long sessions have no more
    say than short ones."""
    by_session: dict[str, list[tuple[int, Moment]]] = {}
    for moment in moments:
        place = xxh3_64_intdigest(f"{moment.session}\0{len(moment.history)}\0{moment.time}".encode())
        by_session.setdefault(moment.session, []).append((place, moment))
    turns = [
        (turn, place, moment)
        for its in by_session.values()
        for turn, (place, moment) in enumerate(sorted(its, key=itemgetter(0)))
    ]
    return [moment for _, _, moment in sorted(turns, key=itemgetter(0, 1))[:count]]
