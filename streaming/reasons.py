"""Why an item is offered: truthfully, from the parts of its score.

The part that adds most gives the reason, if what it would say holds: "near" needs a step of the session that is in
fact near, "together" and "neighbours" a pair that two visitors at least have shown, "cold" such a pair of an item that
is near, "fact" and "path" facts of the graph, "popular" that many came. Where it does not hold, the next part is asked;
where none does, there is no reason rather than a false one. Nothing is a reason for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np

from encoders.graph.facts import YES, Fact, label, relation_words
from index.exact import inner
from streaming.items import Shop, Vector, Words
from streaming.ranking import PARTS, Candidate
from streaming.records import Reason
from streaming.sentences import Thing, Wording, say
from streaming.sessions import Step

NEAR = 0.2
"""Least cosine that may be called near: whitened vectors of unrelated texts lie around 0."""
VISITORS = 2
"""Least visitors that must have shown a pair before it is cited."""
SHARING = 5
"""Newest items of the session with which a fact may be shared."""
LINKED = 2
"""Newest items of the session from which a path may lead; they cost most."""
POPULAR = 0.5
"""Least popularity that may be called so, 1 being that of the most popular item, on a logarithmic scale."""


class _Read(NamedTuple):
    """A step of the session, with what may be said of it."""

    step: Step
    words: str | None


class _Seen:
    """A session, newest first, and what is offered to it. Vectors are looked up when something is to be called near."""

    def __init__(self, history: Sequence[Step], words: Words, offers: Sequence[Candidate], shop: Shop) -> None:
        self.steps = [_Read(step, said) for step, said in zip(history, words, strict=True)][::-1]
        self._offers, self._shop = offers, shop

    @cached_property
    def near(self) -> dict[str, Vector]:
        """Of each offer, the cosines of its text with the steps of `texts`, (known,)."""
        ids = [offer.item_id for offer in self._offers]
        rows = self._shop.index.vectors(self._shop.vocabulary.codes(ids))[:, : self._shop.layout.text]
        return {item_id: inner(self.texts[1], row) for item_id, row in zip(ids, rows, strict=True)}

    @cached_property
    def items(self) -> dict[str, _Read]:
        """The newest step of each item, the newest item first."""
        found: dict[str, _Read] = {}
        for read in self.steps:
            if read.step.item_id is not None:
                found.setdefault(read.step.item_id, read)
        return found

    @cached_property
    def texts(self) -> tuple[list[_Read], Vector]:
        """The steps that have a vector in the space of texts, and (known, text dimension)."""
        width = self._shop.layout.text
        steps, words = [read.step for read in self.steps], tuple(read.words for read in self.steps)
        found = zip(self.steps, self._shop.vectors_of(steps, words), strict=True)
        known = [(read, vector[:width]) for read, vector in found if vector is not None and vector[:width].any()]
        return [read for read, _ in known], np.array([vector for _, vector in known]).reshape(-1, width)


def explain(offers: Sequence[Candidate], history: Sequence[Step], words: Words, shop: Shop) -> list[list[Reason]]:
    """The reasons of each offer, in their order: one, or none where nothing can be said truthfully.

    Args:
        words: of the steps of the history, as `Shop.words_of` gave them.
    """
    seen = _Seen(history, words, offers, shop)
    return [_reasons(offer, seen, shop) for offer in offers]


def _reasons(offer: Candidate, seen: _Seen, shop: Shop) -> list[Reason]:
    for part, weight in sorted(zip(PARTS, offer.parts, strict=True), key=itemgetter(1), reverse=True):
        if weight <= 0:
            break
        reason = _OF[part](offer, seen, shop)
        if reason is not None:
            return [reason]
    return []


def _near(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The nearest thing in the session by its words, the newest of equals."""
    known, cosines = seen.texts[0], seen.near[offer.item_id]
    for place in np.argsort(-cosines, kind="stable").tolist():
        item_id = known[place].step.item_id
        if cosines[place] < NEAR:
            break
        if item_id != offer.item_id:
            return _reason("near", say("near", _thing(known[place], shop)), [item_id] if item_id is not None else [])
    return None


