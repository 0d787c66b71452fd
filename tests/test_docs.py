"""The documents keep what they say: every test that they name is there, every link leads somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from streaming.exits import Exit

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMED_TEST = re.compile(r"`((?:tests/)?[\w/]+\.py)::(\w+)`")
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


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    missing = [target for target in LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert missing == []
