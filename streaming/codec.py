"""Bytes have one door: records to MessagePack and back, and the frames of a capture file.

Decoding checks types and bounds (`streaming.records`) in one pass, and `v` in another that only skips:
together about 1 us for an event. Unknown fields are left out. What is wrong leaves as one kind of error,
whatever the bytes were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import BinaryIO, Literal, TypeVar

import msgpack
import msgspec

from streaming.errors import BeforehandError, InputError
from streaming.records import VERSION, Record

R = TypeVar("R", bound=Record)
Reason = Literal["empty", "not_msgpack", "wrong_type", "unknown_version", "too_deep"]

HEADERS: list[tuple[str, bytes]] = [("v", str(VERSION).encode())]
"""The Kafka headers of every record that this release writes."""

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A frame of a capture file above this is refused: no record of ours is near it."""

_LIBRARY_TEXT = 300
"""Characters of a library's own text that an error of ours shows."""


class DecodeError(BeforehandError):
    """The bytes are no such record; the same bytes fail again. The text says what stood where and what to do.

    `reason` is the machine-readable half. `empty`: no bytes. `not_msgpack`: malformed, cut off, trailing
    bytes, or a string that is not UTF-8. `wrong_type`: a field is missing, of another type or out of bounds;
    `field` names it. `unknown_version`: `v` is missing or is not one that this release reads. `too_deep`:
    nested beyond all use.
    """

    def __init__(self, reason: Reason, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class _Versioned(msgspec.Struct):
    """The one field that is looked at before all others."""

    v: int


_ENCODER = msgspec.msgpack.Encoder()
_VERSION = msgspec.msgpack.Decoder(_Versioned)
_FIELDS = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_PATH = re.compile(r"`\$\.(\w+)[^`]*`$")


@cache
def _decoder(kind: type[R]) -> msgspec.msgpack.Decoder[R]:
    return msgspec.msgpack.Decoder(kind)


def encode(record: Record) -> bytes:
    """One record as the value of a Kafka record. Fields at their default are left out; `v` never is.

    Bounds are the reader's to check, so `decode(encode(record), type(record))` is a full validation.

    Raises:
        InputError: a string holds a lone surrogate, which has no UTF-8.
    """
    try:
        return _ENCODER.encode(record)
    except UnicodeEncodeError as exc:
        raise InputError(
            f"{type(record).__name__} holds the text {shortened(exc.object)}, which has a lone surrogate and so no"
            " UTF-8; decode the source text with its right encoding"
        ) from exc


def decode(data: bytes | None, kind: type[R]) -> R:
    """One record out of a Kafka record's value.

    >>> from streaming.records import Tick
    >>> decode(encode(Tick(time=1_700_000_000_000)), Tick).time
    1700000000000

    Raises:
        DecodeError: and nothing else, whatever the bytes are.
    """
    if not data:
        raise DecodeError("empty", f"the value is empty, expected a MessagePack map of {kind.__name__}; send one")
    decoder = _decoder(kind)
    try:
        version = _VERSION.decode(data).v
        if version == VERSION:
            record: R = decoder.decode(data)
            return record
    except msgspec.ValidationError as exc:
        raise _wrong(data, kind, exc) from exc
    except RecursionError as exc:
        raise DecodeError(
            "too_deep",
            f"{len(data)} bytes are nested too deeply, expected a flat map of {kind.__name__}; send only its fields",
        ) from exc
    except (ValueError, MemoryError, OverflowError) as exc:  # malformed, or no UTF-8: both are ValueErrors
        raise DecodeError(
            "not_msgpack",
            f"{_reading(exc)} in {shortened(data)}, expected one MessagePack map of {kind.__name__} with UTF-8"
            " strings; encode it with a MessagePack library",
        ) from exc
    raise _unknown_version(str(version))


def plain(record: Record) -> dict[str, object]:
    """A record as JSON can take it, with the fields that stand on the wire.

    >>> from streaming.records import Tick
    >>> plain(Tick(time=1_700_000_000_000))
    {'v': 1, 'time': 1700000000000}
    """
    fields: dict[str, object] = msgspec.to_builtins(record)
    return fields


def _wrong(data: bytes, kind: type[Record], cause: msgspec.ValidationError) -> DecodeError:
    """Tells a version from a field, and finds the value that msgspec's text does not show."""
    text = str(cause)
    path = _PATH.search(text)
    field = path.group(1) if path else None
    if field == "v":
        return _unknown_version(_value_of(data, "v"))
    if text == "Object missing required field `v`":
        return _unknown_version("missing")
    found = f", found {_value_of(data, field)}" if field else ""
    return DecodeError(
        "wrong_type",
        f"{text[:_LIBRARY_TEXT]}{found}; docs/wire.md has the fields of {kind.__name__}",
        field=field,
    )


def _unknown_version(found: str) -> DecodeError:
    return DecodeError(
        "unknown_version",
        f"the schema version `v` is {found}, expected {VERSION}; write version {VERSION}, or read with a release that"
        " knows this one",
    )


def _reading(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__)[:_LIBRARY_TEXT]


def _value_of(data: bytes, field: str) -> str:
    """The offending top-level value, for people; its bytes where it cannot be decoded or is long."""
    try:
        raw = bytes(_FIELDS.decode(data)[field])
        return shortened(msgspec.msgpack.decode(raw) if len(raw) <= 1024 else raw)
    except (ValueError, KeyError, RecursionError, MemoryError):
        return "what cannot be read"


def shortened(value: object, limit: int = 80) -> str:
    """A value as an error message shows it: its repr, cut, and then its whole size.

    >>> shortened(b"x" * 100, 9)
    "b'xxxxxxxxx'... (100 bytes)"
    """
    if isinstance(value, str | bytes) and len(value) > limit:
        return f"{value[:limit]!r}... ({len(value)} {'bytes' if isinstance(value, bytes) else 'characters'})"
    text = repr(value)
    return text if len(text) <= 4 * limit else f"{text[:limit]}..."


# ---------------------------------------------------------------------------------------------- capture files
def frame(fields: Mapping[str, object]) -> bytes:
    """One frame of a capture file: a MessagePack map of plain values. Frames follow each other with nothing
    between."""
    return msgspec.msgpack.encode(fields)


def frames(file: BinaryIO) -> Iterator[dict[str, object]]:
    """The frames of a capture file in order, read bit by bit: memory is bounded by one frame.

    Raises:
        DecodeError: at the first frame that is cut off, malformed, no map, or above MAX_FRAME_BYTES; the text
            has its byte position. The frames before it were given out.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_FRAME_BYTES)
    fed = done = 0
    try:
        while chunk := file.read(65536):
            unpacker.feed(chunk)
            fed += len(chunk)
            for value in unpacker:
                done = unpacker.tell()
                if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
                    raise DecodeError(
                        "wrong_type",
                        f"the frame that ends at byte {done} is {shortened(value)}, expected a map",
                    )
                yield value
    except (ValueError, RecursionError, MemoryError, msgpack.UnpackException) as exc:
        raise DecodeError(
            "too_deep" if isinstance(exc, msgpack.StackError | RecursionError) else "not_msgpack",
            f"the frame after byte {done} is malformed ({_reading(exc)}), expected MessagePack frames; use a file that"
            " `beforehand capture` wrote",
        ) from exc
    if done != fed:
        raise DecodeError(
            "not_msgpack",
            f"the file ends at byte {fed} within a frame that began at byte {done}; it was cut off: capture anew, or"
            " use the frames before",
        )
