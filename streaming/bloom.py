"""Sets in a few bytes that never forget a member: Bloom filters as plain byte strings.

What was put in is always found. What was not is found now and then: with n members in m bits and HASHES hashes at a
rate of (1 - exp(-HASHES n / m)) ^ HASHES (Bloom 1970), which for us only hides an item that could have been offered.
An empty string is the empty set. Values, not objects: a union does not depend on the order of its members.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from encoders.jit import njit

HASHES = 4

Bytes = NDArray[np.uint8]


def added(members: bytes, items: Iterable[str], size: int) -> bytes:
    """The set with more members. `size` is that of the filter in bytes and holds where the set is still empty.

    >>> contains(added(b"", ["tea"], 32), "tea"), contains(added(b"", ["tea"], 32), "mug")
    (True, False)
    """
    digests = [xxh3_64_intdigest(item.encode()) for item in items]
    if not digests:
        return members
    filled = np.frombuffer(members, np.uint8).copy() if members else np.zeros(size, np.uint8)
    _put(filled, np.array(digests, np.uint64))
    return filled.tobytes()


def contains(members: bytes, item: str) -> bool:
    """Whether the item was put in; true now and then for one that was not."""
    return bool(members) and holds(np.frombuffer(members, np.uint8), np.uint64(xxh3_64_intdigest(item.encode())))


@njit
def holds(members: Bytes, digest: int | np.uint64) -> bool:
    """As `contains`, of a set as an array of bytes, (size,), and an item by its hash, xxh3_64 of its id."""
    if len(members) == 0:
        return False
    for number in range(HASHES):
        bit = _bit(digest, number, len(members))
        if not members[bit >> np.uint64(3)] >> (bit & np.uint64(7)) & 1:
            return False
    return True


@njit
def any_holds(sets: Bytes, bounds: NDArray[np.int64], digest: int) -> bool:
    """Whether one of several sets `holds` the item: they lie one behind the other, each from one bound to the next."""
    begin = bounds[0]
    for end in bounds[1:]:
        if holds(sets[begin:end], digest):
            return True
        begin = end
    return False


@njit
def _put(members: Bytes, digests: NDArray[np.uint64]) -> None:
    for digest in digests:
        for number in range(HASHES):
            bit = _bit(digest, number, len(members))
            members[bit >> np.uint64(3)] |= np.uint8(1 << (bit & np.uint64(7)))


@njit
def _bit(digest: int | np.uint64, number: int, size: int) -> np.uint64:
    """One of an item's bits in a filter of `size` bytes: two halves of one hash step through it (Kirsch and
    Mitzenmacher)."""
    start, stride = np.uint64(digest & 0xFFFFFFFF), np.uint64(digest >> np.uint64(32) | 1)
    return (start + np.uint64(number) * stride) % np.uint64(8 * size)
