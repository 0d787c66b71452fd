"""Each benchmark can still be started: what it imports is there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parent.parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_its_imports_are_there(path: Path) -> None:
    assert callable(runpy.run_path(str(path), run_name=path.stem)["main"])
