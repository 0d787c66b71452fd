"""What a worker frees, the system has again."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import sys, numpy as np
from streaming.memory import return_what_is_freed

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if sys.argv[1] == "ours":
    return_what_is_freed()
np.ones(30 << 17)  # 30 MB come and go: from now on glibc of itself keeps what is smaller
kept, large, before = [], [], resident()
for _ in range(60):
    large.append(np.ones(2 << 17))  # 2 MB
    kept.append(np.ones(8 << 10))  # 64 KB, in a gap's way
after = resident()
del large
print(after - before, resident() - before)
"""


@pytest.mark.skipif(getattr(ctypes.CDLL(None), "gnu_get_libc_version", None) is None, reason="needs glibc")
def test_large_blocks_go_back_to_the_system_when_they_are_freed() -> None:
    left = {}
    for whose in ("ours", "glibc's"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, whose], capture_output=True, text=True, check=True)
        taken, left[whose] = map(int, done.stdout.split())
        assert taken > 110e6
    assert left["ours"] < 20e6 < 100e6 < left["glibc's"]
