"""Sessions as sets of items with times, and for each item the sessions that had it: one content, read both ways.

What is kept is a function of the events alone, not of the order in which sessions interleave: of each session the
newest items, of all that the newest (session, item) entries. Such a cut commutes with adding: what is cut stays
outranked by as many others, however the rest arrives. (But for one event told twice in one millisecond with others
between, where the cut falls there: the repeat counts as new.)

Layout. A session's items are a list of entries that number items, by code; an item's sessions one of entries that
number slots; both oldest first. Sessions stand in a heap by their oldest entry, so that the oldest of all is found at
once, and in a hash table by tag.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.blocks import BLOCKS, ENTRY, LIST, TOP, Numbers, Rows, insert, remove, wanted
from index.vocabulary import Codes

ITEM = np.dtype([*LIST, ("found", np.int32), ("asked", np.int32)])
"""The sessions that had an item; and scratch of a query, 0 between two: its number among the items found, and among
those asked. One look at memory for all three."""
SESSION = np.dtype([("tag", np.int64), ("place", np.int32), *LIST], align=True)
"""A slot: a session and its items. place: in the heap; of a free slot: the next free one, -1: none."""
FURTHEST = 62
"""Events before an event that can be told apart."""

# State, behind that of the blocks.
ENTRIES, LIVE, SLOTS, FREE_SLOT = BLOCKS, BLOCKS + 1, BLOCKS + 2, BLOCKS + 3
"""Entries of sessions; live sessions, the heap's length; slots ever used; first free slot, -1: none."""
BACK, DEEP = BLOCKS + 4, BLOCKS + 5 + FURTHEST
"""BACK + d: entries whose item had been d events before; DEEP + d: entries with d events or more before them."""
_STATE = DEEP + 1 + FURTHEST


class Events(NamedTuple):
    """Events as columns, (n,) each. As entries: of each session and item the newest."""

    tags: Numbers
    codes: Codes
    times: Numbers
    """ms."""
    backs: NDArray[np.uint8]
    """How many events before its item was in its session; 0: nowhere. FURTHEST at most."""
    depths: NDArray[np.uint8]
    """How many events were before it in its session, FURTHEST at most."""

    def ordered(self, places: Numbers) -> Events:
        """The events at these places."""
        return Events(
            self.tags[places], self.codes[places], self.times[places], self.backs[places], self.depths[places]
        )


class SessionStore:
    """Bounded memory of sessions. Not thread-safe.

    Args:
        longest: items kept of one session.
        capacity: (session, item) entries kept of all sessions.
    """

    def __init__(self, longest: int, capacity: int) -> None:
        self._longest, self._capacity = longest, capacity
        self.state = np.zeros(_STATE, np.int64)
        self.state[TOP + 1 : BLOCKS] = self.state[FREE_SLOT] = -1
        self.sessions = np.zeros(64, SESSION)
        self.items = np.zeros(64, ITEM)
        self.entries = np.zeros(256, ENTRY)
        self.heap = np.zeros(64, np.int32)
        self.table = np.full(128, -1, np.int32)

    def learn(self, events: Events) -> None:
        """Takes in events. One that is no newer than what is known of its session and item changes nothing.

        In order of time it takes under a microsecond an event; each step back in time costs a search in a list and a
        shift of the shorter side.
        """
        if not len(events.codes):
            return
        needed = int(events.codes.max()) + 1
        self.reach(needed)
        done = 0
        while True:
            done = _learn(
                self.state, self.sessions, self.items, self.entries, self.heap, self.table,
                *events, done, self._longest, self._capacity,
            )  # fmt: skip
            if done == len(events.codes):
                return
            self._grow()

    def reach(self, items: int) -> None:
        """Room for so many items."""
        if items > len(self.items):
            self.items = _grown(self.items, max(items, 2 * len(self.items)))

    def content(self) -> Events:
        """All entries: by tag, in a session oldest first."""
        events = Events(*_content(self.state, self.sessions, self.entries, self.heap))
        return events.ordered(np.argsort(events.tags, kind="stable"))

    def slot(self, tag: int) -> int:
        """Where a session is kept; -1: nowhere."""
        return int(self.table[_find(self.table, self.sessions, tag)])

    def newest(self, codes: Codes, ranks: Numbers) -> Numbers:
        """(n, ranks), ms: the time of the last session that had each item (rank 1), of the one before it (2), and so
        on; of the first that is kept (0); -1: so many had it not. Codes are items that there is room for."""
        return _newest(self.items, self.entries, codes, ranks)

    def oldest(self) -> int:
        """ms: the time of the oldest entry that is kept; -1: there is none."""
        if not self.state[LIVE]:
            return -1
        session = self.sessions[self.heap[0]]
        return int(self.entries[session["start"] + session["first"]]["time"])

    def _grow(self) -> None:
        """More room for slots or for entries, whichever is short."""
        if self.state[FREE_SLOT] < 0 and self.state[SLOTS] == len(self.sessions):
            size = 2 * len(self.sessions)
            self.sessions, self.heap = _grown(self.sessions, size), _grown(self.heap, size)
            self.table = np.full(2 * size, -1, np.int32)
            _rehash(self.state, self.sessions, self.heap, self.table)
        else:
            self.entries = _grown(self.entries, 2 * len(self.entries))


