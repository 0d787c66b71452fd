"""The head of a ranking as it stood before the throttle: what measures how good the ranking itself is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from streaming.items import Shop, sellable
from streaming.ranking import Ranking
from streaming.sessions import SessionState, in_cart, was_bought


def head_of(ranking: Ranking, state: SessionState, shop: Shop, *, count: int, repeat: bool) -> tuple[str, ...]:
    """The best items that may be offered at all, at most `count`, best first.

    Left out is what no prediction may hold for lasting reasons: what the catalogue does not have or cannot sell, what
    was bought or stands in the cart, and, unless `repeat`, what the history has. What was sent of late stays in.
    """
    return tuple(islice(_eligible(ranking, state, shop, repeat), count))


def _eligible(ranking: Ranking, state: SessionState, shop: Shop, repeat: bool) -> Iterator[str]:
    known = set() if repeat else {step.subject for step in state.history}
    for _, item_id, _ in ranking.candidates.walk():
        item = shop.items.get(item_id)
        if item is None or not sellable(item) or item_id in known:
            continue
        if not was_bought(state, item_id) and not (state.cart and in_cart(state, item_id)):
            yield item_id
