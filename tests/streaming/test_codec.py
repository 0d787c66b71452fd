"""Bytes have one door: what goes through, what is refused and under which reason."""

from __future__ import annotations

import io

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import codec
from streaming.codec import DecodeError, decode, encode
from streaming.errors import InputError
from streaming.records import Control, EventRecord, Facts, Item, Prediction, Record, SessionClosed, Tick

TIME = 1_700_000_000_000
VIEW = {"v": 1, "kind": "view", "session_id": "s1", "time": TIME, "item_id": "i1"}


def reason_of(data: bytes | None, kind: type[Record] = EventRecord) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, kind)
    return caught.value.reason


def test_a_record_is_one_map_with_its_version_and_without_defaults() -> None:
    value = encode(EventRecord(kind="view", session_id="s1", time=TIME, item_id="i1"))
    assert msgpack.unpackb(value) == VIEW
    assert decode(value, EventRecord).item_id == "i1"


def test_unknown_fields_are_left_out() -> None:
    record = decode(msgpack.packb(VIEW | {"colour": {"of": ["the", b"shop"]}}), EventRecord)
    assert encode(record) == encode(EventRecord(kind="view", session_id="s1", time=TIME, item_id="i1"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xc1", "not_msgpack"),
        (msgpack.packb(VIEW)[:-1], "not_msgpack"),
        (msgpack.packb(VIEW) + b"\x01", "not_msgpack"),
        (b'{"kind": "view"}', "wrong_type"),
        (b"\x83\xa1v\x01\xa4kind\xa4view\xaasession_id\xa2\xff\xfe", "not_msgpack"),
        ("kind".encode("utf-16"), "wrong_type"),
        (msgpack.packb([1]), "wrong_type"),
        (msgpack.packb({"v": 1}), "wrong_type"),
        (msgpack.packb(VIEW | {"kind": "gaze"}), "wrong_type"),
        (msgpack.packb(VIEW | {"time": "now"}), "wrong_type"),
        (msgpack.packb(VIEW | {"time": float(TIME)}), "wrong_type"),
        (msgpack.packb(VIEW | {"item_id": b"i1"}), "wrong_type"),
        (msgpack.packb(VIEW | {"price": float("nan")}), "wrong_type"),
        (msgpack.packb(VIEW | {"price": float("inf")}), "wrong_type"),
        (msgpack.packb(VIEW | {"quantity": 0}), "wrong_type"),
        (msgpack.packb({**VIEW, 1: 2}), "wrong_type"),
        (msgpack.packb(VIEW | {"v": 2}), "unknown_version"),
        (msgpack.packb(VIEW | {"v": "1"}), "unknown_version"),
        (msgpack.packb(VIEW | {"v": True}), "unknown_version"),
        (msgpack.packb({k: v for k, v in VIEW.items() if k != "v"}), "unknown_version"),
        (b"\x82\xa1v\x01\xa1x" + b"\x91" * 100_000 + b"\x01", "too_deep"),
        (b"\x82\xa1v\x01\xa1x" + b"\x81\xa1a" * 100_000 + b"\x01", "too_deep"),
    ],
)
def test_the_reason_says_what_is_wrong(data: bytes | None, reason: str) -> None:
    assert reason_of(data) == reason


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xdf\xff\xff\xff\xff", EventRecord),
        (b"\xdb\xff\xff\xff\xff", EventRecord),
        (b"\x83\xa1v\x01\xa4head\xa1a\xa5facts\xdd\xff\xff\xff\xff", Facts),
        (b"\x82\xa1v\x01\xaaattributes\xdf\xff\xff\xff\xff", Item),
        (b"\x82\xa1v\x01\xa4kind\xc6\xff\xff\xff\xff", EventRecord),
    ],
)
def test_a_bomb_that_announces_four_billion_entries_costs_nothing(data: bytes, kind: type[Record]) -> None:
    assert reason_of(data, kind) == "not_msgpack"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_no_float_of_any_record_is_nan_or_infinite(bad: float) -> None:
    control = {"v": 1, "control_id": "c", "action": "set_rule", "rule": "min_gain", "value": bad}
    item = {"v": 1, "item_id": "i", "title": "t", "attributes": {"width": bad}}
    assert reason_of(msgpack.packb(control), Control) == "wrong_type"
    assert reason_of(msgpack.packb(item), Item) == "wrong_type"


