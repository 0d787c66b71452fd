"""From a Kafka record's bytes to a clean, pseudonymised event, or to a dead letter that says why not.

Bad input is data: nothing here raises. A dead letter keeps the key and the value as they came, and its
headers say what was wrong, where the record stood, and how often it has failed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from streaming import codec, topics
from streaming.codec import DecodeError, shortened
from streaming.errors import InputError
from streaming.privacy import Pseudonyms
from streaming.records import BROWSE_KINDS, CLICK_KINDS, MAX_ID_BYTES, EventRecord, Tick

MAX_AHEAD_MS = 600_000
"""How far an event's time may lie after its Kafka record's own timestamp: clocks differ, the future does not
exist."""
ITEM_KINDS = frozenset({"view", "click", "cart_add", "cart_remove", "purchase"})
"""Kinds that say nothing without an item."""

_MESSAGE_CHARS = 1000
_CLICKS, _BROWSES, _TICKS = range(len(topics.SOURCES))
_KINDS = {_CLICKS: CLICK_KINDS, _BROWSES: BROWSE_KINDS}
_NOT_IN_ID = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_IDS = ("session_id", "user_id", "item_id", "prediction_id", "event_id")
_FIELD_CODES = dict.fromkeys(_IDS, "bad_id") | {"time": "bad_time"}
_REMEDIES = {
    "bad_id": "an id is text of 1 to 256 bytes of UTF-8 without control characters; clean it or hash it",
    "bad_time": "send whole milliseconds since the epoch in UTC, from 2000-01-01 on",
}

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record stands on Kafka: unique, and the same after every restart."""

    topic: int
    """Position in `topics.SOURCES`."""
    partition: int
    offset: int
    timestamp: int
    """The Kafka record's own, in ms since the epoch: when it was sent. -1: it has none."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a visitor did, checked, with people under pseudonyms."""

    source: Source
    session: str
    """Pseudonym."""
    user: str | None
    """Pseudonym."""
    kind: str
    time: int
    """When it happened, in ms since the epoch."""
    item_id: str | None = None
    query: str | None = None
    title: str | None = None
    quantity: int | None = None
    price: float | None = None
    currency: str | None = None
    dwell_ms: int | None = None
    prediction_id: str | None = None
    event_id: str | None = None
    consent: bool | None = None
    utc_offset_min: int | None = None


@dataclass(frozen=True, slots=True)
class TickEvent:
    """Time passes, on one partition."""

    source: Source
    time: int
    """What time it is, in ms since the epoch."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was refused, ready to be put on `dead-letters`. Always below
    `topics.MAX_RECORD_BYTES`."""

    key: bytes | None
    """As it came, up to 64 KiB."""
    value: bytes | None
    """As it came; of a value above 1 MiB the first 64 KiB."""
    headers: list[tuple[str, bytes]]
    """error (a code), message (for people), topic (with prefix), partition, offset, time (the record's
    timestamp), attempt (how often it has failed); and where something was cut: truncated `1`, length and
    sha256 of the whole value, key_length of the whole key."""