def _grown(rows: Any, size: int) -> Any:
    wider = np.zeros(size, rows.dtype)
    wider[: len(rows)] = rows
    return wider


@njit
def _newest(items: Rows, entries: Rows, codes: Codes, ranks: Numbers) -> Numbers:
    times = np.full((len(codes), len(ranks)), -1, np.int64)
    for at in range(len(codes)):
        row = items[codes[at]]
        for place in range(len(ranks)):
            back = ranks[place] if ranks[place] else row.length
            if 0 < back <= row.length:
                times[at, place] = entries[row.start + row.first + row.length - back].time
    return times


@njit
def _learn(
    state: Numbers, sessions: Rows, items: Rows, entries: Rows, heap: Codes, table: Codes,
    tags: Numbers, codes: Codes, times: Numbers, backs: NDArray[np.uint8], depths: NDArray[np.uint8],
    begin: int, longest: int, capacity: int,
) -> int:  # fmt: skip
    """Events from `begin` on, until one needs more room than there is; returns which, or their number."""
    for event in range(begin, len(tags)):
        tag, code, time = tags[event], codes[event], times[event]
        bucket = _find(table, sessions, tag)
        slot = table[bucket]
        if slot < 0:
            if state[FREE_SLOT] < 0 and state[SLOTS] == len(sessions):
                return event
            if len(entries) - state[TOP] < 2 + wanted(items[code]):
                return event
            slot = _open(state, sessions, heap, tag)
            table[bucket] = slot
        elif len(entries) - state[TOP] < 2 + wanted(sessions[slot]) + wanted(items[code]):
            return event
        session = sessions[slot]
        known = _place_of(entries, session, code)
        if known >= 0:
            if time <= entries[session.start + session.first + known].time:
                continue
            _drop(state, sessions, items, entries, slot, known)
        place = session.length
        while place > 0 and entries[session.start + session.first + place - 1].time > time:
            place -= 1
        insert(state, entries, session, place, time, code)
        entries[session.start + session.first + place].back = backs[event]
        entries[session.start + session.first + place].depth = depths[event]
        insert(state, entries, items[code], _rank(entries, items[code], sessions, time, tag), time, slot)
        _count(state, backs[event], depths[event], 1)
        if session.length > longest:
            _drop(state, sessions, items, entries, slot, 0)
        _sift_up(sessions, entries, heap, session.place)
        _sift_down(state, sessions, entries, heap, session.place)
        if state[ENTRIES] > capacity:
            oldest = heap[0]
            _drop(state, sessions, items, entries, oldest, 0)
            if sessions[oldest].length == 0:
                _close(state, sessions, entries, heap, table, oldest)
            else:
                _sift_down(state, sessions, entries, heap, 0)
    return len(tags)


@njit
def _drop(state: Numbers, sessions: Rows, items: Rows, entries: Rows, slot: int, place: int) -> None:
    """An entry of a session, out of both lists."""
    session = sessions[slot]
    entry = entries[session.start + session.first + place]
    _count(state, entry.back, entry.depth, -1)
    item = items[entry.number]
    remove(state, entries, item, _rank(entries, item, sessions, entry.time, session.tag))
    remove(state, entries, session, place)


@njit
def _count(state: Numbers, back: int, depth: int, change: int) -> None:
    """One entry more or one less."""
    state[ENTRIES] += change
    if back:
        state[BACK + back] += change
    for step in range(1, depth + 1):
        state[DEEP + step] += change


# Places in lists.


@njit
def _place_of(entries: Rows, session: Any, code: int) -> int:
    """Where a session's list has an item, newest first looked at; -1: nowhere."""
    for place in range(session.length - 1, -1, -1):
        if entries[session.start + session.first + place].number == code:
            return place
    return -1


@njit
def _rank(entries: Rows, item: Any, sessions: Rows, time: int, tag: int) -> int:
    """How many entries of an item's list come before (time, tag)."""
    low, high = 0, item.length
    while low < high:
        middle = (low + high) // 2
        entry = entries[item.start + item.first + middle]
        if entry.time < time or (entry.time == time and sessions[entry.number].tag < tag):
            low = middle + 1
        else:
            high = middle
    return low