@pytest.mark.parametrize("character", ["\x00", "\x1f", "\n", "\x7f", "\x85", "\x9f"])
@pytest.mark.parametrize("place", ["{}a", "a{}", "a{}a"])
def test_an_id_holds_no_control_character(character: str, place: str) -> None:
    assert reason_of(msgpack.packb(VIEW | {"item_id": place.format(character)})) == "wrong_type"


def test_an_id_may_be_any_other_text() -> None:
    for text in ("a b", "né-~", "商品", "\xa0", "\u2028", "🛒"):
        assert decode(msgpack.packb(VIEW | {"item_id": text}), EventRecord).item_id == text


def test_a_digest_takes_all_64_bits() -> None:
    closed = {
        "v": 1,
        "session_id": "s",
        "events": {},
        "digest": 2**64 - 1,
        "first_time": 1,
        "last_time": 2,
        "became": {},
    }
    assert decode(msgpack.packb(closed), SessionClosed).digest == 2**64 - 1


def test_an_error_names_field_value_and_remedy() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(msgpack.packb(VIEW | {"price": -1.5}), EventRecord)
    assert caught.value.field == "price"
    for part in ("Expected `float` >= 0", "`$.price`", "found -1.5", "docs/wire.md"):
        assert part in str(caught.value)


def test_an_error_shows_a_long_value_shortened() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(msgpack.packb(VIEW | {"item_id": "x" * 1_000_000}), EventRecord)
    assert "1000005 bytes" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_lone_surrogate_cannot_be_written() -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        encode(EventRecord(kind="view", session_id="s\ud800", time=TIME))


def test_any_record_type_has_a_decoder_built_once() -> None:
    class Later(Record, kw_only=True):
        """A record that another module defines, such as a session's state."""

        count: int

    assert decode(encode(Later(count=3)), Later).count == 3
    assert codec._decoder(Later) is codec._decoder(Later)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_leave_as_a_decode_error_or_a_record(data: bytes) -> None:
    reasons = set()
    for kind in (EventRecord, Prediction, Item, Facts, Tick):
        try:
            assert type(decode(data, kind)) is kind
        except DecodeError as error:
            reasons.add(error.reason)
    assert reasons <= {"empty", "not_msgpack", "wrong_type", "unknown_version", "too_deep"}


# ------------------------------------------------------------------------------------ capture files
FRAMES: list[dict[str, object]] = [{"topic": "clicks", "value": b"\x80", "offset": n} for n in range(20_000)]


def test_frames_come_back_as_they_went() -> None:
    file = io.BytesIO(b"".join(codec.frame(frame) for frame in FRAMES))
    assert list(codec.frames(file)) == FRAMES
    assert list(codec.frames(io.BytesIO())) == []


def test_a_cut_off_file_gives_its_whole_frames_and_then_says_where_it_ends() -> None:
    one = codec.frame(FRAMES[0])
    reading = codec.frames(io.BytesIO(one + one[:-1]))
    assert next(reading) == FRAMES[0]
    with pytest.raises(DecodeError, match=f"began at byte {len(one)}") as caught:
        next(reading)
    assert caught.value.reason == "not_msgpack"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xc1", "not_msgpack"),
        (b"\x01", "wrong_type"),
        (b"\x81\xc4\x01a\x01", "wrong_type"),
        (b"\x91" * 100_000, "too_deep"),
        (b"\xdb\xff\xff\xff\xff", "not_msgpack"),
        (b"\xdf\xff\xff\xff\xff", "not_msgpack"),
        (b"\x81\xa1a\xa1\xff", "not_msgpack"),
        (b"\x81\x91\x01\x02", "not_msgpack"),
    ],
)
def test_a_file_of_something_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        list(codec.frames(io.BytesIO(data)))
    assert caught.value.reason == reason


def test_a_frame_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 1_000_000)
    with pytest.raises(DecodeError, match="malformed"):
        list(codec.frames(io.BytesIO(codec.frame({"value": bytes(2_000_000)}))))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_frames_or_a_decode_error(data: bytes) -> None:
    try:
        assert all(isinstance(frame, dict) for frame in codec.frames(io.BytesIO(data)))
    except DecodeError:
        pass
