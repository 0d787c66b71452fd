"""The wire contract in other forms says the same as the code."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgpack
import pytest
from jsonschema import Draft202012Validator

from streaming import codec, schemas
from streaming.codec import DecodeError
from streaming.intake import ITEM_KINDS, Intake
from streaming.records import EventRecord, Record
from tests.streaming.vectors import VECTORS

ROOT = Path(__file__).parents[2]
EVENT = VECTORS["event-whole"][1]


def validator(kind: type[Record]) -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "schemas" / f"{kind.__name__}.json").read_text()))


def test_schemas_and_tables_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main(["--check", "--root", str(ROOT)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("kind", schemas.RECORDS)
def test_a_schema_is_one(kind: type[Record]) -> None:
    written = json.loads((ROOT / "schemas" / f"{kind.__name__}.json").read_text())
    Draft202012Validator.check_schema(written)
    assert written["$id"] == f"beforehand/{kind.__name__}/1"


@pytest.mark.parametrize(("kind", "fields"), VECTORS.values(), ids=VECTORS)
def test_what_the_codec_takes_the_schema_takes(kind: type[Record], fields: dict[str, Any]) -> None:
    validator(kind).validate(fields)
    assert codec.encode(codec.decode(msgpack.packb(fields), kind))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"kind": "gaze"},
        {"session_id": ""},
        {"session_id": "x" * 257},
        {"session_id": "a\nb"},
        {"session_id": "a\n"},
        {"session_id": "\x9f"},
        {"time": 1},
        {"time": "now"},
        {"price": -1},
        {"price": 1e13},
        {"quantity": 0},
        {"currency": "EURO"},
        {"utc_offset_min": 900},
        {"consent": 1},
    ],
    ids=str,
)
def test_what_the_codec_refuses_the_schema_refuses(change: dict[str, Any]) -> None:
    assert not validator(EventRecord).is_valid(EVENT | change)
    with pytest.raises(DecodeError):
        codec.decode(msgpack.packb(EVENT | change), EventRecord)


@pytest.mark.parametrize("name", ["v", "kind", "session_id", "time"])
def test_what_must_be_there(name: str) -> None:
    fields = {key: value for key, value in EVENT.items() if key != name}
    assert not validator(EventRecord).is_valid(fields)
    with pytest.raises(DecodeError):
        codec.decode(msgpack.packb(fields), EventRecord)


def test_every_field_of_every_record_has_a_row_with_its_meaning() -> None:
    page = (ROOT / "docs" / "wire.md").read_text()
    for kind in schemas.RECORDS:
        section = page.split(f"### {kind.__name__}\n")[1].split("\n### ")[0]
        rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
        assert [row[0].strip("| `") for row in rows] == ["v", *kind.__struct_fields__]
        assert all(len(row[-1].strip(" |")) > 3 for row in rows)


def test_the_page_names_every_code_of_a_dead_letter() -> None:
    page = (ROOT / "docs" / "wire.md").read_text()
    said = (Intake.accept.__doc__ or "").split("Codes of a dead letter:")[1]
    codes = set(re.findall(r"\w+", said))
    assert len(codes) == 14
    for word in codes | ITEM_KINDS:
        assert f"`{word}`" in page


def test_the_command_finds_and_mends_what_is_out_of_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "wire.md", tmp_path / "docs" / "wire.md")
    arguments = ["--root", str(tmp_path)]
    assert schemas.main(["--check", *arguments]) == 0

    page = tmp_path / "docs" / "wire.md"
    page.write_text(page.read_text().replace("| `clicks` | in |", "| `clicks` | out |"))
    (tmp_path / "schemas" / "Tick.json").unlink()
    (tmp_path / "schemas" / "Old.json").write_text("{}")
    capsys.readouterr()
    assert schemas.main(["--check", *arguments]) == 1
    assert [Path(line.split()[-1]).name for line in capsys.readouterr().out.splitlines()] == [
        "wire.md",
        "Old.json",
        "Tick.json",
    ]
    assert schemas.main(["--write", *arguments]) == 0
    assert schemas.main(["--check", *arguments]) == 0
    assert page.read_text() == (ROOT / "docs" / "wire.md").read_text()


def test_the_command_wants_the_projects_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main(["--check", "--root", str(tmp_path)]) == 2
    assert "expected the project's folder" in capsys.readouterr().err
