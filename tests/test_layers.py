"""The house: imports go one way and are not hidden, libraries have one door, files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("streaming", "index", "encoders")
OURS = (*PACKAGES, "tests")
MAX_LINES = 400
DOORS = {
    "msgpack": {"streaming/codec.py"},
    "msgspec.msgpack": {"streaming/codec.py"},
    "faiss": {"index/backend.py"},
    "transformers": {
        "encoders/bert.py",
        "encoders/finetune/training.py",
        "encoders/sequence/bert.py",
        "encoders/throughput.py",
    },
    "torch": {
        "encoders/bert.py",
        "encoders/finetune/training.py",
        "encoders/baselines/losses.py",
        "encoders/baselines/sequence_networks.py",
        "encoders/baselines/light_gcn.py",
        "encoders/graph/kge.py",
        "encoders/heads/training.py",
        "encoders/int8_export.py",
        "encoders/sequence/bert.py",
        "encoders/sequence/joint.py",
        "encoders/sequence/network.py",
        "encoders/sequence/training.py",
        "encoders/throughput.py",
    },
    "peft": {"encoders/bert.py", "encoders/finetune/training.py"},
    "onnx": {"encoders/int8_export.py"},
    "onnxruntime": {"encoders/int8.py", "encoders/int8_export.py"},
    "tokenizers": {"encoders/int8.py"},
    "torch_geometric": {"encoders/graph/kge.py", "encoders/baselines/light_gcn.py"},
    "lightgbm": {"index/forest_fitting.py"},
    "tensorboard": {"streaming/training_log.py"},
    "matplotlib": {"streaming/plots.py"},
    "jinja2": {"streaming/report_page.py"},
    "hdrh": {"streaming/bench/latency.py"},
    "psutil": {"streaming/bench/usage.py"},
}
"""Module: the only files of the product that may import it."""
NAMES_OF_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "tools"}


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _imported(node: ast.AST) -> list[str]:
    """Full names that an import statement names: `from a import b` gives `a` and `a.b`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _inner_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                yield from ((getattr(node, "lineno", 0), name) for name in _imported(node))


def _trespassers(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        for name in _imported(node):
            for module, doors in DOORS.items():
                if (name == module or name.startswith(module + ".")) and _name(path) not in doors:
                    yield f"{_name(path)}:{getattr(node, 'lineno', 0)} imports {name}, only {doors} may"


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "One arrow: streaming -> index -> encoders KEPT" in done.stdout


@pytest.mark.parametrize("path", _files(*OURS, "benchmarks"), ids=_name)
def test_a_file_is_short_and_a_noun(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{_name(path)} has {lines} lines, at most {MAX_LINES}: look for the second noun"
    assert path.stem not in NAMES_OF_NOTHING
    assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("path", _files(*OURS, "benchmarks"), ids=_name)
def test_no_import_of_ours_is_inside_a_function(path: Path) -> None:
    inner = list(_inner_imports(ast.parse(path.read_text())))
    assert [f"{_name(path)}:{line} {name}" for line, name in inner if name.split(".")[0] in OURS] == []


@pytest.mark.parametrize("path", _files(*PACKAGES), ids=_name)
def test_libraries_with_one_door(path: Path) -> None:
    assert list(_trespassers(path, ast.parse(path.read_text()))) == []


def test_only_two_files_reach_into_faust() -> None:
    """Whatever starts with an underscore in Faust, mode and aiokafka is reached from here alone."""
    doors = {"streaming/reading.py", "streaming/writing.py"}
    drivers = {
        _name(path)
        for path in _files(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported(node)
        if name.startswith(
            ("faust.transport", "faust.tables", "faust.streams", "aiokafka.producer", "aiokafka.protocol")
        )
    }
    assert drivers <= doors


def test_these_checks_see_what_they_look_for() -> None:
    hidden = ast.parse("def f():\n    from streaming import codec\n")
    assert "streaming.codec" in [name for _, name in _inner_imports(hidden)]
    trespass = ast.parse("from msgspec import msgpack\nimport faiss\n")
    assert len(list(_trespassers(ROOT / "streaming" / "engine.py", trespass))) == 2
    assert list(_trespassers(ROOT / "index" / "backend.py", ast.parse("import faiss\n"))) == []
