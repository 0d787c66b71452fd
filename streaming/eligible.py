"""The head of a ranking as it stood before the throttle: what measures how good the ranking itself is."""

from __future__ import annotations

from streaming.items import Shop
from streaming.ranking import Ranking, barred
from streaming.sessions import SessionState
from streaming.shelf import pick


def head_of(ranking: Ranking, state: SessionState, shop: Shop, *, count: int, repeat: bool) -> tuple[str, ...]:
    """The best items that may be offered at all, at most `count`, best first.

    Left out is what no prediction may hold for lasting reasons: what the catalogue does not have or cannot sell, what
    was bought or stands in the cart, and, unless `repeat`, what the history has. What was sent of late stays in.
    """
    candidates, closed = ranking.candidates, barred(state, shop.vocabulary, repeat=repeat)
    picked = pick(
        candidates.order,
        candidates.codes,
        candidates.scores,
        shop.shelf,
        closed,
        count=count,
        brand_share=1.0,
    )
    return tuple(shop.vocabulary.ids(candidates.codes[picked.offers]))
