"""numba's cache on disk, filled by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

@njit
def doubled(value):
    return value + value
"""
SLOW = """
import os
import time
from pathlib import Path
from numba.core import caching

base = next(each for each in caching.IndexDataCacheFile.__mro__ if "_save_index" in vars(each))
save = base._save_index

def slowly(self, overloads):
    time.sleep(0.3)
    save(self, overloads)
    time.sleep(0.3)

base._save_index = slowly
here = Path(__file__).parent
(here / f"{os.getpid()}.there").touch()
while len(list(here.glob("*.there"))) < 3:
    time.sleep(0.01)
"""

VALUES = "np.array([3.0, 1.0, 2.0, 0.5])"


def started(folder: Path, program: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    given = f"import sys; sys.path.insert(0, {str(folder)!r}); import numpy as np; from functions import *; {program}"
    return subprocess.Popen([sys.executable, "-c", given], env=environment, stdout=subprocess.PIPE, text=True)


def told(folder: Path, program: str) -> str:
    process = started(folder, program)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.strip()


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


def test_processes_that_keep_a_type_each_at_once_keep_all_of_them(folder: Path) -> None:
    """They begin as one and are slow to keep what they compiled; whoever comes after them finds each type, and takes
    none for another."""
    (folder / "slow.py").write_text(SLOW)
    calls = [f"doubled({kind})" for kind in ("1", "1.5", "1j")]
    processes = [started(folder, f"import slow; {call}") for call in calls]
    assert [process.communicate(timeout=120)[0] for process in processes] == [""] * 3
    asked = f"print([complex({'), complex('.join(calls)})]); print(sum(doubled.stats.cache_misses.values()))"
    values, missed = told(folder, asked).splitlines()
    assert values == str([2 + 0j, 3 + 0j, 2j])
    assert missed == "0"


def test_a_folder_that_is_not_there_is_taken_without_a_lock(tmp_path: Path) -> None:
    with jit._locked(str(tmp_path / "none")):
        pass
    with pytest.raises(FileNotFoundError), jit._locked(str(tmp_path)):
        raise FileNotFoundError
