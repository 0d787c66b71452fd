"""A session's state: a value, `advance(state, event) -> state`, that is a function of the SET of its events.

Two topics bring a session's events, each in the order of its offsets; how they interleave is chance, and differs
after a restart. So everything here is one of three things: a sum or an extreme, which has no order; a fold over
one topic, whose order is that of its offsets; or "the newest by (time, topic, offset)". Only `said`, what we told the
visitor, is a history of decisions (`streaming.said`).

At most 2,048 bytes on the wire, by bounds on every part. Field names there are single letters for that reason;
`docs/wire.md` has them. No vector is kept: it is folded from `history` where it is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from xxhash import xxh3_64_digest, xxh3_64_intdigest

from streaming import bloom
from streaming.intake import Event
from streaming.records import CLICK_KINDS, Became, Record, SessionClosed
from streaming.said import BECAME, NOTHING, Said, outcomes, tag
from streaming.settings import TriggerSettings, WorkerSettings
from streaming.topics import BROWSES, CLICKS, SOURCES

KINDS = ("view", "click", "search", "cart_add", "cart_remove", "purchase", "impression", "exit", "view")
"""A kind's place is its number in the state; the second `view` is that of a page left, which tells its `dwell_ms`."""
LEFT = len(KINDS) - 1
INTEREST_KINDS = frozenset({"view", "click", "search", "cart_add", "purchase"})
"""Kinds that tell what a visitor is after; only they enter the history."""

MOST_BYTES = 2048
"""Of a state as it is stored."""
HISTORY_EVENTS = 20
HISTORY_BYTES = 524
"""Of all entries together. Item ids of 12 bytes leave room for 17 to 20, of 36 for 9 or 10; one entry always fits."""
QUERY_BYTES = 64
"""What is kept of a query, cut between characters. An item id is never cut."""
CART_ITEMS = 32
"""Items of the cart that are kept, the newest by the last event on each; 5 bytes an item."""
BOUGHT_BYTES = 128
"""Of the set of items bought: with 50 of them one item in 1,000 is hidden for nothing, with 100 one in 90."""
MOST = 2**32 - 1
"""Where a counter of some kinds of event stops; those of events applied do not."""
SEEN_IDS = 64
"""Event ids remembered of each source topic: a repeat comes on the topic of the first, for its kind is the same."""

_TAG = 5
_SEEN = 4
_STAGES = tuple(2 if number == LEFT else {"click": 0, "view": 1}.get(kind, -1) for number, kind in enumerate(KINDS))
_NO_STAGE = 9
_PACK = struct.Struct("<BIQ")
_CLICKS, _BROWSES = SOURCES.index(CLICKS), SOURCES.index(BROWSES)
_TOPICS = tuple(_CLICKS if kind in CLICK_KINDS else _BROWSES for kind in KINDS)

Order = tuple[int, int, int]
"""(time, topic, offset): the one order of a session's events."""


class Step(Struct, array_like=True, frozen=True, gc=False):
    """One event of the history."""

    time: int
    offset: int
    number: int
    """Of the kind, in KINDS; the topic follows from it."""
    subject: str
    """The item's id; of a search, the query."""

    @property
    def kind(self) -> str:
        """As in the event."""
        return KINDS[self.number]

    @property
    def item_id(self) -> str | None:
        """None of a search."""
        return None if self.kind == "search" else self.subject

    @property
    def order(self) -> Order:
        """Where it stands among the session's events."""
        return (self.time, _TOPICS[self.number], self.offset)


