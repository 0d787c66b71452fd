"""Why an item is offered: truthfully, from the parts of its score.

The part that adds most gives the reason, if what it would say holds: "near" needs a step of the session that is in
fact near, "together" a pair that two sessions at least have shown. Where it does not hold, the next part is asked;
where none does, there is no reason rather than a false one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from index.exact import inner
from streaming.items import Shop, Vector
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


def explain(offers: Sequence[Candidate], history: Sequence[Step], shop: Shop) -> list[list[Reason]]:
    """The reasons of each offer, in their order: one, or none where nothing can be said truthfully."""
    known = [(step, vector) for step in reversed(history) if (vector := shop.vector_of(step)) is not None]
    return [_reasons(offer, known, history, shop) for offer in offers]


def _reasons(
    offer: Candidate, known: Sequence[tuple[Step, Vector]], history: Sequence[Step], shop: Shop
) -> list[Reason]:
    parts = {"near": offer.near, "together": offer.together, "popular": offer.prior}
    for part in sorted(parts, key=lambda name: -parts[name]):
        reason = None
        if parts[part] <= 0:
            break
        if part == "near":
            reason = _near(offer, known, shop)
        elif part == "together":
            reason = _together(offer, history, shop)
        else:
            reason = Reason(code="popular", sentence="Popular with visitors of this shop.")
        if reason is not None:
            return [reason]
    return []


def _near(offer: Candidate, known: Sequence[tuple[Step, Vector]], shop: Shop) -> Reason | None:
    """The nearest thing in the session, the newest of equals."""
    vector = shop.index.vector(offer.item_id)
    if vector is None or not known:
        return None
    cosines = inner(np.stack([row for _, row in known]), vector)  # (steps,), newest first
    nearest = int(cosines.argmax())
    if cosines[nearest] < NEAR:
        return None
    step = known[nearest][0]
    return Reason(
        code="near",
        sentence=f"Close to {_named(step, shop)}.",
        items=[step.item_id] if step.item_id is not None else [],
    )


def _together(offer: Candidate, history: Sequence[Step], shop: Shop) -> Reason | None:
    evidence = offer.evidence
    step = next((step for step in reversed(history) if step.item_id == evidence), None)
    if evidence is None or step is None or shop.counts.support(evidence, offer.item_id) < SUPPORT:
        return None
    return Reason(code="together", sentence=f"Others chose it along with {_named(step, shop)}.", items=[evidence])


def _named(step: Step, shop: Shop) -> str:
    """The thing and what the visitor did with it."""
    did = _DID[step.kind]
    if step.item_id is None:
        return f"“{step.subject}”, {did}"
    title = shop.title(step.item_id)
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