# Sessions: slots, heap, hash table.


@njit
def _open(state: Numbers, sessions: Rows, heap: Codes, tag: int) -> int:
    """A slot for a new session, last in the heap."""
    slot = int(state[FREE_SLOT])
    if slot >= 0:
        state[FREE_SLOT] = sessions[slot].place
    else:
        slot = int(state[SLOTS])
        state[SLOTS] += 1
    sessions[slot].tag = tag
    sessions[slot].place = state[LIVE]
    heap[state[LIVE]] = slot
    state[LIVE] += 1
    return slot


@njit
def _close(state: Numbers, sessions: Rows, entries: Rows, heap: Codes, table: Codes, slot: int) -> None:
    """Forgets an empty session, which is the first of the heap."""
    _unlink(table, sessions, sessions[slot].tag)
    state[LIVE] -= 1
    last = heap[state[LIVE]]
    heap[0], sessions[last].place = last, 0
    if state[LIVE]:
        _sift_down(state, sessions, entries, heap, 0)
    sessions[slot].place = state[FREE_SLOT]
    state[FREE_SLOT] = slot


@njit
def _older(sessions: Rows, entries: Rows, one: int, other: int) -> bool:
    """Whether the oldest entry of one session comes before the other's."""
    a, b = sessions[one], sessions[other]
    time, limit = entries[a.start + a.first].time, entries[b.start + b.first].time
    return bool(time < limit or (time == limit and a.tag < b.tag))


@njit
def _sift_up(sessions: Rows, entries: Rows, heap: Codes, place: int) -> None:
    slot = heap[place]
    while place > 0 and _older(sessions, entries, slot, heap[(place - 1) // 2]):
        heap[place] = heap[(place - 1) // 2]
        sessions[heap[place]].place = place
        place = (place - 1) // 2
    heap[place] = slot
    sessions[slot].place = place


@njit
def _sift_down(state: Numbers, sessions: Rows, entries: Rows, heap: Codes, place: int) -> None:
    slot = heap[place]
    while 2 * place + 1 < state[LIVE]:
        child = 2 * place + 1
        if child + 1 < state[LIVE] and _older(sessions, entries, heap[child + 1], heap[child]):
            child += 1
        if not _older(sessions, entries, heap[child], slot):
            break
        heap[place] = heap[child]
        sessions[heap[place]].place = place
        place = child
    heap[place] = slot
    sessions[slot].place = place


@njit
def _bucket(table: Codes, tag: int) -> int:
    """Where a tag belongs: Fibonacci hashing, by the upper bits of a product."""
    mixed = np.uint64(tag) * np.uint64(0x9E3779B97F4A7C15)
    return int(np.int64(mixed >> np.uint64(32)) & (len(table) - 1))


@njit
def _find(table: Codes, sessions: Rows, tag: int) -> int:
    """The bucket of a tag, or the empty one where it would go. Half of the buckets are empty at least."""
    bucket = _bucket(table, tag)
    while table[bucket] >= 0 and sessions[table[bucket]].tag != tag:
        bucket = (bucket + 1) & (len(table) - 1)
    return bucket


@njit
def _unlink(table: Codes, sessions: Rows, tag: int) -> None:
    """Takes a tag out, and moves those up that it had pushed on."""
    hole = _find(table, sessions, tag)
    mask = len(table) - 1
    bucket = hole
    while True:
        bucket = (bucket + 1) & mask
        if table[bucket] < 0:
            break
        home = _bucket(table, sessions[table[bucket]].tag)
        if ((bucket - home) & mask) >= ((bucket - hole) & mask):
            table[hole] = table[bucket]
            hole = bucket
    table[hole] = -1


@njit
def _rehash(state: Numbers, sessions: Rows, heap: Codes, table: Codes) -> None:
    for place in range(state[LIVE]):
        table[_find(table, sessions, sessions[heap[place]].tag)] = heap[place]


@njit
def _content(
    state: Numbers, sessions: Rows, entries: Rows, heap: Codes
) -> tuple[Numbers, Codes, Numbers, NDArray[np.uint8], NDArray[np.uint8]]:
    size = state[ENTRIES]
    tags, codes, times = np.empty(size, np.int64), np.empty(size, np.int32), np.empty(size, np.int64)
    backs, depths = np.empty(size, np.uint8), np.empty(size, np.uint8)
    filled = 0
    for slot in heap[: state[LIVE]]:
        session = sessions[slot]
        begin = session.start + session.first
        for at in range(begin, begin + session.length):
            entry = entries[at]
            tags[filled], codes[filled], times[filled] = session.tag, entry.number, entry.time
            backs[filled], depths[filled] = entry.back, entry.depth
            filled += 1
    return tags, codes, times, backs, depths
