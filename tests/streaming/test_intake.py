"""From bytes to a clean event or a dead letter: every rule of the wire contract."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import codec
from streaming.errors import InputError
from streaming.intake import DeadLetter, Event, Intake, Refused, Source, TickEvent, check_id
from streaming.privacy import Pseudonyms, pseudonym
from streaming.producer import checked
from streaming.records import EARLIEST, EventRecord
from streaming.topics import MAX_RECORD_BYTES, MAX_VALUE_BYTES

SECRET = "sixteen characte"
TIME = 1_700_000_000_000
CLICKS, BROWSES, TICKS = (Source(topic, 3, 42, TIME) for topic in range(3))
INTAKE = Intake(Pseudonyms(SECRET), "shop.")
VIEW: dict[str, Any] = {"v": 1, "kind": "view", "session_id": "s1", "time": TIME, "item_id": "i1"}
CLICK = VIEW | {"kind": "click"}


def accept(fields: object, source: Source = BROWSES, key: bytes | None = b"s1", **kwargs: Any) -> Any:
    value = fields if isinstance(fields, bytes) or fields is None else msgpack.packb(fields)
    return INTAKE.accept(source, key, value, **kwargs)


def header(letter: DeadLetter, name: str) -> str:
    return dict(letter.headers)[name].decode()


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in VIEW.items() if name not in names}


# -------------------------------------------------------------------------------------- good events
def test_a_good_event_is_clean_and_pseudonymous() -> None:
    fields = VIEW | {
        "user_id": "u1",
        "title": "  Red shoe ",
        "price": 10,
        "currency": "EUR",
        "dwell_ms": 5,
        "consent": True,
        "utc_offset_min": -60,
        "event_id": "e1",
        "prediction_id": "p1",
        "quantity": 2,
    }
    assert accept(fields) == Event(
        source=BROWSES,
        session=pseudonym("s1", SECRET),
        user=pseudonym("u1", SECRET),
        kind="view",
        time=TIME,
        item_id="i1",
        title="Red shoe",
        price=10.0,
        currency="EUR",
        dwell_ms=5,
        consent=True,
        utc_offset_min=-60,
        event_id="e1",
        prediction_id="p1",
        quantity=2,
    )


@pytest.mark.parametrize("kind", ["view", "search", "exit"])
def test_kinds_of_browses(kind: str) -> None:
    assert accept(VIEW | {"kind": kind, "query": "shoes"}).kind == kind


@pytest.mark.parametrize("kind", ["click", "cart_add", "cart_remove", "purchase", "impression"])
def test_kinds_of_clicks(kind: str) -> None:
    assert accept(VIEW | {"kind": kind}, CLICKS).kind == kind


@pytest.mark.parametrize(("kind", "source"), [("exit", BROWSES), ("search", BROWSES), ("impression", CLICKS)])
def test_kinds_that_need_no_item(kind: str, source: Source) -> None:
    assert accept(without("item_id") | {"kind": kind, "query": "shoes"}, source).item_id is None


def test_a_tick_needs_no_key() -> None:
    assert accept({"v": 1, "time": TIME}, TICKS, None) == TickEvent(TICKS, TIME)


def test_no_event_is_too_old_and_ten_minutes_ahead_is_not_the_future() -> None:
    for time in (EARLIEST, TIME - 10**9, TIME + 600_000):
        assert accept(VIEW | {"time": time}).time == time


def test_a_record_without_its_own_timestamp_has_nothing_to_be_ahead_of() -> None:
    assert accept(VIEW, Source(1, 0, 0, -1)).time == TIME


def test_headers_do_not_matter_but_for_the_version() -> None:
    assert isinstance(accept(VIEW, headers=[("v", b"1"), ("trace", b"\xff"), ("attempt", b"2")]), Event)


# ------------------------------------------------------------------------------------- bad payloads
NOT_UTF8 = msgpack.packb(VIEW).replace(b"\xa2i1", b"\xa2\xff\xfe")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param(None, "null_value", id="null value"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param(msgpack.packb(VIEW)[:-3], "not_msgpack", id="truncated"),
        pytest.param(b"GET / HTTP/1.1", "wrong_type", id="another protocol"),
        pytest.param(VIEW | {"price": "ten"}, "wrong_type", id="wrong type"),
        pytest.param(VIEW | {"kind": 7}, "wrong_type", id="wrong type of kind"),
        pytest.param(without("session_id"), "wrong_type", id="missing field"),
        pytest.param([1, 2], "wrong_type", id="no map"),
        pytest.param(VIEW | {"description": "x" * 1_500_000}, "oversize", id="1.5 MB"),
        pytest.param(VIEW | {"v": 2}, "unknown_version", id="unknown version"),
        pytest.param(without("v"), "unknown_version", id="no version"),
        pytest.param(VIEW | {"session_id": "s2"}, "key_mismatch", id="key unlike the session"),
        pytest.param(NOT_UTF8, "not_msgpack", id="wrong encoding"),
        pytest.param(VIEW | {"item_id": "caf\xe9".encode("latin-1")}, "bad_id", id="bytes for text"),
        pytest.param(VIEW | {"item_id": "x" * 1_000_000}, "bad_id", id="item id of 1 MB"),
        pytest.param(VIEW | {"item_id": "é" * 129}, "bad_id", id="258 bytes in 129 characters"),
        pytest.param(VIEW | {"event_id": ""}, "bad_id", id="empty id"),
        pytest.param(VIEW | {"user_id": "a\x00b"}, "bad_id", id="control character"),
        pytest.param(VIEW | {"price": float("nan")}, "wrong_type", id="NaN price"),
        pytest.param(VIEW | {"price": float("-inf")}, "wrong_type", id="infinite price"),
        pytest.param(VIEW | {"time": 0}, "bad_time", id="year 1970"),
        pytest.param(VIEW | {"time": EARLIEST - 1}, "bad_time", id="just before 2000"),
        pytest.param(VIEW | {"time": 253_402_300_799_000}, "bad_time", id="year 9999"),
        pytest.param(VIEW | {"time": TIME + 600_001}, "bad_time", id="more than 10 min ahead"),
        pytest.param(VIEW | {"time": 2**63}, "bad_time", id="above 63 bits"),
        pytest.param(b"\x82\xa1v\x01\xa1x" + b"\x91" * 100_000 + b"\x01", "too_deep", id="deep nesting"),
        pytest.param(b"\xdf\xff\xff\xff\xff", "not_msgpack", id="bomb"),
        pytest.param(b"\xc9\xff\xff\xff\xff\x05", "not_msgpack", id="bomb of an extension"),
        pytest.param(CLICK, "wrong_topic", id="kind of the other topic"),
        pytest.param(without("item_id"), "missing_item_id", id="view of nothing"),
        pytest.param(without("item_id") | {"kind": "search"}, "missing_query", id="search of nothing"),
        pytest.param(without("item_id") | {"kind": "search", "query": " \n"}, "missing_query", id="blank search"),
    ],
)
def test_a_bad_payload_is_one_dead_letter_with_reason_and_source(fields: object, code: str) -> None:
    value = msgpack.packb(fields) if isinstance(fields, dict | list) else fields
    letter = accept(value)
    assert isinstance(letter, DeadLetter)
    assert header(letter, "error") == code
    message = header(letter, "message")
    assert 20 < len(message) <= 1000
    assert "; " in message  # the remedy follows
    assert header(letter, "topic") == "shop.browses"
    assert [header(letter, name) for name in ("partition", "offset", "time")] == ["3", "42", str(TIME)]
    assert header(letter, "attempt") == "1"
    assert letter.key == b"s1"
    assert letter.value == value or code == "oversize"


def test_a_null_key_is_a_dead_letter() -> None:
    letter = accept(VIEW, key=None)
    assert (letter.key, header(letter, "error")) == (None, "null_key")


@pytest.mark.parametrize("kind", ["view", "search", "exit"])
def test_browses_kinds_are_wrong_on_clicks(kind: str) -> None:
    letter = accept(VIEW | {"kind": kind, "query": "shoes"}, CLICKS)
    assert header(letter, "error") == "wrong_topic"
    assert header(letter, "message").endswith("send it to browses")


@pytest.mark.parametrize("kind", ["click", "cart_add", "cart_remove", "purchase"])
def test_clicks_that_need_an_item(kind: str) -> None:
    assert header(accept(without("item_id") | {"kind": kind}, CLICKS), "error") == "missing_item_id"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (None, "null_value"),
        ({"v": 1, "time": 1}, "bad_time"),
        ({"v": 1, "time": TIME + 600_001}, "bad_time"),
        ({"v": 3, "time": TIME}, "unknown_version"),
        ({"v": 1}, "wrong_type"),
    ],
)
def test_a_bad_tick_is_a_dead_letter(fields: object, code: str) -> None:
    assert header(accept(fields, TICKS, None), "error") == code


def test_a_header_of_another_version_is_refused() -> None:
    assert header(accept(VIEW, headers=[("v", b"2")]), "error") == "unknown_version"


def test_a_dead_letter_of_a_long_value_keeps_its_head_length_and_digest() -> None:
    value = msgpack.packb(VIEW | {"description": "x" * 1_500_000})
    letter = accept(value)
    assert letter.value == value[: 64 * 1024]
    assert header(letter, "truncated") == "1"
    assert header(letter, "length") == str(len(value))
    assert header(letter, "sha256") == hashlib.sha256(value).hexdigest()


def test_a_value_of_just_1_mib_is_kept_whole() -> None:
    value = b"\xc1" * MAX_VALUE_BYTES
    letter = accept(value)
    assert letter.value == value
    assert "truncated" not in dict(letter.headers)


def test_a_dead_letter_is_always_writable() -> None:
    key, value = b"k" * (2 * MAX_RECORD_BYTES), b"\xc1" * MAX_VALUE_BYTES
    letter = INTAKE.dead(BROWSES, key, value, "e" * 100, "é" * 5000)
    assert letter.key == key[: 64 * 1024]
    assert header(letter, "key_length") == str(len(key))
    size = len(letter.key) + len(letter.value or b"") + sum(len(n) + len(v) + 20 for n, v in letter.headers)
    assert size < MAX_RECORD_BYTES


@pytest.mark.parametrize(("carried", "attempt"), [(b"1", "2"), (b"9", "10"), (b"x", "1"), (b"9" * 30, "1")])
def test_a_retried_record_counts_its_attempts(carried: bytes, attempt: str) -> None:
    assert header(accept({}, headers=[("attempt", carried)]), "attempt") == attempt


def test_another_part_makes_its_dead_letters_here() -> None:
    letter = INTAKE.dead(CLICKS, b"s1", b"value", "model_failed", "the encoder gave up \ud800", attempt=3)
    assert (letter.key, letter.value) == (b"s1", b"value")
    assert dict(letter.headers) == {
        "error": b"model_failed",
        "message": b"the encoder gave up ?",
        "topic": b"shop.clicks",
        "partition": b"3",
        "offset": b"42",
        "time": b"%d" % TIME,
        "attempt": b"3",
    }


# ---------------------------------------------------------------------------------------- producers
def test_what_a_producer_may_send_is_accepted() -> None:
    event = accept(checked(EventRecord(kind="search", session_id="s1", time=TIME, query="shoes")))
    assert (event.kind, event.query) == ("search", "shoes")


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (EventRecord(kind="view", session_id="s1", time=TIME), "missing_item_id"),
        (EventRecord(kind="view", session_id="s1", time=0, item_id="i"), "bad_time"),
        (EventRecord(kind="view", session_id="", time=TIME, item_id="i"), "bad_id"),
        (EventRecord(kind="view", session_id="é" * 200, time=TIME, item_id="i"), "bad_id"),
        (EventRecord(kind="view", session_id="s", time=TIME, item_id="i", price=float("nan")), "wrong_type"),
    ],
)
def test_a_producer_learns_at_once_what_would_be_a_dead_letter(record: EventRecord, code: str) -> None:
    with pytest.raises(InputError, match="(?i)expected"):
        checked(record)
    letter = accept(codec.encode(record), key=record.session_id.encode())
    assert header(letter, "error") == code


@pytest.mark.parametrize("bad", ["", "é" * 129, "x" * 257, "a\nb", "\x7f", "\x85", "\ud800"])
def test_an_id_alone_can_be_checked(bad: str) -> None:
    with pytest.raises(Refused) as caught:
        check_id("item_id", bad)
    assert caught.value.code == "bad_id"


@pytest.mark.parametrize("good", ["a", "é" * 128, "商品 1", "\u2028"])
def test_an_id_may_be_any_other_text(good: str) -> None:
    check_id("item_id", good)


# --------------------------------------------------------------------------------------------- fuzz
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
NAMES = st.sampled_from(EventRecord.__struct_fields__) | st.sampled_from(["v", "x"]) | st.text(max_size=5)
SOURCES = st.builds(Source, st.integers(0, 2), st.just(0), st.just(0), st.sampled_from([-1, 0, TIME]))
KEYS = st.none() | st.just(b"s1") | st.binary(max_size=10)


def check(outcome: Event | TickEvent | DeadLetter, key: bytes | None, value: bytes | None) -> None:
    """An accepted event keeps every promise; a refused one keeps its bytes and says why."""
    if isinstance(outcome, DeadLetter):
        assert (outcome.key, outcome.value) == (key, value)
        assert header(outcome, "error")
        assert header(outcome, "message")
    elif isinstance(outcome, Event):
        assert outcome.session == pseudonym((key or b"").decode(), SECRET)
        assert outcome.time >= EARLIEST
        assert outcome.price is None or 0 <= outcome.price <= 1e12


@settings(deadline=None)
@given(SOURCES, KEYS, st.none() | st.binary(max_size=300))
def test_random_bytes_never_raise(source: Source, key: bytes | None, value: bytes | None) -> None:
    check(INTAKE.accept(source, key, value), key, value)


@settings(max_examples=300, deadline=None)
@given(SOURCES, KEYS, st.dictionaries(NAMES, VALUES, max_size=4))
def test_good_events_with_random_fields_never_raise(source: Source, key: bytes | None, change: dict[str, Any]) -> None:
    value = msgpack.packb((VIEW if source.topic else CLICK) | change, unicode_errors="surrogatepass")
    check(INTAKE.accept(source, key, value), key, value)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 255))
def test_one_wrong_byte_never_raises(place: int, byte: int) -> None:
    value = bytearray(msgpack.packb(VIEW | {"query": "shoes", "price": 9.5, "consent": True}))
    value[place % len(value)] = byte
    check(accept(bytes(value)), b"s1", bytes(value))
