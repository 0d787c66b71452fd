"""What numba still has to compile, asked in a process that has never compiled anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from numba.core import event


def compiled(work: Callable[[], object]) -> int:
    """How often numba compiles while this is called."""
    with event.install_recorder("numba:compile") as recorder:
        work()
    return len(recorder.buffer)


def counts_of(program: str, cache: Path) -> list[int]:
    """The numbers that a program prints in a process of its own, whose cache of numba is this empty folder."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=270
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]
