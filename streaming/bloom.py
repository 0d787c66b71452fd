"""Sets in a few bytes that never forget a member: Bloom filters as plain byte strings.

What was put in is always found. What was not is found now and then: with n members in m bits and HASHES hashes at a
rate of (1 - exp(-HASHES n / m)) ^ HASHES (Bloom 1970), which for us only hides an item that could have been offered.
An empty string is the empty set. Values, not objects: a union does not depend on the order of its members.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from xxhash import xxh3_64_intdigest

HASHES = 4


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


class Members:
    """Several sets made ready, for a caller who asks for many items.

    >>> "tea" in Members([added(b"", ["mug"], 32), added(b"", ["tea"], 64)])
    True
    """

    def __init__(self, sets: Iterable[bytes]) -> None:
        self._sets = [(int.from_bytes(members, "little"), len(members)) for members in sets if members]

    def __contains__(self, item: str) -> bool:
        """Whether `contains` holds for one of the sets."""
        for bits, size in self._sets:
            mask = _mask(item, size)
            if bits & mask == mask:
                return True
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
