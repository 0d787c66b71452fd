"""What follows what in a session, and what is popular: plain, strong, and learning at every event.

A co-occurrence table, directed and weighted by distance. Tuned, such a table beats most published networks on
sequences of purchases and clicks; it needs no vectors and no index.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from index.adjacency import ITEM, SLOT, UNIT, find, first_shown, learn, most_slots, new_heap
from index.co_settings import CoSettings
from index.gathering import LOAN, SUM, best_together, events_of, priors
from index.lesson import LEARNING_KINDS, Lesson, Together
from index.log_columns import number_items, number_sessions, tags
from index.meetings import MEMORY, PERIOD_MS, count_meetings, counted_places
from index.popularity import Leaders
from index.rows_frame import rows_from_frame, rows_to_frame
from index.vocabulary import Codes, Vocabulary

Column = pl.Series | NDArray[Any] | Sequence[str] | Sequence[int]

_DAY_MS = 86_400_000
_FURTHEST = 30.0
_EMPTY = Together(np.empty(0, np.int32), np.empty(0), np.empty(0, np.int32))
_NO_LANE = (np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0))
_MOST_LENT = 50
AT_ONCE = 16
"""Lessons that are learned in one call, with room made for all that they could take."""


class Pair(NamedTuple):
    """An item that another one goes with."""

    place: int
    """Of the items asked about."""
    lift: float
    """How much oftener the other comes with it than at all: W(a, b) / T(a) over b's share of all events; 1: as it
    always does."""


class CoOccurrence:
    """Directed co-occurrence and popularity of items. Any thread may call; each call is whole.

    Applying a lesson once is the caller's part: `observe` twice counts twice. Lessons of different sessions may come
    in any order: the sums are whole numbers, and tables that learned the same are equal, as long as no row had to be
    trimmed and no stranger was turned away.

    Memory: 72 bytes an item and 24 a neighbour, of which a row has room for 4, 8, 16, ... up to 2 * `neighbours`; at
    most 4.9 KB an item with the default of 100.

    >>> items = Vocabulary()
    >>> table = CoOccurrence.fit(items, ["a", "a", "b", "b"], ["tea", "mug", "tea", "mug"])
    >>> found = table.together(items.codes(["tea"]), np.ones(1), 5)
    >>> items.ids(found.codes), items.ids(found.evidence), table.support(items.code("tea"), items.code("mug"))
    (['mug'], ['tea'], 2)
    """

    def __init__(self, vocabulary: Vocabulary, settings: CoSettings | None = None, landmark: int = 0) -> None:
        """Empty. `landmark`: ms since the epoch; the time at which an event weighs 1, with a half-life."""
        self.vocabulary = vocabulary
        self.settings = settings or CoSettings()
        self.landmark = landmark
        self._latest = landmark
        places = np.arange(1, self.settings.window + 1, dtype=np.float64)
        self._shares = places ** -(self.settings.fading if self.settings.by_distance else 0.0)
        self._most_slots = most_slots(self.settings.window, self.settings.neighbours)
        self._strangers = 0
        self._leaders = Leaders(vocabulary, self.settings.popular)
        self._lane = _NO_LANE
        self._lock = threading.Lock()
        self._most = self._heats = 0
        self._damped = np.empty(0)
        self._take(np.zeros(16, ITEM), np.zeros(self._most_slots, SLOT), 0)

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        sessions: Column,
        items: Column,
        times: Column | None = None,
        visitors: Column | None = None,
        settings: CoSettings | None = None,
    ) -> CoOccurrence:
        """The table of events in time order; sessions may be interleaved. The landmark is the last event's time.

        What `observe` would have learned event by event with `lesson_context`, but every sum is exact before a row is
        trimmed. About a second a million events.

        Args:
            vocabulary: gets the items that it lacks.
            sessions: of each event, texts or numbers.
            items: ids, or codes of the vocabulary.
            times: ms since the epoch; None: of one half hour.
            visitors: ids, or tags as `visitor_tag` gives them; None: each session is one.

        Raises:
            ValueError: not equally many of each; a half-life without times; a code that the vocabulary lacks.
        """
        columns = [pl.Series(column) for column in (sessions, items, times, visitors) if column is not None]
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"columns of lengths {[len(column) for column in columns]}: expected one of each an event")
        settings = settings or CoSettings()
        if settings.half_life_days is not None and times is None:
            raise ValueError(f"half_life_days {settings.half_life_days}, and no times: pass them, or set it to None")
        moments = np.empty(0, np.int64) if times is None else pl.Series(times).cast(pl.Int64).to_numpy()
        table = cls(vocabulary, settings, int(moments.max(initial=0)))
        codes = number_items(vocabulary, columns[1])
        order, numbers = number_sessions(columns[0], settings.per_session)
        codes, moments = codes[order], moments[order] if times is not None else moments
        counted = counted_places(numbers, codes, moments, settings.window, max(MEMORY, settings.window + 1), PERIOD_MS)
        units = np.fromiter(map(table._unit, moments.tolist()), np.float64) if times is not None else np.empty(0)
        rows, slots, used = count_meetings(
            codes,
            tags(columns[0] if visitors is None else columns[-1])[order],
            counted,
            units if len(units) else np.full(len(codes), float(UNIT)),
            table._shares,
            settings.backward,
            settings.self_pairs,
            len(vocabulary),
            settings.neighbours,
        )
        table._take(rows, slots, used)
        return table

    def observe(self, *lessons: Lesson) -> None:
        """Learns from events, one after the other. Kinds that do not teach (`LEARNING_KINDS`) change nothing."""
        settings = self.settings
        with self._lock:
            taught = [(lesson, row) for lesson in lessons if (row := self._row(lesson))]
            if not taught:
                return
            rows = [row for _, row in taught]
            self._reach(max(map(max, rows)) + 1)
            self._latest = max(self._latest, *[lesson.time for lesson, _ in taught])
            codes = np.array(rows, np.int32)
            units = np.array([self._unit(lesson.time) for lesson, _ in taught])
            visitors = np.array([lesson.visitor for lesson, _ in taught], np.uint32)
            for start in range(0, len(rows), AT_ONCE):
                self._make_room()
                self._heats += learn(
                    self._table,
                    self._slots,
                    self._heap,
                    codes[start : start + AT_ONCE],
                    units[start : start + AT_ONCE],
                    self._shares,
                    settings.backward,
                    settings.self_pairs,
                    visitors[start : start + AT_ONCE],
                    settings.neighbours,
                    self._damped,
                    settings.damping,
                )
            heat, afters = self._table["heat"], [row[0] for row in rows]
            self._most = max(self._most, *map(heat.item, afters))
            self._leaders.grown(heat, afters)

    def _row(self, lesson: Lesson) -> list[int]:
        """Code of the item, and of each place before it, below 0 where nothing counts; empty: it teaches nothing."""
        if lesson.kind not in LEARNING_KINDS or (after := self._code(lesson.after)) < 0:
            return []
        window, code_of = self.settings.window, self.vocabulary.code
        row = [code_of(item) if item else -1 for item in lesson.context[:window]]
        if -1 in row:
            row = [self._code(item) if item else -1 for item in lesson.context[:window]]
        return [after, *row, *[-1] * (window - len(row))]

    def together(self, codes: Codes, weights: NDArray[np.float64], n: int, *, repeats: bool = True) -> Together:
        """The n items that go best with a history, in no promised order.

        score(b) = seen(b)^-damping * sum over a of w(a) * W(a, b) / (T(a) + doubt), over the sum of w, with W the
        weights of pairs and T of rows: from 0 to 1, and of one scale whatever the history's length. Ties with the
        n-th go by item id.

        Args:
            codes: (h,), newest last. An item that is not known adds nothing, and lowers the scores by its weight.
            weights: (h,), decayed by the caller; those not above 0 add nothing.
            repeats: False: no item of the history.
        """
        if n < 1 or not len(codes):
            return _EMPTY
        settings = self.settings
        with self._lock:
            together = Together(
                *best_together(
                    self._table,
                    self._slots,
                    self._sums,
                    self._loans,
                    self._touched,
                    self._damped,
                    codes,
                    weights,
                    self._scale(),
                    settings.doubt,
                    n,
                    repeats,
                    self._lane,
                    settings.cold_below,
                )
            )
        if len(together.codes) <= n:
            return together
        least = together.scores.min()  # the n-th best: all that is more than n ties with it
        sure, tied = np.flatnonzero(together.scores > least), np.flatnonzero(together.scores == least)
        ids = self.vocabulary.ids(together.codes[tied])
        first = heapq.nsmallest(n - len(sure), zip(ids, tied.tolist(), strict=True))
        best = np.append(sure, [place for _, place in first])
        return Together(*(column[best] for column in together))

    def support(self, before: int, after: int) -> int:
        """Meetings of a pair, in either order; 0 where it is not kept. Items by code."""
        with self._lock:
            slot = self._find(before, after)
            return 0 if slot is None else int(slot["support"])

    def first_pair(self, befores: Sequence[int], after: int, *, visitors: int, lift: float = 0.0) -> Pair | None:
        """The first of these items that goes with another, as a sentence may be founded on; None: none does. An item
        is no pair with itself. Items by code; what is no code goes with nothing.

        Args:
            visitors: least of them who made the pair, at most 2.
            lift: least `Pair.lift`.
        """
        codes = np.array(befores, np.int32)
        with self._lock:
            place, found = first_shown(self._table, self._slots, self._heats, codes, after, visitors, lift)
        return Pair(place, found) if place >= 0 else None

    @property
    def latest(self) -> int:
        """ms since the epoch: of the newest event that was learned."""
        return self._latest

    def seen(self, codes: Codes) -> NDArray[np.int64]:
        """Events of each item, (n,); 0 of a code that is not known."""
        with self._lock:
            return events_of(self._table, codes)

    def prior(self, codes: Codes) -> NDArray[np.float64]:
        """Popularity, (n,), from 0 (never seen) to 1 (the most popular): log(1 + n) / log(1 + most), both decayed where
        there is a half-life."""
        with self._lock:
            scale = self._scale()
            return priors(self._table, codes, scale, math.log1p(max(self._most, 1) * scale))

    def popular(self, n: int) -> Codes:
        """The n most popular items, best first, ties by item id; decayed where there is a half-life."""
        with self._lock:
            return self._leaders.best(self._table["heat"], max(n, 0))

    def cold(self, codes: Codes, nearest: NDArray[np.int32], similarity: NDArray[np.float32]) -> None:
        """Lets items borrow that were seen less than `cold_below` times; replaces what was borrowed before.

        `together` adds to such an item's score cold_factor times the mean over its nearest warm items of similarity *
        score, where a warm item counts that is among the n best and has this one among the 50 that are most like it.
        Its evidence is theirs. The item stops borrowing when it has been seen `cold_below` times.

        Args:
            codes: (c,), the cold items.
            nearest: (c, k), warm items by code; below 0: none.
            similarity: (c, k); not above 0 adds nothing.

        Raises:
            ValueError: the shapes do not fit.
        """
        if nearest.shape != similarity.shape or nearest.shape[:1] != codes.shape or nearest.ndim != 2:
            raise ValueError(
                f"shapes {codes.shape}, {nearest.shape}, {similarity.shape}: expected (c,), (c, k), (c, k)"
            )
        k = max(nearest.shape[1], 1)
        lent = pl.DataFrame(
            {"warm": nearest.ravel(), "cold": np.repeat(codes, nearest.shape[1]), "share": similarity.ravel()}
        ).filter(pl.col("warm") >= 0, pl.col("share") > 0)
        lent = lent.sort("warm", "share", "cold", descending=[False, True, False])
        lent = lent.filter(pl.int_range(pl.len()).over("warm") < _MOST_LENT)
        starts = np.searchsorted(lent["warm"].to_numpy(), np.arange(int(nearest.max(initial=-1)) + 2)).astype(np.int64)
        shares = lent["share"].cast(pl.Float64).to_numpy() * (self.settings.cold_factor / k)
        with self._lock:
            self._reach(max(len(starts) - 1, int(codes.max(initial=-1)) + 1))
            self._lane = (starts, lent["cold"].cast(pl.Int32).to_numpy().copy(), shares)

    def pairs(self, codes: Codes) -> pl.DataFrame:
        """The neighbours of these items: before and after (codes), weight, low and high (tags of visitors: two where
        they differ)."""
        with self._lock:
            table, slots = self._table[codes].copy(), self._slots[: self._heap[0]].copy()
        filled = table["filled"].astype(np.int64)
        place = np.arange(filled.sum()) - np.repeat(np.cumsum(filled) - filled, filled)
        used = slots[np.repeat(table["start"], filled) + place]
        columns = {column: used[column].copy() for column in ("after", "weight", "low", "high")}
        return pl.DataFrame({"before": np.repeat(codes, filled)} | columns)

    def to_frame(self) -> pl.DataFrame:
        """One row an item, sorted by id: item_id, seen, heat, total, landmark, latest, and lists of the same length
        after (row numbers of this frame), weight, support, low, high. All to go on from; the cold lane is not in it."""
        with self._lock:
            table, slots = self._table.copy(), self._slots[: self._heap[0]].copy()
            latest = self._latest
        frame = rows_to_frame(self.vocabulary, table, slots)
        return frame.with_columns(
            pl.lit(self.landmark, pl.Int64).alias("landmark"), pl.lit(latest, pl.Int64).alias("latest")
        )

    @classmethod
    def from_frame(
        cls, vocabulary: Vocabulary, frame: pl.DataFrame, settings: CoSettings | None = None, landmark: int = 0
    ) -> CoOccurrence:
        """What `to_frame` gave, with the settings it was made with. `landmark`: of a frame without rows."""
        table = cls(vocabulary, settings, frame["landmark"].item(0) if frame.height else landmark)
        table._latest = frame["latest"].item(0) if frame.height else landmark
        table._take(*rows_from_frame(vocabulary, frame, table.settings.neighbours))
        table._reach(1)
        return table

    def copied(self) -> CoOccurrence:
        """The table as it is now, over the same vocabulary, without what the cold lane lends."""
        with self._lock:
            other = CoOccurrence(self.vocabulary, self.settings, self.landmark)
            used = self._heap.item(0)
            other._take(self._table.copy(), self._slots[: used + self._most_slots].copy(), used)
            other._latest = self._latest
        return other

    def _take(self, table: NDArray[np.void], slots: NDArray[np.void], used: int) -> None:
        """Goes on from these rows."""
        self._table, self._slots, self._heap = table, slots, new_heap(used)
        self._most, self._heats = int(table["heat"].max(initial=0)), int(table["heat"].sum())
        self._damped = np.maximum(table["seen"], 1) ** -self.settings.damping
        self._clear()

    def _clear(self) -> None:
        """Makes scratch for as many items as there are."""
        self._sums = np.zeros(len(self._table), SUM)
        self._loans = np.zeros(len(self._table), LOAN)
        self._touched = np.zeros(len(self._table), np.int32)

    def _reach(self, size: int) -> None:
        """Makes the table at least so long."""
        more = size - len(self._table)
        if more <= 0:
            return
        more = max(more, len(self._table) // 4 + 16)
        self._table = np.concatenate([self._table, np.zeros(more, ITEM)])
        self._damped = np.concatenate([self._damped, np.ones(more)])
        self._clear()

    def _make_room(self) -> None:
        """For as many more lessons as are learned at once."""
        needed = self._heap.item(0) + AT_ONCE * self._most_slots
        if needed > len(self._slots):
            self._slots = np.concatenate([self._slots, np.zeros(needed + needed // 4 - len(self._slots), SLOT)])

    def _code(self, item_id: str) -> int:
        """The number of an item, which gets one if it has none; -1: there are too many strangers."""
        code = self.vocabulary.code(item_id)
        if code < 0:
            if self._strangers >= self.settings.strangers:
                return -1
            self._strangers += 1
            code = self.vocabulary.add(item_id)
        return code

    def _unit(self, time: int) -> float:
        """What a pair at distance 1 weighs at that time, in fixed point."""
        if self.settings.half_life_days is None:
            return float(UNIT)
        return UNIT * math.exp2(min((time - self.landmark) / (self.settings.half_life_days * _DAY_MS), _FURTHEST))

    def _scale(self) -> float:
        """Fixed point to what it is worth at the latest event."""
        return 1.0 / self._unit(self._latest)

    def _find(self, before: int, after: int) -> np.void | None:
        if not 0 <= before < len(self._table):
            return None
        at = find(self._table, self._slots, before, after)
        return None if at < 0 else self._slots[at]
