"""On which cores of a machine a process runs."""

from __future__ import annotations

import os
from contextlib import suppress

from streaming.errors import InputError

_THREADS = "/proc/self/task"


def keep_to(core: int | None) -> None:
    """Keeps this process to one core, with the threads that it has and those that it starts; None: the system decides.

    The threads of a worker take turns, for they share an interpreter. Spread over cores, each wakes the next by a
    message to another core, which finds nothing of its work in its caches; on one core the next goes on where the last
    left off.

    Raises:
        InputError: there is no such core for this process, or the system knows no such thing.
    """
    if core is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise InputError(f"core {core}: this system keeps no process to a core; leave BEFOREHAND_WORKER__CORE out")
    allowed = os.sched_getaffinity(0)
    if core not in allowed:
        raise InputError(
            f"core {core}: expected one that this process may run on, of {', '.join(map(str, sorted(allowed)))};"
            " set BEFOREHAND_WORKER__CORE to one of them, or leave it out"
        )
    for thread in os.listdir(_THREADS):
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), {core})


def at_most(threads: int) -> int:
    """So many threads, or one for each core that this process may run on, where those are fewer."""
    if not hasattr(os, "sched_getaffinity"):
        return threads
    return min(threads, len(os.sched_getaffinity(0)))
