"""The memory of a worker's process: what is freed goes back to the system, and what stays is not looked through."""

from __future__ import annotations

import ctypes
import gc

COLLECT_EVERY = 20_000, 20, 50
"""Objects made after which the youngest are looked through for cycles, of which hardly any are made; Python: 700. The
other two: how often one generation is looked through before the next is, too."""
LARGE = 1 << 20
"""Bytes from which a block is a mapping of its own."""
_M_MMAP_THRESHOLD = -3  # malloc.h


def return_what_is_freed() -> None:
    """Has the C library give large blocks back as soon as they are freed. Of itself glibc holds ever larger ones in its
    heaps, up to 32 MB, in whose gaps nothing else fits: after the copy that a snapshot is made of, some 150 MB. To be
    called before threads are started; where the C library knows no such thing, nothing is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE)


def collect_rarely() -> None:
    """Before anything is loaded: a model is millions of objects and no cycle, and looking for some among them is a
    fifth of reading one."""
    gc.set_threshold(*COLLECT_EVERY)


def settle() -> None:
    """Once all is loaded: what is there stays, so that the collector need not look at it again."""
    gc.collect()
    gc.freeze()