class SessionState(  # type: ignore[misc]  # msgspec lets a frozen struct inherit from one that is not
    Record,
    kw_only=True,
    frozen=True,
    rename={
        "offsets": "o",
        "counts": "n",
        "digest": "d",
        "repeats": "r",
        "first_time": "f",
        "last_time": "l",
        "user": "u",
        "consent": "c",
        "utc_offset": "z",
        "history": "h",
        "floor": "g",
        "cart": "k",
        "bought": "b",
        "opened": "p",
        "left": "q",
        "deeds": "t",
        "seen": "e",
        "closed": "x",
        "said": "s",
    },
):
    """What is known of one session. Fresh, it knows nothing; a stub (`closed`) knows its offsets and nothing else."""

    offsets: tuple[int, int] = (-1, -1)
    """Last offset applied, by place in `topics.SOURCES`; -1: none. Ticks have none."""
    counts: tuple[int, int] = (0, 0)
    """Events applied, likewise, repeats of the site included."""
    digest: int = 0
    """Sum of `offset_digest` over all of them, mod 2^64."""
    repeats: int = 0
    """Events ignored because their `event_id` had been there."""
    first_time: int = 0
    last_time: int = 0
    """Of the events that were no repeats; 0: none yet."""
    user: tuple[int, int, int, str] | None = None
    consent: tuple[int, int, int, bool] | None = None
    utc_offset: tuple[int, int, int, int] | None = None
    """What the newest event that spoke of it said, after its place in the order."""
    history: tuple[Step, ...] = ()
    """The newest events of interest, in order."""
    floor: Order | None = None
    """The newest event that found no room in it: what is older is not let in any more."""
    cart: bytes = b""
    """Tags of the items in the cart, 5 bytes each, the one touched last at the end."""
    bought: bytes = b""
    """Bloom filter of the items bought."""
    opened: int = 0
    """Views of product pages that were opened; those with a `dwell_ms` are of pages left."""
    left: int = 0
    deeds: int = 0
    """Other events of interest than views."""
    seen: tuple[bytes, bytes] = (b"", b"")
    """Tags of the last event ids of each topic, 4 bytes each, newest last."""
    closed: bool = False
    said: Said = NOTHING


FRESH = SessionState()


# -------------------------------------------------------------------------------------------------------- the update
def advance(state: SessionState, event: Event) -> SessionState:
    """The state after one more event.

    An event whose offset was applied before changes nothing: the very same state is returned. A repeat of the site's
    (`event_id`) counts as applied, and as a repeat, and changes nothing else. After a stub the session begins anew.
    Events of one topic must come in the order of their offsets; between the topics any order gives the same state.
    """
    source = event.source
    if source.offset <= state.offsets[source.topic]:
        return state
    if state.closed:
        state = SessionState(offsets=state.offsets)
    changes: dict[str, Any] = {
        "offsets": _at(state.offsets, source.topic, source.offset),
        "counts": _at(state.counts, source.topic, state.counts[source.topic] + 1),
        "digest": (state.digest + offset_digest(source.topic, source.partition, source.offset)) % 2**64,
    }
    if event.event_id is not None:
        seen, mark = state.seen[source.topic], xxh3_64_digest(event.event_id.encode())[:_SEEN]
        if _position(seen, mark, _SEEN) >= 0:
            return replace(state, repeats=state.repeats + 1, **changes)
        changes["seen"] = _at(state.seen, source.topic, (seen + mark)[-SEEN_IDS * _SEEN :])
    changes["first_time"] = min(event.time, state.first_time or event.time)
    changes["last_time"] = max(event.time, state.last_time)
    order = (event.time, source.topic, source.offset)
    if event.user is not None and (state.user is None or order > state.user[:3]):
        changes["user"] = (*order, event.user)
    if event.consent is not None and (state.consent is None or order > state.consent[:3]):
        changes["consent"] = (*order, event.consent)
    if event.utc_offset_min is not None and (state.utc_offset is None or order > state.utc_offset[:3]):
        changes["utc_offset"] = (*order, event.utc_offset_min)
    if event.kind == "view":
        name = "opened" if event.dwell_ms is None else "left"
        changes[name] = min(getattr(state, name) + 1, MOST)
    elif event.kind in INTEREST_KINDS:
        changes["deeds"] = min(state.deeds + 1, MOST)
    if event.item_id is not None and event.kind in CLICK_KINDS:
        changes["cart"] = _cart(state.cart, event.kind, tag(event.item_id))
        if event.kind == "purchase":
            changes["bought"] = bloom.added(state.bought, [event.item_id], BOUGHT_BYTES)
    step = step_of(event)
    if step is not None:
        changes["history"], changes["floor"] = _history(state, step)
    return replace(state, **changes)


