"""numba's compiler as all here use it: without the interpreter's lock, and what is compiled is kept on disk.

Several processes fill that cache and read it at once: the workers of a host, a training beside them. As numba comes,
they mix up what they compile, to the point of a segmentation fault (numba issues 4807 and 10128), in two ways:

* A compiled function is named by how many were compiled before it in its process. Functions that numba makes anew for
  each caller, such as `np.sort` and `np.argsort`, are told apart by that alone; of two processes that compile in
  another order one's `sort` bears the name of the other's `argsort`, and who reads both calls the wrong one. So here
  each process counts from a number of its own.
* What is kept of a function is an index of the types it was compiled for, and a file of code for each. Two processes
  that keep another type each at the same time take the same file for it. So here files are kept and read one after
  another, under a lock on their folder.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar, overload

import numba
from numba.core import bytecode, caching

P = ParamSpec("P")
R = TypeVar("R")


@overload
def njit(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def njit(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def njit(function: Any = None, /, **options: Any) -> Any:
    """Compiles a function at its first call.

    Args:
        options: of `numba.njit`.
    """
    return numba.njit(function, cache=True, nogil=True, **options)


class _SharedFile(caching.IndexDataCacheFile):
    """A function's index and code, one process at a time."""

    def save(self, key: Any, data: Any) -> None:
        with _locked(self._cache_path):
            super().save(key, data)  # type: ignore[no-untyped-call]

    def load(self, key: Any) -> Any:
        with _locked(self._cache_path):
            return super().load(key)  # type: ignore[no-untyped-call]


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Nobody else is in this block for the folder; a folder that is not there yet, or whose file system has no locks,
    is taken without."""
    try:
        place = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


caching.IndexDataCacheFile = _SharedFile  # type: ignore[misc]
bytecode.FunctionIdentity._unique_ids = itertools.count(secrets.randbits(48))