class Intake:
    """Bytes to a clean event or a dead letter; all checks of the wire contract stand here and in
    `records`."""

    def __init__(self, pseudonyms: Pseudonyms, prefix: str) -> None:
        self._pseudonyms = pseudonyms
        self._names = tuple(prefix + topic.name for topic in topics.SOURCES)

    def accept(
        self, source: Source, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> Event | TickEvent | DeadLetter:
        """The event in a Kafka record, or the dead letter it becomes. Never raises, whatever the bytes are.

        Codes of a dead letter: null_value, oversize, empty, not_msgpack, too_deep, unknown_version,
        wrong_type, bad_time, bad_id, null_key, key_mismatch, wrong_topic, missing_item_id, missing_query.
        """
        try:
            _check_envelope(source, key, value, headers)
            if source.topic == _TICKS:
                tick = codec.decode(value, Tick)
                _check_time(tick.time, source)
                return TickEvent(source, tick.time)
            record = codec.decode(value, EventRecord)
            check(record, _KINDS[source.topic])
            _check_time(record.time, source)
            _check_key(key, record.session_id)
        except Refused as exc:
            return self.dead(source, key, value, exc.code, str(exc), attempt(headers))
        except DecodeError as exc:
            return self.dead(source, key, value, _code(exc), _explained(exc), attempt(headers))
        return self._event(source, record)

    def dead(
        self,
        source: Source,
        key: bytes | None,
        value: bytes | None,
        error: str,
        message: str,
        attempt: int = 1,
    ) -> DeadLetter:
        """The dead letter of a record: of one refused here, and of one that a later part failed on."""
        headers = [
            ("error", error.encode()),
            ("message", message[:_MESSAGE_CHARS].encode(errors="replace")),
            ("topic", self._names[source.topic].encode()),
            ("partition", b"%d" % source.partition),
            ("offset", b"%d" % source.offset),
            ("time", b"%d" % source.timestamp),
            ("attempt", b"%d" % attempt),
        ]
        if value is not None and len(value) > topics.MAX_VALUE_BYTES:
            whole = hashlib.sha256(value).hexdigest().encode()
            headers += [("truncated", b"1"), ("length", b"%d" % len(value)), ("sha256", whole)]
            value = value[: topics.KEPT_BYTES]
        if key is not None and len(key) > topics.KEPT_BYTES:
            headers.append(("key_length", b"%d" % len(key)))
            key = key[: topics.KEPT_BYTES]
        return DeadLetter(key, value, headers)

    def _event(self, source: Source, record: EventRecord) -> Event:
        return Event(
            source=source,
            session=self._pseudonyms(record.session_id),
            user=None if record.user_id is None else self._pseudonyms(record.user_id),
            kind=record.kind,
            time=record.time,
            item_id=record.item_id,
            query=_text(record.query),
            title=_text(record.title),
            quantity=record.quantity,
            price=record.price,
            currency=record.currency,
            dwell_ms=record.dwell_ms,
            prediction_id=record.prediction_id,
            event_id=record.event_id,
            consent=record.consent,
            utc_offset_min=record.utc_offset_min,
        )


class Refused(InputError):  # noqa: N818 - it is a verdict
    """A record breaks a rule of the wire contract; `code` is the `error` header of its dead letter."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check(record: EventRecord, kinds: frozenset[str] = CLICK_KINDS | BROWSE_KINDS) -> None:
    """The rules that one decoded record answers for alone and types cannot say.

    Raises:
        Refused: with the code and the text of the dead letter that the record would become.
    """
    kind = record.kind
    if kind not in kinds:
        raise Refused(
            "wrong_topic",
            f"kind {kind!r} does not belong on this topic, expected one of {', '.join(sorted(kinds))}; send it to"
            f" {(topics.CLICKS if kind in CLICK_KINDS else topics.BROWSES).name}",
        )
    for name in _IDS:
        value = getattr(record, name)
        if value is not None:
            check_id(name, value)
    if kind in ITEM_KINDS and record.item_id is None:
        raise Refused("missing_item_id", f"item_id is missing, expected with kind {kind!r}; name the item")
    if kind == "search" and _text(record.query) is None:
        raise Refused(
            "missing_query",
            f"query is {record.query!r}, expected the visitor's words with kind 'search'; send them",
        )


def check_id(name: str, value: str) -> None:
    """An id is 1 to 256 bytes of UTF-8 without control characters; the type `records.Id` can only count characters.

    Raises:
        Refused: `bad_id`.
    """
    size = len(value) if value.isascii() else len(value.encode(errors="replace"))
    if not 1 <= size <= MAX_ID_BYTES:
        raise Refused("bad_id", f"{name} {shortened(value)} has {size} bytes, expected 1 to 256; {_REMEDIES['bad_id']}")
    if not value.isprintable() and (found := _NOT_IN_ID.search(value)):
        raise Refused(
            "bad_id",
            f"{name} {shortened(value)} holds U+{ord(found.group()):04X}, expected none; {_REMEDIES['bad_id']}",
        )


def _check_envelope(source: Source, key: bytes | None, value: bytes | None, headers: Headers) -> None:
    if value is None:
        raise Refused(
            "null_value",
            f"the value is null, expected a record: {topics.SOURCES[source.topic].name} is no compacted topic and has"
            " nothing to remove; send an event",
        )
    if len(value) > topics.MAX_VALUE_BYTES:
        raise Refused(
            "oversize",
            f"the value has {len(value)} bytes, expected at most {topics.MAX_VALUE_BYTES}; send ids and short texts,"
            " not documents",
        )
    if key is None and source.topic != _TICKS:
        raise Refused("null_key", "the key is null, expected the event's session_id; key the record with it")
    for name, version in headers:
        if name == "v" and (name, version) not in codec.HEADERS:
            raise Refused(
                "unknown_version",
                f"the header `v` is {shortened(version)}, expected {codec.HEADERS[0][1]!r}; write the version of the"
                " value there, or leave the header out",
            )


def _check_time(time: int, source: Source) -> None:
    if source.timestamp >= 0 and time > source.timestamp + MAX_AHEAD_MS:
        raise Refused(
            "bad_time",
            f"time {time} is {time - source.timestamp} ms after the Kafka record's own timestamp {source.timestamp},"
            f" expected at most {MAX_AHEAD_MS}; send ms since the epoch in UTC, and set the sender's clock",
        )


def _check_key(key: bytes | None, session_id: str) -> None:
    if key != session_id.encode():
        raise Refused(
            "key_mismatch",
            f"the key {shortened(key)} is not the session_id {shortened(session_id)}; key the record with the UTF-8 of"
            " its session_id, so that a session's events meet in one worker",
        )


def _code(exc: DecodeError) -> str:
    return _FIELD_CODES.get(exc.field or "", exc.reason)


def _explained(exc: DecodeError) -> str:
    remedy = _REMEDIES.get(_code(exc))
    return f"{exc}; {remedy}" if remedy else str(exc)


def attempt(headers: Headers) -> int:
    """One more than the attempt that a retried dead letter carries."""
    for name, text in headers:
        if name == "attempt" and text is not None and text.isdigit() and len(text) <= 6:
            return int(text) + 1
    return 1


def _text(text: str | None) -> str | None:
    """Free text without blanks around it; nothing but blanks is nothing."""
    return (text.strip() or None) if text is not None else None