def _together(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The item of the session that the pair's count came from; of a new item, what it borrowed from."""
    return _paired("together", offer.pair, offer, seen, shop) or _borrowed(offer, seen, shop)


def _neighbours(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The item that the visitor shares with those whose sessions had the offer."""
    return _paired("neighbours", offer.alike, offer, seen, shop)


def _paired(
    code: Literal["together", "neighbours"], evidence: int, offer: Candidate, seen: _Seen, shop: Shop
) -> Reason | None:
    if evidence < 0:
        return None
    cited = shop.vocabulary.id(evidence)
    read = seen.items.get(cited)
    if read is None or cited == offer.item_id:
        return None
    if shop.counts.visitors(evidence, shop.vocabulary.code(offer.item_id)) < VISITORS:
        return None
    return _reason(code, say(code, _thing(read, shop)), [cited], visitors=VISITORS)


def _borrowed(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """An item that is hardly known stands in for one that it is near to, which others chose along with an item of the
    session."""
    if offer.pair < 0:
        return None
    cited = shop.vocabulary.id(offer.pair)
    read = seen.items.get(cited)
    if read is None:
        return None
    for like, alike in shop.lenders(shop.vocabulary.code(offer.item_id)):
        if alike >= NEAR and like != offer.pair and shop.counts.visitors(offer.pair, like) >= VISITORS:
            lender = shop.vocabulary.id(like)
            sentence = say("cold", _thing(read, shop), like=_name(lender, shop))
            return _reason("cold", sentence, [cited, lender], visitors=VISITORS)
    return None


def _fact(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The most telling fact that the offer shares with an item of the session, or that joins the two; else a path of
    facts between them."""
    others = [(cited, read) for cited, read in seen.items.items() if cited != offer.item_id][:SHARING]
    shared = [(link, cited) for cited, _ in others for link in shop.graph.shared(offer.item_id, cited, 1)]
    if shared:
        link, cited = max(shared, key=lambda each: each[0].idf)  # of equals the newest item
        thing, fact = _thing(seen.items[cited], shop), link.facts[0]
        if len(link.facts) == 1:
            return _reason("path", say("link", thing, relation=_relation(fact)), [cited], link.facts)
        return _reason("fact", say("fact", thing, fact=_told(fact, shop)), [cited], link.facts)
    for cited, read in others[:LINKED]:
        if path := shop.graph.path(cited, offer.item_id):
            return _reason(
                "path", say("path", _thing(read, shop), through=_way(path, (cited, offer.item_id), shop)), [cited], path
            )
    return None


def _relation(fact: Fact) -> Wording:
    return Wording(relation_words(fact.relation), relation_words(fact.relation, "zh"))


def _told(fact: Fact, shop: Shop) -> Wording:
    """What a fact says of its head, as `brand OPI`; of something that an item is or is not, its name alone."""
    relation = _relation(fact)
    if fact.tail.casefold() == YES:
        return relation
    end = _name(fact.tail, shop)
    return Wording(f"{relation.en} {end}", f"{relation.zh} {end}")


def _way(path: Sequence[Fact], ends: tuple[str, str], shop: Shop) -> str:
    """What a path leads over between its ends, in its order, each once however it is spelled."""
    names: dict[str, str] = {}
    for fact in path:
        for node in (fact.head, fact.tail):
            if node not in ends:
                name = _name(node, shop)
                names.setdefault(name.casefold(), name)
    return ", ".join(names.values())


def _behaviour(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """An item of the session that in fact met the offer: what is alike in use mostly did."""
    for cited in seen.items:
        if reason := _paired("together", shop.vocabulary.code(cited), offer, seen, shop):
            return reason
    return None


def _popular(offer: Candidate, _seen: _Seen, shop: Shop) -> Reason | None:
    code = np.array([shop.vocabulary.code(offer.item_id)], np.int32)
    if shop.counts.prior(code)[0] < POPULAR or shop.counts.seen(code)[0] < VISITORS:
        return None
    return _reason("popular", say("popular"), [])


_OF: dict[str, Callable[[Candidate, _Seen, Shop], Reason | None]] = {
    "counts": _together,
    "neighbours": _neighbours,
    "text": _near,
    "graph": _fact,
    "behaviour": _behaviour,
    "prior": _popular,
}


def _reason(
    code: Literal["near", "together", "neighbours", "cold", "fact", "path", "popular"],
    sentence: Wording,
    items: list[str],
    facts: Sequence[Fact] = (),
    *,
    visitors: int = 0,
) -> Reason:
    return Reason(
        code=code,
        sentence=sentence.en,
        sentence_zh=sentence.zh,
        items=items,
        facts=[list(fact) for fact in facts],
        visitors=visitors,
    )


def _thing(read: _Read, shop: Shop) -> Thing:
    """What the visitor met, by its name where it has one."""
    if read.step.item_id is None:
        return Thing(read.step.subject, read.step.kind, quoted=True)
    return Thing(shop.title_of(read.step.item_id) or read.words, read.step.kind)


def _name(node: str, shop: Shop) -> str:
    """An item by its title, anything else as a person would say it."""
    return shop.title_of(node) or label(node)
