"""Candidates with the parts a test wants, and the reason each is given."""

from __future__ import annotations

from streaming.items import Shop
from streaming.ranking import Candidate
from streaming.reasons import explain
from streaming.records import Reason
from streaming.reranking import PARTS
from streaming.sessions import KINDS, Step


def steps(*seen: tuple[str, str]) -> tuple[Step, ...]:
    """A history of kinds and what they were done to."""
    return tuple(Step(n, n, KINDS.index(kind), subject) for n, (kind, subject) in enumerate(seen))


def offer(shop: Shop, item_id: str, *, pair: str = "", alike: str = "", **parts: float) -> Candidate:
    """A candidate with these parts, each weighed; `pair` and `alike`: what counts and neighbours owe most to."""
    weighed = tuple(parts.get(part, 0.0) for part in PARTS)
    z = sum(weighed)
    return Candidate(item_id, z, z, weighed, *(shop.vocabulary.code(each) for each in (pair, alike, item_id)))


def reason(shop: Shop, candidate: Candidate, history: tuple[Step, ...]) -> Reason | None:
    """The one reason of a candidate."""
    (reasons,) = explain([candidate], history, shop.words_of(history), shop)
    assert len(reasons) <= 1
    return reasons[0] if reasons else None


def code(shop: Shop, candidate: Candidate, history: tuple[Step, ...]) -> str | None:
    """Its code."""
    found = reason(shop, candidate, history)
    return None if found is None else found.code
