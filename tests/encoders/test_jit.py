"""numba's cache on disk, filled by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from numba.core import caching

from encoders import jit

MODULE = """
import numpy as np
from encoders.jit import njit

@njit
def ordered(values):
    return np.sort(values)

@njit
def places(values):
    return np.argsort(values)
"""
VALUES = "np.array([3.0, 1.0, 2.0, 0.5])"


def told(folder: Path, program: str) -> str:
    """What a process prints that compiles what it calls, or finds it in the folder."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    given = f"import sys; sys.path.insert(0, {str(folder)!r}); import numpy as np; from functions import *; {program}"
    done = subprocess.run(
        [sys.executable, "-c", given], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize("before", [2, 3, 4])
def test_what_two_processes_compiled_in_another_order_is_not_mixed_up_by_a_third(folder: Path, before: int) -> None:
    """By numba's count of what was compiled before, here some functions of no interest, one's `sort` and the other's
    `argsort` bear one name."""
    others = "; ".join(["from numba import njit", *[f"njit(eval('lambda x: x'))({n})" for n in range(before)]])
    assert told(folder, f"print(ordered({VALUES}).tolist())") == "[0.5, 1.0, 2.0, 3.0]"
    assert told(folder, f"{others}; print(places({VALUES}).tolist())") == "[3, 1, 2, 0]"
    both = f"print(ordered({VALUES}).tolist(), places({VALUES}).tolist())"
    assert told(folder, both) == "[0.5, 1.0, 2.0, 3.0] [3, 1, 2, 0]"


def test_two_that_keep_a_type_each_at_once_keep_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins while the first is between its look into the index and its own entry."""
    first, second = (caching.IndexDataCacheFile(str(tmp_path), "function", "stamp") for _ in range(2))
    meanwhile = threading.Thread(target=second.save, args=("float", "code of float"))
    kept = first._save_index

    def interrupted(overloads: dict[str, str]) -> None:
        meanwhile.start()
        meanwhile.join(1)  # by then it is through, or it waits for the first
        kept(overloads)

    monkeypatch.setattr(first, "_save_index", interrupted)
    first.save("int", "code of int")
    meanwhile.join()
    assert [first.load(key) for key in ("int", "float")] == ["code of int", "code of float"]


def test_a_folder_that_is_not_there_is_taken_without_a_lock(tmp_path: Path) -> None:
    with jit._locked(str(tmp_path / "none")):
        pass
    with pytest.raises(FileNotFoundError), jit._locked(str(tmp_path)):
        raise FileNotFoundError
