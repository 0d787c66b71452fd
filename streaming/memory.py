"""The memory of a process, by what it does: of a worker what is freed goes back to the system, and what stays is not
looked through; a training keeps what is freed, for the next step wants it again."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Mapping

COLLECT_EVERY = 20_000, 20, 50
"""Objects made after which the youngest are looked through for cycles, of which hardly any are made; Python: 700. The
other two: how often one generation is looked through before the next is, too."""
YOUNG = 2_000
"""The same once a worker has settled: its threads stop for as long as the collector looks, some us an object."""
LARGE = 1 << 20
"""Bytes from which a block is a mapping of its own."""
LARGEST = 32 << 20
"""The most that glibc takes for that."""
KEPT = 1 << 30
"""Bytes at the end of a heap from which on they are given back."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def return_what_is_freed() -> None:
    """Has the C library give large blocks back as soon as they are freed. Of itself glibc holds ever larger ones in its
    heaps, up to 32 MB, in whose gaps nothing else fits: after the copy that a snapshot is made of, some 150 MB. To be
    called before threads are started; where the C library knows no such thing, nothing is done."""
    _set({_M_MMAP_THRESHOLD: LARGE})


def keep_what_is_freed() -> None:
    """Has the C library keep up to a GB of what is freed. Of itself glibc gives back what a step of a training leaves,
    and asks for it again at the next one: the system zeroes each page anew, a tenth of the time of a network over
    43,000 items. Where the C library knows no such thing, nothing is done."""
    _set({_M_MMAP_THRESHOLD: LARGEST, _M_TRIM_THRESHOLD: KEPT})


def _set(options: Mapping[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)


def collect_rarely() -> None:
    """Before anything is loaded: a model is millions of objects and no cycle, and looking for some among them is a
    fifth of reading one."""
    gc.set_threshold(*COLLECT_EVERY)


def settle() -> None:
    """Once all is loaded: what is there stays, and so does what outlives one look of the collector, which need not look
    at either again. Sessions and what is learned are objects by the hundred thousand, and for a look through them a
    worker would stop for half a second. What is freed when nobody holds it any more, as nearly all, is freed as before;
    a cycle is if it is dead by the first look, after some `YOUNG` objects more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    if _stays not in gc.callbacks:
        gc.callbacks.append(_stays)


def _stays(phase: str, _info: Mapping[str, int]) -> None:
    """Called by the collector."""
    if phase == "stop":
        gc.freeze()
