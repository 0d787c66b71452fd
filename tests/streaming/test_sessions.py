from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import codec, decisions, said, sessions
from streaming.intake import Event, Source
from streaming.records import CLICK_KINDS, IndexVersion, Offer, Prediction, Trigger
from streaming.said import NOTHING
from streaming.sessions import (
    FRESH,
    HISTORY_BYTES,
    HISTORY_EVENTS,
    KINDS,
    SEEN_IDS,
    SessionState,
    advance,
    in_cart,
    offset_digest,
    was_bought,
)
from streaming.settings import TriggerSettings, WorkerSettings

START = 1_700_000_000_000
MOST_BYTES = 2048
PSEUDONYM = "0123456789abcdef" * 2


def event(kind: str, offset: int, time: int = START, item_id: str | None = "tea", **fields: Any) -> Event:
    topic = 0 if kind in CLICK_KINDS else 1
    return Event(
        source=Source(topic, fields.pop("partition", 3), offset, time),
        session=PSEUDONYM,
        user=fields.pop("user", None),
        kind=kind,
        time=time,
        item_id=None if kind in ("search", "exit") else item_id,
        query="green tea" if kind == "search" else None,
        **fields,
    )


def after(events: Sequence[Event], state: SessionState = FRESH) -> SessionState:
    for each in events:
        state = advance(state, each)
    return state


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events of one session with offsets that rise on each topic, in some arrival order."""
    offsets = [0, 0]
    events = []
    for _ in range(draw(st.integers(0, 45))):
        kind = draw(st.sampled_from(KINDS))
        topic = 0 if kind in CLICK_KINDS else 1
        offsets[topic] += draw(st.sampled_from([1, 1, 2, 70_000]))
        item = draw(st.sampled_from(["a", "b" * 12, "c" * 36, "d" * 256]))
        made = event(kind, offsets[topic], START + draw(st.integers(0, 40)) * 1000, item)
        events.append(
            replace(
                made,
                query=None if made.query is None else draw(st.text(min_size=1, max_size=100)),
                user=draw(st.sampled_from([None, None, "u1", "u2"])),
                consent=draw(st.sampled_from([None, True, False])),
                utc_offset_min=draw(st.sampled_from([None, 60, -300])),
                event_id=draw(st.sampled_from([None, "e1", "e2", "e3", f"e{len(events)}"])),
                dwell_ms=draw(st.sampled_from([None, 10])),
            )
        )
    return events


def interleaved(events: Sequence[Event], draw: random.Random) -> list[Event]:
    """The same events in another arrival order that keeps that of each topic."""
    topics = [[e for e in events if e.source.topic == topic] for topic in (0, 1)]
    mixed = []
    while topics[0] or topics[1]:
        mixed.append(draw.choice([topic for topic in topics if topic]).pop(0))
    return mixed


# ------------------------------------------------------------------------------------------- a function of the set
@settings(max_examples=80, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_any_arrival_order_gives_the_same_bytes(events: list[Event], draw: random.Random) -> None:
    first = codec.encode(after(interleaved(events, draw)))
    assert codec.encode(after(interleaved(events, draw))) == first
    assert codec.encode(after(events)) == first


@settings(max_examples=60, deadline=None)
@given(histories())
def test_the_state_is_what_a_plain_reading_of_the_events_says(events: list[Event]) -> None:
    state = after(events)
    seen: list[list[str]] = [[], []]
    fresh = []
    for each in events:
        ids = seen[each.source.topic]
        if each.event_id is None or each.event_id not in ids[-SEEN_IDS:]:
            fresh.append(each)
            ids += [each.event_id] if each.event_id is not None else []
    assert sum(state.counts) == len(events)
    assert state.repeats == len(events) - len(fresh)
    assert state.digest == sum(offset_digest(e.source.topic, 3, e.source.offset) for e in events) % 2**64
    assert state.offsets == tuple(
        max((e.source.offset for e in events if e.source.topic == topic), default=-1) for topic in (0, 1)
    )
    assert state.first_time == min((e.time for e in fresh), default=0)
    assert state.last_time == max((e.time for e in fresh), default=0)
    telling = sorted(
        (e for e in fresh if e.kind in sessions.INTEREST_KINDS),
        key=lambda e: (e.time, e.source.topic, e.source.offset),
        reverse=True,
    )
    expected, room = [], HISTORY_BYTES
    for each in telling[:HISTORY_EVENTS]:
        step = sessions.step_of(each)
        assert step is not None
        room -= len(msgspec.msgpack.encode(step))
        if room < 0:
            break
        expected.insert(0, step)
    assert state.history == tuple(expected)
    for name in ("user", "consent"):
        newest = max(
            (e for e in fresh if getattr(e, name) is not None),
            key=lambda e: (e.time, e.source.topic, e.source.offset),
            default=None,
        )
        kept = getattr(state, name)
        assert (kept and kept[3]) == (newest and getattr(newest, name))
    cart: dict[str, None] = {}
    for each in fresh:
        if each.item_id is not None and each.kind in ("cart_add", "cart_remove", "purchase"):
            cart.pop(each.item_id, None)
            if each.kind == "cart_add":
                cart[each.item_id] = None
    assert state.cart == b"".join(map(said.tag, cart))
    for each in fresh:
        if each.kind == "purchase" and each.item_id is not None:
            assert was_bought(state, each.item_id)


@settings(max_examples=25, deadline=None)
@given(histories())
def test_a_replay_of_all_events_changes_nothing(events: list[Event]) -> None:
    state = after(events)
    assert after(events, state) is state


@settings(max_examples=25, deadline=None)
@given(histories())
def test_a_state_survives_the_wire(events: list[Event]) -> None:
    state = after(events)
    encoded = codec.encode(state)
    assert codec.decode(encoded, SessionState) == state
    assert codec.encode(codec.decode(encoded, SessionState)) == encoded


# ----------------------------------------------------------------------------------------------------------- its size
def worst(seed: int, id_bytes: int, count: int = 10_000) -> SessionState:
    """After many events of the largest kinds, with everything said that can be said."""
    draw = random.Random(seed)
    state = FRESH
    offsets = [2**40, 2**40]
    for n in range(count):
        kind = draw.choice(KINDS)
        topic = 0 if kind in CLICK_KINDS else 1
        offsets[topic] += 1
        made = event(kind, offsets[topic], START + n * 1000 - draw.choice([0, 500_000]), f"{n:0{id_bytes}d}")
        state = advance(
            state,
            replace(
                made,
                query=None if made.query is None else "ж" * 1000,
                user=PSEUDONYM,
                consent=True,
                utc_offset_min=-840,
                event_id=f"{n:0256d}",
            ),
        )
    told = NOTHING
    for n in range(100):
        sent = Prediction(
            prediction_id="f" * 32,
            session_id=PSEUDONYM,
            trigger=draw.choice(said.TRIGGERS),
            items=[Offer(item_id=f"{n} {m}", score=1.0, reasons=[]) for m in range(100)],
            model="m",
            index=IndexVersion(snapshot="i"),
            level="full",
            arm="treatment",
            event_time=START + n * 600_000,
            made_at=0,
            expires_at=253_402_300_799_999,
        )
        marks = [f"item {n}", f"category {n}"]
        told = said.after_sending(
            told, sent, b"12345", 2_932_896, 1_800_000, held=n % 2 == 0, marks=marks, steps=2**32 - 1
        )
    assert {said.last_time(told, trigger) > 0 for trigger in get_args(Trigger)} == {True}
    far, most = 253_402_300_799_999, 2**32 - 1
    told = msgspec.structs.replace(told, idle=far, today=most, sent=most, became=(most,) * 4, shifted=most)
    state = msgspec.structs.replace(
        state, counts=(2**40, 2**40), repeats=2**40, opened=most, left=most, deeds=most, said=told
    )
    return msgspec.structs.replace(state, said=decisions._fitted(state, told))


@pytest.mark.parametrize("id_bytes", [8, 12, 36, 120, 256])
def test_a_state_never_takes_more_than_2048_bytes(id_bytes: int) -> None:
    state = worst(id_bytes, id_bytes)
    assert 1750 < len(codec.encode(state)) <= MOST_BYTES
    assert state.history
    assert len(state.cart) == 5 * sessions.CART_ITEMS
    assert len(said.outcomes(state.said)) >= said.PREDICTIONS_LEAST


def test_ordinary_ids_leave_room_for_the_whole_history() -> None:
    state = after([event("view", n, START + n, f"B00{n:07d}") for n in range(1, 65_000, 2_000)])
    assert len(state.history) == HISTORY_EVENTS


@pytest.mark.parametrize("kind", ["view", "search"])
def test_one_entry_always_fits(kind: str) -> None:
    made = event(kind, 2**53, item_id="x" * 256)
    assert len(advance(FRESH, made).history) == 1


# ------------------------------------------------------------------------------------------------------- single facts
def test_a_query_is_cut_between_characters() -> None:
    made = replace(event("search", 0), query="ж" * 100)
    assert advance(FRESH, made).history[0].subject == "ж" * 32


def test_a_late_event_is_inserted_where_it_belongs() -> None:
    state = after([event("view", 0, START, "a"), event("view", 1, START + 2, "c"), event("click", 0, START + 1, "b")])
    assert [step.subject for step in state.history] == ["a", "b", "c"]
    assert state.last_time == START + 2


def test_what_is_older_than_the_history_is_not_let_in_again() -> None:
    state = after([event("view", n, START + n, "big" * 80) for n in range(4)])
    kept = [step.offset for step in state.history]
    assert kept == [2, 3]
    late = advance(state, event("click", 0, START, "s"))
    assert [step.offset for step in late.history] == kept  # it would fit, but something newer did not
    assert late.counts == (1, 4)


def test_an_event_id_is_remembered_for_64_events_of_its_topic() -> None:
    first = event("view", 0, event_id="again")
    others = [event("view", n, event_id=f"e{n}") for n in range(1, 100)]
    for between, repeats in ((1, 1), (63, 1), (64, 0)):
        state = after([first, *others[:between], replace(first, source=Source(1, 3, 1000, START))])
        assert state.repeats == repeats
        assert state.counts == (0, between + 2)


def test_a_repeat_changes_nothing_but_that_it_was_applied() -> None:
    state = advance(FRESH, event("cart_add", 0, event_id="e"))
    again = advance(state, event("purchase", 7, START + 5, "mug", event_id="e", user="u", consent=False))
    changed = {f for f in SessionState.__struct_fields__ if getattr(again, f) != getattr(state, f)}
    assert changed == {"offsets", "counts", "digest", "repeats"}


def test_the_cart_keeps_what_was_touched_last() -> None:
    state = after([event("cart_add", n, item_id=f"item {n}") for n in range(40)])
    assert [in_cart(state, f"item {n}") for n in (7, 8, 39)] == [False, True, True]
    state = after([event("cart_remove", 40, item_id="item 20"), event("purchase", 41, item_id="item 21")], state)
    assert not in_cart(state, "item 20")
    assert not in_cart(state, "item 21")
    assert was_bought(state, "item 21")
    assert not was_bought(state, "item 20")


def test_the_cart_follows_the_order_of_its_topic_and_not_that_of_time() -> None:
    state = after([event("cart_add", 0, START + 10), event("cart_remove", 1, START)])
    assert not in_cart(state, "tea")


def test_a_page_opened_and_left_is_one_view() -> None:
    both = after([event("view", 0), event("view", 1, dwell_ms=500), event("view", 2), event("view", 3, dwell_ms=5)])
    left = after([event("view", n, dwell_ms=500) for n in range(3)])
    assert (sessions.views_of(both), sessions.views_of(left)) == (2, 3)


def test_the_digest_tells_topic_partition_and_offset_apart() -> None:
    places = [(0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 0), (0, 0, 256), (0, 256, 0)]
    assert len({offset_digest(*place) for place in places}) == len(places)
    assert min(offset_digest(*place) for place in places) >= 0
    assert max(offset_digest(*place) for place in places) < 2**64


def test_a_stub_knows_its_offsets_and_begins_anew() -> None:
    state = after([event("view", 4), event("purchase", 9, item_id="mug")])
    stub = sessions.stub(state)
    assert stub == SessionState(offsets=(9, 4), closed=True)
    assert len(codec.encode(stub)) < 32
    assert advance(stub, event("view", 4)) is stub
    anew = advance(stub, event("view", 5, START + 5))
    assert (anew.closed, anew.offsets, anew.counts, anew.first_time) == (False, (9, 5), (0, 1), START + 5)
    assert not was_bought(anew, "mug")


def test_the_closing_record_says_what_there_was() -> None:
    state = after([event("view", 0, START), event("view", 1, START + 9), event("click", 0, START + 5, user="u")])
    record = sessions.closing("s", state)
    assert record.events == {"browses": 2, "clicks": 1}
    assert (record.digest, record.first_time, record.last_time) == (state.digest, START, START + 9)
    assert (record.session_id, record.user_id, record.sent) == ("s", "u", 0)


def test_what_waits_for_time() -> None:
    triggers, worker = TriggerSettings(cart_idle_ms=5000), WorkerSettings(session_idle_ms=9000)
    endless = WorkerSettings(session_idle_ms=0)
    viewed = advance(FRESH, event("view", 0))
    assert sessions.due(FRESH, triggers, worker) is None
    assert sessions.due(viewed, triggers, worker) == START + 9000
    assert sessions.due(viewed, triggers, endless) is None
    assert sessions.due(sessions.stub(viewed), triggers, worker) is None
    full = advance(viewed, event("cart_add", 0, START + 100))
    assert sessions.due(full, triggers, worker) == START + 5100
    dealt_with = msgspec.structs.replace(full, said=msgspec.structs.replace(NOTHING, idle=START + 5100))
    assert sessions.due(dealt_with, triggers, worker) == START + 9100
    assert sessions.due(dealt_with, triggers, endless) is None
    assert sessions.events_only(dealt_with) == full
