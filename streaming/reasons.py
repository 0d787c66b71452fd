"""Why an item is offered: truthfully, from the parts of its score.

The part that adds most gives the reason, if what it would say holds: "near" needs a step of the session that is in
fact near, "together" a pair that two sessions at least have shown. Where it does not hold, the next part is asked;
where none does, there is no reason rather than a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from index.exact import inner
from streaming.items import Shop, Vector, Words
from streaming.ranking import Candidate
from streaming.records import Reason
from streaming.sessions import Step

NEAR = 0.2
"""Least cosine that may be called near: whitened vectors of unrelated texts lie around 0."""
SUPPORT = 2
"""Least sessions that must have shown a pair before a sentence is founded on it."""
TITLE_CHARS = 60

_DID = {
    "view": "which you viewed",
    "click": "which you looked at",
    "search": "which you searched for",
    "cart_add": "which you put in your cart",
    "purchase": "which you bought",
}


class _Read(NamedTuple):
    """A step of the session, with what may be said of it."""

    step: Step
    words: str | None
    vector: Vector | None


class _Seen(NamedTuple):
    """A session, newest first."""

    steps: list[_Read]
    known: list[_Read]
    """Those that have a vector."""
    vectors: Vector | None
    """(known, dimension); None where there are none."""


def explain(offers: Sequence[Candidate], history: Sequence[Step], words: Words, shop: Shop) -> list[list[Reason]]:
    """The reasons of each offer, in their order: one, or none where nothing can be said truthfully.

    Args:
        words: of the steps of the history, as `Shop.words_of` gave them.
    """
    read = [_Read(step, said, shop.vector_of(step, said)) for step, said in zip(history, words, strict=True)][::-1]
    known = [step for step in read if step.vector is not None]
    seen = _Seen(read, known, np.stack([step.vector for step in known if step.vector is not None]) if known else None)
    return [_reasons(offer, seen, shop) for offer in offers]


def _reasons(offer: Candidate, seen: _Seen, shop: Shop) -> list[Reason]:
    parts = {"near": offer.near, "together": offer.together, "popular": offer.prior}
    for part in sorted(parts, key=lambda name: -parts[name]):
        reason = None
        if parts[part] <= 0:
            break
        if part == "near":
            reason = _near(offer, seen, shop)
        elif part == "together":
            reason = _together(offer, seen, shop)
        else:
            reason = Reason(code="popular", sentence="Popular with visitors of this shop.")
        if reason is not None:
            return [reason]
    return []


def _near(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The nearest thing in the session, the newest of equals."""
    vector = shop.index.vector(offer.item_id)
    if vector is None or seen.vectors is None:
        return None
    cosines = inner(seen.vectors, vector)  # (known,)
    if cosines.max() < NEAR:
        return None
    nearest = seen.known[int(cosines.argmax())]
    item_id = nearest.step.item_id
    return Reason(
        code="near", sentence=f"Close to {_named(nearest, shop)}.", items=[item_id] if item_id is not None else []
    )


def _together(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The item of the session that the pair's count came from."""
    cited = next((step for step in seen.steps if step.step.item_id == offer.evidence), None)
    if offer.evidence is None or cited is None or shop.counts.support(offer.evidence, offer.item_id) < SUPPORT:
        return None
    return Reason(
        code="together", sentence=f"Others chose it along with {_named(cited, shop)}.", items=[offer.evidence]
    )


def _named(known: _Read, shop: Shop) -> str:
    """The thing and what the visitor did with it."""
    did = _DID[known.step.kind]
    if known.step.item_id is None:
        return f"“{known.step.subject}”, {did}"
    item = shop.items.get(known.step.item_id)
    title = item.title if item is not None else known.words
    return f"{_shortened(title)}, {did}" if title else f"an item {did}"


def _shortened(title: str) -> str:
    """At most TITLE_CHARS, cut at a word.

    >>> _shortened("Mug")
    'Mug'
    """
    words = " ".join(title.split())
    if len(words) <= TITLE_CHARS:
        return words
    return words[: TITLE_CHARS - 1].rsplit(" ", 1)[0].rstrip(" ,;:-") + "…"
