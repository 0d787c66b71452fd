"""What a worker frees, the system has again; what a training frees, its next step has."""

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


STEPS = """
import resource, sys, numpy as np
from streaming.memory import keep_what_is_freed

if sys.argv[1] == "ours":
    keep_what_is_freed()
for step in range(21):
    step or np.ones(1 << 20)
    blocks = [np.ones(1 << 20) for _ in range(10)]  # 8 MB each
    if step == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SETTLED = """
import gc, weakref
from streaming.memory import YOUNG, settle

class Node:
    pass

settle()
settle()
assert gc.callbacks.count(gc.callbacks[-1]) == 1
kept, looks = [], []
gc.callbacks.insert(0, lambda phase, info: looks.append((phase, info["generation"], len(gc.get_objects()))))
frozen = gc.get_freeze_count()
for _ in range(50 * YOUNG):
    kept.append([])
    ring = Node()
    ring.ring, dead = ring, weakref.ref(ring)
assert {generation for _, generation, _ in looks} == {0}, looks
assert len(looks) >= 60
assert max(size for _, _, size in looks) < 3 * YOUNG  # what an earlier look let stay is not looked at again
assert gc.get_freeze_count() > frozen + 45 * YOUNG
del ring
gc.collect()
assert dead() is None
"""
GLIBC = pytest.mark.skipif(getattr(ctypes.CDLL(None), "gnu_get_libc_version", None) is None, reason="needs glibc")


@GLIBC
def test_large_blocks_go_back_to_the_system_when_they_are_freed() -> None:
    left = {}
    for whose in ("ours", "glibc's"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, whose], capture_output=True, text=True, check=True)
        taken, left[whose] = map(int, done.stdout.split())
        assert taken > 110e6
    assert left["ours"] < 20e6 < 100e6 < left["glibc's"]


@GLIBC
def test_what_a_step_frees_is_there_for_the_next() -> None:
    asked = {}
    for whose in ("ours", "glibc's"):
        done = subprocess.run([sys.executable, "-c", STEPS, whose], capture_output=True, text=True, check=True)
        asked[whose] = int(done.stdout)
    assert asked["ours"] < 1000 < 100_000 < asked["glibc's"]  # pages of 4 KB


def test_a_worker_that_has_settled_looks_at_an_object_once_and_never_at_all_of_them() -> None:
    subprocess.run([sys.executable, "-c", SETTLED], check=True)
