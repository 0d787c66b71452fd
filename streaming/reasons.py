"""Why an item is offered: truthfully, from the parts of its score.

The part that adds most gives the reason, if what it would say holds: "near" needs a step of the session that is in
fact near, "together" a pair that two sessions at least have shown. Where it does not hold, the next part is asked;
where none does, there is no reason rather than a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from operator import itemgetter
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


class _Seen:
    """A session, newest first. Its vectors are looked up when something is to be called near."""

    def __init__(self, history: Sequence[Step], words: Words, shop: Shop) -> None:
        self.steps = [_Read(step, said) for step, said in zip(history, words, strict=True)][::-1]
        self._shop = shop

    @cached_property
    def items(self) -> dict[str, _Read]:
        """The newest step of each item."""
        return {read.step.subject: read for read in reversed(self.steps) if read.step.item_id is not None}

    @cached_property
    def known(self) -> tuple[list[_Read], Vector | None]:
        """The steps that have a vector, and (known, dimension); None where there are none."""
        found = [(read, self._shop.vector_of(read.step, read.words)) for read in self.steps]
        known = [(read, vector) for read, vector in found if vector is not None]
        return [read for read, _ in known], np.array([vector for _, vector in known]) if known else None


def explain(offers: Sequence[Candidate], history: Sequence[Step], words: Words, shop: Shop) -> list[list[Reason]]:
    """The reasons of each offer, in their order: one, or none where nothing can be said truthfully.

    Args:
        words: of the steps of the history, as `Shop.words_of` gave them.
    """
    seen = _Seen(history, words, shop)
    return [_reasons(offer, seen, shop) for offer in offers]


def _reasons(offer: Candidate, seen: _Seen, shop: Shop) -> list[Reason]:
    parts = (offer.near, "near"), (offer.together, "together"), (offer.prior, "popular")
    for weight, part in sorted(parts, key=itemgetter(0), reverse=True):  # of equals the first stays first
        reason = None
        if weight <= 0:
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
    vector, (known, vectors) = shop.index.vector(offer.item_id), seen.known
    if vector is None or vectors is None:
        return None
    cosines = inner(vectors, vector)  # (known,)
    place = int(cosines.argmax())
    if cosines[place] < NEAR:
        return None
    nearest = known[place]
    item_id = nearest.step.item_id
    return Reason(
        code="near", sentence=f"Close to {_named(nearest, shop)}.", items=[item_id] if item_id is not None else []
    )


def _together(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The item of the session that the pair's count came from."""
    cited = seen.items.get(offer.evidence) if offer.evidence is not None else None
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