def step_of(event: Event) -> Step | None:
    """What the history keeps of an event; None of one that tells nothing of what the visitor is after."""
    subject = event.query if event.kind == "search" else event.item_id
    if subject is None or event.kind not in INTEREST_KINDS:
        return None
    if event.kind == "search":
        subject = subject.encode()[:QUERY_BYTES].decode(errors="ignore")
    number = LEFT if event.kind == "view" and event.dwell_ms is not None else KINDS.index(event.kind)
    return Step(event.time, event.source.offset, number, subject)


def offset_digest(topic: int, partition: int, offset: int) -> int:
    """64 bits of one source offset; their sum mod 2^64 stands for a set of offsets, in no order.

    xxh3_64 of topic (1 byte, its place in `topics.SOURCES`), partition (4) and offset (8), little-endian.
    """
    return xxh3_64_intdigest(_PACK.pack(topic, partition, offset))


def stub(state: SessionState) -> SessionState:
    """What stays of a closed session until its offsets are committed: they are still recognised, and nothing else."""
    return SessionState(offsets=state.offsets, closed=True)


def closing(session: str, state: SessionState) -> SessionClosed:
    """The record of a session that ends."""
    return SessionClosed(
        session_id=session,
        user_id=user_of(state),
        events={topic.name: count for topic, count in zip(SOURCES, state.counts, strict=False) if count},
        digest=state.digest,
        first_time=state.first_time,
        last_time=state.last_time,
        sent=state.said.sent,
        became=Became(**dict(zip(BECAME, state.said.became, strict=True))),
        predictions=outcomes(state.said),
    )


# ------------------------------------------------------------------------------------------------------- what it says
def user_of(state: SessionState) -> str | None:
    """Pseudonym of the user, as last said."""
    return state.user[3] if state.user else None


def consent_of(state: SessionState, assumed: bool) -> bool:
    """Whether the visitor may be addressed, as last said."""
    return state.consent[3] if state.consent else assumed


def utc_offset_of(state: SessionState, assumed: int) -> int:
    """The visitor's minutes east of UTC, as last said."""
    return state.utc_offset[3] if state.utc_offset else assumed


def views_of(state: SessionState) -> int:
    """Product pages viewed. A site may tell of a page as it opens, as it is left, or both: that is one view."""
    return max(state.opened, state.left)


def steps_of(state: SessionState) -> int:
    """Events that tell what the visitor is after; a page opened and left is one."""
    return state.deeds + views_of(state)


def continues(step: Step, later: Step) -> bool:
    """Whether a step only goes on with the visit that the one directly before it began: a product clicked in a list,
    its page opened, its page left."""
    return step.subject == later.subject and 0 <= _STAGES[step.number] < _STAGES[later.number]


def visits(history: Sequence[Step]) -> list[Step]:
    """The steps that are one visit each of an item, or something else than a visit; what only goes on with a visit is
    left out, be it at once or, of a page left, later.

    >>> tea = [Step(n, n, KINDS.index(kind), "tea") for n, kind in enumerate(["click", "view", "view"])]
    >>> [step.offset for step in visits([*tea, Step(3, 3, LEFT, "tea"), Step(4, 4, LEFT, "mug")])]
    [0, 2, 4]
    """
    found: list[Step] = []
    open_pages: dict[str, int] = {}
    before, before_stage = "", _NO_STAGE
    for step in history:
        subject, stage = step.subject, _STAGES[step.number]
        goes_on = before_stage < stage and before == subject
        if stage == _STAGES[LEFT]:
            if open_pages.get(subject):
                open_pages[subject] -= 1
                goes_on = True
        elif not goes_on and stage >= 0:
            open_pages[subject] = open_pages.get(subject, 0) + 1
        if not goes_on:
            found.append(step)
        before, before_stage = subject, stage if stage >= 0 else _NO_STAGE
    return found


