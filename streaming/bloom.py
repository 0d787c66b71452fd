"""Sets in a few bytes that never forget a member: Bloom filters as plain byte strings.

What was put in is always found. What was not is found now and then: with n members in m bits and HASHES hashes at a
rate of (1 - exp(-HASHES n / m)) ^ HASHES (Bloom 1970), which for us only hides an item that could have been offered.
An empty string is the empty set. Values, not objects: a union does not depend on the order of its members.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

HASHES = 4

Bytes = NDArray[np.uint8]


def added(members: bytes, items: Iterable[str], size: int) -> bytes:
    """The set with more members. `size` is that of the filter in bytes and holds where the set is still empty.

    >>> contains(added(b"", ["tea"], 32), "tea"), contains(added(b"", ["tea"], 32), "mug")
    (True, False)
    """
    size = len(members) or size
    bits = int.from_bytes(members, "little")
    for item in items:
        bits |= _mask(item, size)
    return bits.to_bytes(size, "little") if bits else b""


def contains(members: bytes, item: str) -> bool:
    """Whether the item was put in; true now and then for one that was not."""
    if not members:
        return False
    mask = _mask(item, len(members))
    return int.from_bytes(members, "little") & mask == mask


@njit(cache=True, nogil=True)
def holds(members: Bytes, digest: int) -> bool:
    """As `contains`, of a set as an array of bytes, (size,), and an item by its hash, xxh3_64 of its id."""
    if len(members) == 0:
        return False
    start, stride = np.uint64(digest & 0xFFFFFFFF), np.uint64(digest >> np.uint64(32) | 1)
    size = np.uint64(8 * len(members))
    for number in range(HASHES):
        bit = (start + np.uint64(number) * stride) % size
        if not members[bit >> np.uint64(3)] >> (bit & np.uint64(7)) & 1:
            return False
    return True


@njit(cache=True, nogil=True)
def any_holds(sets: Bytes, ends: NDArray[np.int64], digest: int) -> bool:
    """Whether one of several sets `holds` the item: they lie one behind the other, and each ends at its place."""
    begin = 0
    for end in ends:
        if holds(sets[begin:end], digest):
            return True
        begin = end
    return False


@lru_cache(maxsize=65_536)
def _mask(item: str, size: int) -> int:
    """The item's bits in a filter of `size` bytes: two halves of one hash step through it (Kirsch, Mitzenmacher)."""
    digest = xxh3_64_intdigest(item.encode())
    start, stride = digest & 0xFFFFFFFF, digest >> 32 | 1
    mask = 0
    for number in range(HASHES):
        mask |= 1 << (start + number * stride) % (size * 8)
    return mask
