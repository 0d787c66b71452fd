"""VMIS-kNN: what the most alike of the recent sessions had.

After Kersbergen, Sprangers and Schelter, "Serenade: Low-Latency Session-Based Recommendation in e-Commerce at Scale",
SIGMOD 2022, and VS-kNN of Ludewig and Jannach, 2018; that items near the shared one count more is from STAN (Garg and
others, SIGIR 2019). It learns from every event.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from encoders.jit import njit
from index.blocks import Numbers, Rows
from index.knn_settings import Decay, KnnSettings
from index.lesson import LEARNING_KINDS, Lesson, Together
from index.log_columns import number_items
from index.meetings import CONTEXT, MEMORY, PERIOD_MS, counted_places
from index.rising import Rising
from index.session_store import BACK, DEEP, ENTRIES, FURTHEST, Events, SessionStore
from index.vocabulary import Codes, Vocabulary

Scores = NDArray[np.float64]
Column = pl.Series | NDArray[Any] | Sequence[int] | Sequence[str]
SCHEMA = pl.Schema({"session": pl.Int64, "item": pl.String, "time": pl.Int64, "back": pl.UInt8, "depth": pl.UInt8})
"""Of a snapshot: the newest event of each session and item. session: the tag as a signed number. time: ms. back: how
many events before, the item was there already; 0: not. depth: how many events were before in the session."""

RARE = 20
"""Entries without a return that each rate of returns starts from: rates of a table that knows little are low."""


class SessionKnn:
    """Sessions that were there, asked what goes with a session. Any thread may call.

    The content is a function of the events, in whatever order their sessions interleave; equal content gives equal
    scores to the last bit, whatever the numbers of the items.

    >>> items = Vocabulary()
    >>> knn = SessionKnn.fit(items, [7, 7, 8], ["tea", "mug", "tea"], [0, 1, 2])
    >>> found = knn.scores(items.codes(["tea"]), 10, exclude=8)
    >>> dict(zip(items.ids(found.codes), found.scores.round(2).tolist())), items.ids(found.evidence)
    ({'tea': 0.03, 'mug': 0.33}, ['tea', 'tea'])
    """

    def __init__(self, vocabulary: Vocabulary, settings: KnnSettings | None = None) -> None:
        self.vocabulary = vocabulary
        self.settings = settings or KnnSettings()
        self._lock = threading.Lock()
        self._store = SessionStore(self.settings.longest, self.settings.capacity)
        self._places = _falling(self.settings.decay, self.settings.history)
        self._matches = _falling(self.settings.match, self.settings.history)
        near = np.exp(-self.settings.near * np.maximum(np.arange(self.settings.longest) - 1.0, 0.0))
        self._near = np.concatenate([self.settings.backward * near[:0:-1], near])
        self._rising = Rising(vocabulary)
        self._touched = np.zeros(0, np.int32)  # of a query; 0 between two: by slot, its number among those touched

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        sessions: Column,
        items: Column,
        times: Column,
        settings: KnnSettings | None = None,
    ) -> SessionKnn:
        """Learns a log at once.

        Args:
            vocabulary: items that it lacks are added.
            sessions: tags, (n,), 64 bits, signed or not.
            items: ids, or codes of the vocabulary, (n,).
            times: ms, (n,). Any order; of one session, events of one time count in the order given.
        """
        knn = cls(vocabulary, settings)
        tags, moments = _signed(sessions), pl.Series(times).cast(pl.Int64).to_numpy()
        codes = number_items(vocabulary, pl.Series(items))
        order = np.lexsort((moments, tags))  # session by session, stable
        tags, codes, moments = tags[order], codes[order], moments[order]
        backs, depths = _returns(tags, codes, moments, knn.settings.window)
        knn._learn(Events(tags, codes, moments, backs, depths))
        return knn

    def _learn(self, events: Events) -> None:
        """Events that are in order within each session."""
        with self._lock:
            self._store.learn(events.ordered(np.argsort(events.times, kind="stable")))

    def observe(self, *lessons: Lesson) -> None:
        """Learns events, one after the other. A repetition, or one older than what is known of its session and item,
        changes nothing."""
        taught = [lesson for lesson in lessons if lesson.kind in LEARNING_KINDS]
        if not taught:
            return
        window, number = self.settings.window, self.vocabulary.add
        codes = np.array([number(lesson.after) for lesson in taught], np.int32)
        events = Events(
            _signed([lesson.session for lesson in taught]),
            codes,
            np.array([lesson.time for lesson in taught], np.int64),
            np.array([_back(lesson.after, lesson.context[:window]) for lesson in taught], np.uint8),
            np.array([min(len(lesson.context), window) for lesson in taught], np.uint8),
        )
        with self._lock:
            self._store.learn(events)
            self._rising.met(self._store, codes)

    def __len__(self) -> int:
        """Entries: pairs of a session and an item."""
        return int(self._store.state[ENTRIES])

    def scores(self, codes: Codes, n: int, weights: Scores | None = None, exclude: int | None = None) -> Together:
        """What the neighbours of a session had, the session's own items among it.

        Args:
            codes: items of the session, (h,), newest last; -1: not known. An item that comes twice counts at its newest
                place.
            n: items at most, the best.
            weights: factors by place, (h,), 0 or above, as of the kind of event; all 1 without.
            exclude: tag of a session that is no neighbour: the one that asks.

        Returns:
            An item's score is the share of the neighbours, by weight, that votes for it, times its idf: of different
            sessions they compare, so fuse them as they are, not by the best of each session. An own item's is as `own`
            and `again` say, and at most 1. Evidence of an item that is there for its return is the item itself.
        """
        settings = self.settings
        codes = codes[-settings.history :]
        places = self._places[len(codes)]
        if weights is not None:
            places = places * weights[: -len(codes) - 1 : -1]
        with self._lock:
            store = self._store
            if len(self._touched) < len(store.sessions):
                self._touched = np.zeros(len(store.sessions), np.int32)
            store.reach(len(self.vocabulary))
            own = -1 if exclude is None else store.slot(int(_signed([exclude])[0]))
            found = _scores(
                store.state, store.sessions, store.items, store.entries, self._touched,
                codes, places, self._matches[len(codes)], self._near, own, settings.k, settings.recent,
                settings.longest, settings.idf, settings.doubt, settings.own, settings.again, n,
            )  # fmt: skip
        return Together(*found)

    def newest(self, codes: Codes, ranks: Numbers) -> Numbers:
        """As `SessionStore.newest`."""
        with self._lock:
            self._store.reach(len(self.vocabulary))
            return self._store.newest(codes, ranks)

    def oldest(self) -> int:
        """As `SessionStore.oldest`."""
        with self._lock:
            return self._store.oldest()

    def rising(self, n: int) -> Codes:
        """As `Rising.best`."""
        with self._lock:
            self._store.reach(len(self.vocabulary))
            return self._rising.best(self._store, n)

    def copied(self) -> SessionKnn:
        """All of it as it is now, over the same vocabulary."""
        other = SessionKnn(self.vocabulary, self.settings)
        with self._lock:
            other._store = copy.deepcopy(self._store)
        return other

    def to_frame(self) -> pl.DataFrame:
        """The whole content as `SCHEMA`: by session, in a session oldest first. Equal for equal content."""
        with self._lock:
            tags, codes, times, backs, depths = self._store.content()
        columns = (tags, self.vocabulary.ids(codes), times, backs, depths)
        return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)), schema=SCHEMA)

    @classmethod
    def from_frame(cls, vocabulary: Vocabulary, frame: pl.DataFrame, settings: KnnSettings | None = None) -> SessionKnn:
        """What `to_frame` wrote. Tighter bounds than it was made with cut it as they would have cut the events."""
        knn = cls(vocabulary, settings)
        numbers = [frame[name].to_numpy() for name in ("session", "time", "back", "depth")]
        knn._learn(Events(numbers[0], number_items(vocabulary, frame["item"]), *numbers[1:]))
        return knn


def _back(item: str, context: Sequence[str]) -> int:
    """How many places back an item came last; 0: it did not."""
    return context.index(item) + 1 if item in context else 0


def _signed(tags: Column) -> Numbers:
    """64 bits as a signed number."""
    if isinstance(tags, (pl.Series, np.ndarray)):
        return np.asarray(tags).astype(np.int64)
    return np.array([(int(tag) + 2**63) % 2**64 - 2**63 for tag in tags], np.int64)


def _returns(tags: Numbers, codes: Codes, times: Numbers, window: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`backs` and `depths` of a log, session by session in order of time, as lessons have them."""
    depths = np.minimum(np.arange(len(tags)) - np.searchsorted(tags, tags), window).astype(np.uint8)
    backs = np.zeros(len(tags), np.uint8)
    reach = max(window, CONTEXT)  # a pair that a lesson has farther back than `window` is counted by then all the same
    counted = counted_places(tags, codes, times, reach, max(MEMORY, reach + 1), PERIOD_MS)
    for back in range(window, 0, -1):
        came = (depths >= back) & (counted >> (back - 1) & 1 == 1)
        came[back:] &= codes[back:] == codes[:-back]
        backs[came] = back
    return backs, depths