def in_cart(state: SessionState, item_id: str) -> bool:
    """Whether the item is among the newest of the cart."""
    return _position(state.cart, tag(item_id), _TAG) >= 0


def cart_tags(state: SessionState) -> list[bytes]:
    """Tags of the items in the cart, as `said.tag` gives them, the one touched last at the end."""
    return [state.cart[place : place + _TAG] for place in range(0, len(state.cart), _TAG)]


def was_bought(state: SessionState, item_id: str) -> bool:
    """True for every item that was bought, and rarely for one that was not."""
    return bloom.contains(state.bought, item_id)


def events_only(state: SessionState) -> SessionState:
    """The state without what we said: the part that is a function of the set of its events."""
    return replace(state, said=NOTHING)


def idle_at(state: SessionState, triggers: TriggerSettings) -> int | None:
    """When the cart will have been idle for long enough, unless this spell was dealt with."""
    time = state.last_time + triggers.cart_idle_ms
    return time if state.cart and time > state.said.idle else None


def expires_at(state: SessionState, worker: WorkerSettings) -> int | None:
    """When the session ends, unless something happens; None: never."""
    return state.last_time + worker.session_idle_ms if worker.session_idle_ms else None


def due(state: SessionState, triggers: TriggerSettings, worker: WorkerSettings) -> int | None:
    """The next time at which something of this session waits for time; None: nothing does."""
    if state.closed or not state.last_time:
        return None
    times = (idle_at(state, triggers), expires_at(state, worker))
    return min((time for time in times if time is not None), default=None)


# ------------------------------------------------------------------------------------------------------------- parts
def _history(state: SessionState, step: Step) -> tuple[tuple[Step, ...], Order | None]:
    """The history with one more step, cut from the newest back at what does not fit, and the new floor.

    The longest run of the newest that fits both bounds: a function of the set of all steps ever given. For that a step
    below the floor stays out even where it would fit, since something newer did not.
    """
    if state.floor is not None and step.order < state.floor:
        return state.history, state.floor
    place = len(state.history)
    while place and step.order < state.history[place - 1].order:
        place -= 1
    steps = (*state.history[:place], step, *state.history[place:])
    room, first = HISTORY_BYTES, len(steps)
    while first and len(steps) - first < HISTORY_EVENTS:
        room -= _size(steps[first - 1])
        if room < 0:
            break
        first -= 1
    return steps[first:], steps[first - 1].order if first else state.floor


def _size(step: Step) -> int:
    """Bytes of a step as MessagePack."""
    text = len(step.subject.encode())
    return 2 + _number(step.time) + _number(step.offset) + text + (1 if text < 32 else 2 if text < 256 else 3)


def _number(value: int) -> int:
    """Bytes of a number that is not negative, as MessagePack.

    >>> [_number(n) for n in (127, 128, 65_535, 65_536, 2**32)]
    [1, 2, 3, 5, 9]
    """
    return 1 if value < 128 else 2 if value < 2**8 else 3 if value < 2**16 else 5 if value < 2**32 else 9


def _cart(cart: bytes, kind: str, item: bytes) -> bytes:
    if kind not in ("cart_add", "cart_remove", "purchase"):
        return cart
    place = _position(cart, item, _TAG)
    if place >= 0:
        cart = cart[:place] + cart[place + _TAG :]
    return (cart + item)[-CART_ITEMS * _TAG :] if kind == "cart_add" else cart


def _position(tags: bytes, sought: bytes, width: int) -> int:
    """Where a tag stands among tags of one width; -1: nowhere."""
    place = tags.find(sought)
    while place >= 0 and place % width:
        place = tags.find(sought, place + 1)
    return place


def _at(pair: tuple[Any, Any], place: int, value: Any) -> tuple[Any, Any]:
    return (value, pair[1]) if place == 0 else (pair[0], value)
