"""What may be offered of a ranking, and what is asked of each item for that: one row an item by its number, so that a
compiled walk needs no look at ids, names or records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from encoders.jit import njit
from index.vocabulary import Codes
from streaming.bloom import Bytes, any_holds, holds
from streaming.records import Item

GOODS = np.dtype([("digest", "u8"), ("brand", "i4"), ("stand", "i4")], align=True)
"""An item: xxh3_64 of its id; the number of its brand, -1: none; whether it may be sold. 16 bytes."""
UNKNOWN, KEPT_BACK, SELLABLE = 0, 1, 2
"""`stand`: not in the catalogue; there, but not available or out of stock; may be sold."""
LEAD = -1
"""Stands for the place of the candidate that comes first whatever its score."""
TAG = 5
"""Bytes of a digest, the upper ones first, that stand for an item in the cart."""

Places = NDArray[np.int64]


class Shelf:
    """Which items are there and may be sold. Not for more than one thread."""

    def __init__(self) -> None:
        self.goods = np.zeros(64, GOODS)
        self._brands: dict[str, int] = {}

    def put(self, codes: Codes, items: Sequence[Item]) -> None:
        """Items as they now are, by their numbers."""
        if not len(codes):
            return
        more = int(codes.max()) + 1 - len(self.goods)
        if more > 0:
            self.goods = np.concatenate([self.goods, np.zeros(max(more, len(self.goods)), GOODS)])
        numbers = self._brands
        brands = [-1 if item.brand is None else numbers.setdefault(item.brand, len(numbers)) for item in items]
        stands = [SELLABLE if sellable(item) else KEPT_BACK for item in items]
        digests = [xxh3_64_intdigest(item.item_id.encode()) for item in items]
        self.goods[codes] = np.array(list(zip(digests, brands, stands, strict=True)), GOODS)

    def drop(self, codes: Codes) -> None:
        """They are no longer in the catalogue."""
        self.goods["stand"][codes] = UNKNOWN


def sellable(item: Item) -> bool:
    """Whether it may be offered: available, and not out of stock where a stock is told."""
    return item.available and item.stock != 0


class Barred(NamedTuple):
    """What keeps items from being offered to a session."""

    known: Codes
    """Items that are not offered again."""
    bought: bytes
    """Bloom filter of the items bought."""
    cart: bytes
    """Tags of the items in the cart, `TAG` bytes each."""
    told: Sequence[bytes] = ()
    """Bloom filters of what was sent within the cool-down."""


class Picked(NamedTuple):
    """Places of a ranking."""

    offers: Places
    """Best first, but for those of a brand that was over its share: they fill what is left, at the end."""
    gone: Places
    """The best that would be offered, had they not been bought or gone out of stock; as many as offers were asked
    for."""
    head: int
    """The best of those not gone, sent of late or not; -1: none."""
    live: float
    """Score of the best that is still live; 0: none is, or only ones too far below to matter."""


def pick(
    order: Places,
    codes: Codes,
    scores: NDArray[np.float64],
    shelf: Shelf,
    barred: Barred,
    *,
    count: int,
    brand_share: float,
    standing: bytes = b"",
    enough: float = 0.0,
    lead: tuple[int, float] | None = None,
) -> Picked:
    """Walks down a ranking until there are `count` offers, and the gain over what is live is known or `enough`.

    Args:
        order: places, best first.
        codes, scores: of each place.
        brand_share: of the offers, the most that are of one brand, where there are others.
        standing: Bloom filter of what is live; empty: nothing is.
        lead: code and score of the offer that comes first; it is on the shelf.
    """
    code, score = lead or (-1, 0.0)
    most = max(1, round(count * brand_share))
    sets = (barred.bought, barred.cart, standing, *(each for each in barred.told if each))
    ends = np.array(list(accumulate(map(len, sets))), np.int64)
    offers, gone, head, live = _pick(
        order, codes, scores, shelf.goods, barred.known, np.frombuffer(b"".join(sets), np.uint8), ends,
        count, most, enough, code, score,
    )  # fmt: skip
    return Picked(offers, gone, head, live)


@njit
def _pick(
    order: Places, codes: Codes, scores: NDArray[np.float64], goods: NDArray[np.void],
    known: Codes, sets: Bytes, ends: Places,
    count: int, most: int, enough: float, lead: int, lead_score: float,
) -> tuple[Places, Places, int, float]:  # fmt: skip
    """`sets`: bought, cart, standing and all of told, one behind the other; each ends at its place of `ends`."""
    bought, cart, standing = sets[: ends[0]], sets[ends[0] : ends[1]], sets[ends[1] : ends[2]]
    offers, waiting, gone = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    brands = np.empty(count, np.int32)
    taken, waits, left = 0, 0, 0
    head, live, best = -1, 0.0, 0.0
    if lead >= 0 and count:
        offers[0], brands[0], best, taken = LEAD, goods[lead]["brand"], lead_score, 1
    for place in order:
        code = codes[place]
        if code >= len(goods) or code == lead:
            continue
        item = goods[code]
        if item["stand"] == UNKNOWN:
            continue
        digest = item["digest"]
        if holds(bought, digest):
            if left < count:
                gone[left] = place
                left += 1
            continue
        if _among(known, code) or _in_cart(cart, digest):
            continue
        if item["stand"] != SELLABLE:
            if left < count:
                gone[left] = place
                left += 1
            continue
        if head < 0:
            head = place
        if live == 0 and holds(standing, digest):
            live = scores[place]
        if taken < count and not any_holds(sets, ends[2:], digest):
            alike = 0
            if item["brand"] >= 0:
                for one in range(taken):
                    alike += brands[one] == item["brand"]
            if alike >= most:
                if waits < count:
                    waiting[waits] = place
                    waits += 1
            else:
                if taken == 0:
                    best = scores[place]
                offers[taken], brands[taken] = place, item["brand"]
                taken += 1
        if taken == count and (live > 0 or len(standing) == 0 or scores[place] < best - enough):
            break
    for one in range(min(waits, count - taken)):
        offers[taken] = waiting[one]
        taken += 1
    return offers[:taken], gone[:left], head, live


@njit
def _among(members: Codes, sought: int) -> bool:
    found = False
    for member in members:
        found |= member == sought
    return found


@njit
def _in_cart(cart: Bytes, digest: int) -> bool:
    for begin in range(0, len(cart), TAG):
        same = True
        for place in range(TAG):
            same &= cart[begin + place] == digest >> np.uint64(56 - 8 * place) & np.uint64(255)
        if same:
            return True
    return False
