"""The documents keep what they say: every test that they name is there, every link leads somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from streaming.adapters import ADAPTERS
from streaming.columns import TABLES
from streaming.exits import Exit
from streaming.sessions import SessionState
from streaming.shop import ShopInfo

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMED_TEST = re.compile(r"`((?:tests/)?[\w/]+\.py)::(\w+)`")
NAMED_FILE = re.compile(r"`((?:streaming|index|encoders|tests|benchmarks|docs|schemas|docker)/[\w./-]+\.\w+)`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_guarantee_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    rows = [line for line in text.split("## What is lost when")[1].split("##")[0].splitlines() if line.startswith("|")]
    for row in rows[2:]:
        named = NAMED_TEST.findall(row)
        assert named, f"no test in: {row}"
        for file, test in named:
            path = ROOT / file if file.startswith("tests/") else ROOT / "tests" / "streaming" / file
            tree = ast.parse(path.read_text())
            there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert test in there, f"{file} has no {test}"
    assert len(rows) > 10


def test_every_exit_code_is_explained() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    for code in Exit:
        assert f"| {code.value} | {code.name} |" in text


def test_every_column_and_key_of_a_shop_folder_is_told() -> None:
    text = (ROOT / "docs" / "shop-folder.md").read_text()
    for table, columns in TABLES.items():
        told = ", ".join(f"**{column.name}**" if column.required else column.name for column in columns)
        assert f"| `{table}` | {told} |" in text
    for key in ShopInfo.model_fields:
        assert f"\n| `{key}` |" in text
    for adapter in ADAPTERS:
        assert f"**{adapter}**" in text


def test_every_letter_of_a_session_state_is_told() -> None:
    part = (ROOT / "docs" / "wire.md").read_text().split("## The changelog")[1].split("\n## ")[0]
    told = {letter for line in part.splitlines() for letter in re.findall(r"`(\w)`", line.split(" | ")[0])}
    assert told == {"v"} | {field.encode_name for field in fields(SessionState)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    missing = [target for target in LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_files_that_are_named_are_there(path: Path) -> None:
    assert [name for name in NAMED_FILE.findall(path.read_text()) if not (ROOT / name).exists()] == []
