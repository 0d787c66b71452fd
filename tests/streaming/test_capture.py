from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from streaming import codec
from streaming.capture import FORMAT, Captured, CaptureWriter, captured, read_capture
from streaming.errors import InputError

RECORDS = [
    Captured("clicks", 1, 7, 1_700_000_000_000, b"s-1", b"\x80", [("v", b"1"), ("empty", b"")]),
    Captured("ticks", 0, 8, 1_700_000_000_001, None, b"\xff\x00", []),
    Captured("catalogue", 0, 9, -1, "Schl\u00fcssel".encode(), None, [("v", b"1"), ("v", b"2")]),
]


@pytest.mark.parametrize("name", ["log.mp", "log.mp.gz"])
def test_what_was_captured_is_read_back_to_the_byte(tmp_path: Path, name: str) -> None:
    with CaptureWriter(tmp_path / name) as file:
        for record in RECORDS:
            file.write(record)
    assert list(read_capture(tmp_path / name)) == RECORDS
    assert (file.records, file.bytes) == (3, 3 + 1 + 2 + 10)
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


@pytest.mark.parametrize("name", ["log.mp", "log.mp.gz"])
def test_what_was_flushed_is_in_the_file_though_its_writer_is_not_done(tmp_path: Path, name: str) -> None:
    with CaptureWriter(tmp_path / name) as file:
        file.write(RECORDS[0])
        file.flush()
        found = (tmp_path / name).read_bytes()
    whole = zlib.decompressobj(wbits=31).decompress(found) if name.endswith(".gz") else found
    head, record = codec.frames(io.BytesIO(whole))
    assert (head["format"], record["topic"], record["value"]) == (FORMAT, "clicks", b"\x80")


def test_the_prefix_of_a_topic_is_left_out() -> None:
    record = SimpleNamespace(
        topic="shop.clicks",
        partition=1,
        offset=7,
        timestamp=1_700_000_000_000,
        key=b"s-1",
        value=b"\x80",
        headers=[("v", b"1"), ("empty", b"")],
    )
    assert captured(record, "shop.") == RECORDS[0]


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("precious")
    with pytest.raises(InputError, match="there already"):
        CaptureWriter(tmp_path / "log")
    assert (tmp_path / "log").read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        CaptureWriter(tmp_path / "nowhere" / "log")


@pytest.mark.parametrize("content", [b"", b"kind,session_id\n", codec.frame({"topic": "clicks"})])
def test_what_is_no_capture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(InputError, match="log"):
        list(read_capture(tmp_path / "log"))


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(codec.frame({"format": FORMAT, "version": 2}))
    with pytest.raises(InputError, match="version 2, expected 1"):
        list(read_capture(tmp_path / "log"))


def test_a_record_without_its_fields_is_refused(tmp_path: Path) -> None:
    head = codec.frame({"format": FORMAT, "version": 1})
    (tmp_path / "log").write_bytes(head + codec.frame({"topic": "clicks"}))
    with pytest.raises(InputError, match="headers"):
        list(read_capture(tmp_path / "log"))


@pytest.mark.parametrize("name", ["log", "log.gz"])
def test_a_file_that_was_cut_off_gives_what_came_before_and_then_says_so(tmp_path: Path, name: str) -> None:
    with CaptureWriter(tmp_path / name) as file:
        for number in range(2000):
            file.write(Captured("clicks", 0, number, 0, b"k", b"%d" % (number**7), []))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 9 // 10])
    found: list[int] = []

    with pytest.raises(InputError, match=name):
        found.extend(record.offset for record in read_capture(tmp_path / name))
    assert found == list(range(len(found)))
    assert len(found) > 100


def test_a_file_that_is_not_gzip_but_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.gz").write_bytes(b"no gzip at all")
    with pytest.raises(InputError, match="cannot be read"):
        list(read_capture(tmp_path / "log.gz"))


def test_gzip_is_what_others_read(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "log.gz") as file:
        file.write(RECORDS[0])
    assert b"beforehand capture" in gzip.decompress((tmp_path / "log.gz").read_bytes())
