"""Golden vectors: what this release writes and reads is what every release of this schema version does."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
import pytest

from streaming import codec
from streaming.records import BROWSE_KINDS, CLICK_KINDS, Kind, Learned, Record, Transition
from streaming.schemas import RECORDS
from tests.streaming.vectors import FOLDER, READ_ONLY, VECTORS, path


def test_there_is_a_vector_of_every_record_and_no_other_file() -> None:
    assert {kind for kind, _ in VECTORS.values()} == set(RECORDS)
    assert {file.stem for file in FOLDER.iterdir()} == set(VECTORS)


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_says_this_to_any_messagepack_library(name: str) -> None:
    assert msgpack.unpackb(path(name).read_bytes()) == VECTORS[name][1]


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, (kind, _) in VECTORS.items()])
def test_a_vector_is_read_and_written_to_the_byte(name: str, kind: type[Record]) -> None:
    value = path(name).read_bytes()
    record = codec.decode(value, kind)
    assert (codec.encode(record) == value) == (name not in READ_ONLY)
    assert codec.decode(codec.encode(record), kind) == record


def test_a_lesson_of_an_earlier_release_knows_no_more_than_that() -> None:
    first, _ = codec.decode(path("learned").read_bytes(), Learned).transitions
    assert first == Transition(2**40, "sku-1", "sku-7", "cart_add", time=0, session=0, visitor=0, context=[])


@pytest.mark.parametrize(("kind", "fields"), VECTORS.values(), ids=VECTORS)
def test_fields_at_their_default_may_be_written_out(kind: type[Record], fields: dict[str, Any]) -> None:
    record = codec.decode(msgpack.packb(fields), kind)
    whole = {name: msgpack.unpackb(codec.encode(record)).get(name) for name in kind.__struct_fields__}
    absent = {name: None for name, value in whole.items() if value is None and getattr(record, name) is None}
    assert codec.decode(msgpack.packb(fields | absent), kind) == record


@pytest.mark.parametrize("kind", RECORDS)
def test_records_are_slotted(kind: type[Record]) -> None:
    assert kind.__dictoffset__ == 0


def test_every_kind_has_one_topic() -> None:
    assert set(get_args(Kind)) == CLICK_KINDS | BROWSE_KINDS
    assert not CLICK_KINDS & BROWSE_KINDS