def _falling(decay: Decay, history: int) -> list[Scores]:
    """Weights by place, newest first, for sessions of 0 to `history` places."""
    weights = []
    for size in range(history + 1):
        place = np.arange(size, dtype=np.float64)
        linear = 1 - place / max(1, size)
        falling = {"none": np.ones(size), "linear": linear, "quadratic": linear**2, "inverse": 1 / (place + 1)}
        weights.append(falling[decay])
    return weights


@njit
def _scores(
    state: Numbers, sessions: Rows, items: Rows, entries: Rows, touched: Codes,
    codes: Codes, places: Scores, matches: Scores, near: Scores, own: int,
    k: int, recent: int, longest: int, idf: float, doubt: float, owned: float, again: float, n: int,
) -> tuple[Codes, Scores, Codes]:  # fmt: skip
    """One query. Every sum and every tie follows the order of lists and places, never numbers of slots or items."""
    # The session's items, newest first.
    history = np.empty(len(codes), np.int32)
    weights, factors, returns = np.empty(len(codes)), np.empty(len(codes)), np.zeros(len(codes))
    size, room = 0, 0
    for place in range(len(codes)):
        code = codes[len(codes) - 1 - place]
        if 0 <= code < len(items) and not items[code].asked and places[place] > 0:
            history[size], weights[size], factors[size] = code, places[place], matches[place]
            if place < FURTHEST:
                returns[size] = again * state[BACK + 1 + place] / (state[DEEP + 1 + place] + RARE)
            size += 1
            items[code].asked = size
            room += min(recent, items[code].length)
    # Sessions that share one, and how alike they are: those that share the newest item first, newest session first.
    slots, alike = np.empty(room, np.int32), np.empty(room)
    reached = 0
    for one in range(size):
        row = items[history[one]]
        end = row.start + row.first + row.length
        for at in range(end - 1, end - 1 - min(recent, row.length), -1):
            slot = entries[at].number
            if touched[slot]:
                alike[touched[slot] - 1] += weights[one]
            elif slot != own:
                slots[reached], alike[reached] = slot, weights[one]
                reached += 1
                touched[slot] = reached
    for one in range(reached):
        touched[slots[one]] = 0
    # Their votes, by item found and by shared item.
    neighbours = _best(alike[:reached], k)
    room = size
    for one in neighbours:
        room += sessions[slots[one]].length
    answer, votes = np.empty(room, np.int32), np.empty((room, max(1, size)))
    shared, origins = np.empty(size, np.int64), np.empty(size, np.int64)
    answers, total = 0, doubt
    for one in neighbours:
        row = sessions[slots[one]]
        begin = row.start + row.first
        shares, newest, weight = 0, size, 0.0
        for place in range(row.length):
            by = items[entries[begin + place].number].asked - 1
            if by >= 0:
                shared[shares], origins[shares] = by, place
                shares += 1
                newest = min(newest, by)
                weight += weights[by]
        total += factors[newest] * alike[one]
        factor = factors[newest] * alike[one] / weight
        for place in range(row.length):
            code = entries[begin + place].number
            at = items[code].found - 1
            if at < 0:
                at = answers
                answer[at], votes[at] = code, 0.0
                answers += 1
                items[code].found = answers
            for share in range(shares):
                votes[at, shared[share]] += factor * weights[shared[share]] * near[longest - 1 + place - origins[share]]
    for one in range(size):
        if returns[one] and not items[history[one]].found:
            answer[answers], votes[answers] = history[one], 0.0
            answers += 1
            items[history[one]].found = answers
    # An item's score is the sum of its votes; what gave most of it is the evidence.
    scores, evidence = np.empty(answers), np.empty(answers, np.int32)
    logarithm = np.log(float(state[ENTRIES]))
    for at in range(answers):
        item = items[answer[at]]
        item.found = 0
        most = 0
        score = 0.0
        for one in range(size):
            score += votes[at, one]
            if votes[at, one] > votes[at, most]:
                most = one
        largest = votes[at, most]
        if score > 0:
            factor = 1 / total
            if idf and logarithm:
                rarity = 1 - np.log(float(item.length)) / logarithm
                factor *= rarity if idf == 1 else rarity**idf
            if item.asked:
                factor *= owned
            score, largest = score * factor, largest * factor
        evidence[at] = history[most]
        if item.asked:
            came = returns[item.asked - 1]
            score = min(1.0, score + came)
            if came >= largest:
                evidence[at] = answer[at]
        scores[at] = score
    for one in range(size):
        items[history[one]].asked = 0
    best = _best(scores, n)
    return answer[best], scores[best], evidence[best]


@njit
def _best(values: Scores, n: int) -> Numbers:
    """Places of the n greatest values; of equals, the first. In an order that depends on the values alone."""
    heap = np.arange(min(max(0, n), len(values)))
    if len(heap) == len(values) or not len(heap):
        return heap
    for top in range(len(heap) // 2 - 1, -1, -1):
        _sink(values, heap, top, heap[top])
    for place in range(len(heap), len(values)):
        if values[place] > values[heap[0]]:
            _sink(values, heap, 0, place)
    return heap


@njit
def _sink(values: Scores, heap: Numbers, top: int, place: int) -> None:
    """Puts a place where it belongs under `top`, the least value (of equals, the last place) on top."""
    while 2 * top + 1 < len(heap):
        child = 2 * top + 1
        if child + 1 < len(heap):
            one, other = values[heap[child + 1]], values[heap[child]]
            if one < other or (one == other and heap[child + 1] > heap[child]):
                child += 1
        value = values[heap[child]]
        if value > values[place] or (value == values[place] and heap[child] < place):
            break
        heap[top] = heap[child]
        top = child
    heap[top] = place
