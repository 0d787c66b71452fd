"""Why an item is offered: truthfully, from the parts of its score.

The part that adds most gives the reason, if what it would say holds: "near" needs a step of the session that is in
fact near, "together" and "neighbours" a pair that two visitors at least have shown, "cold" such a pair of an item that
is near, "fact" and "path" facts of the graph, "popular" that many came; so a pair that comes no oftener than its item
comes with anything is told as popular. Where it does not hold, the next part is asked; where none does, there is no
reason rather than a false one. Nothing is a reason for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from encoders.graph.adjacency import Around
from encoders.graph.facts import YES, Fact, label, relation_words
from index.rows import nearest
from streaming.items import Shop, Words
from streaming.ranking import Candidate, Common
from streaming.records import Reason
from streaming.reranking import PARTS
from streaming.sentences import Thing, Wording, say
from streaming.sessions import KINDS, Step

NEAR = 0.2
"""Least cosine that may be called near: whitened vectors of unrelated texts lie around 0."""
NEWEST = 3
"""Newest things of the session that an offer may be called near to: what is older hardly moves a ranking by words."""
VISITORS = 2
"""Least visitors that must have shown a pair before it is cited."""
LIFT = 1.5
"""Least lift of a pair that is cited: below it the session had little to do with the offer."""
SHARING = 5
"""Newest items of the session with which a fact may be shared."""
LINKED = 2
"""Newest items of the session from which a path may lead; they cost most."""
NAMES_KEPT = 8192
"""Names of entities and relations as a person would say them that are remembered."""
POPULAR = 0.5
"""Least popularity that may be called so, 1 being that of the most popular item, on a logarithmic scale."""

_SEARCH = KINDS.index("search")


_Cited = Literal["near", "together", "neighbours"]
"""Codes of reasons that name a step of the session and nothing else."""


class _Seen:
    """A session, newest first, and what is offered to it. Vectors are looked up when something is to be called near.
    What several offers have in common is put into words once."""

    def __init__(self, history: Sequence[Step], words: Words, offers: Sequence[Candidate], shop: Shop) -> None:
        self.steps, self._words = history[::-1], words[::-1]
        self.items: dict[str, int] = {}
        """The newest step of each item, by its place; the newest item first."""
        for place, step in enumerate(self.steps):
            if step.number != _SEARCH:
                self.items.setdefault(step.subject, place)
        self._newest = tuple(self.items)[:SHARING]
        self._offers, self._shop = offers, shop
        self._around: dict[tuple[str, ...], Around] = {}
        self._things: dict[int, Thing] = {}
        self._reasons: dict[tuple[_Cited, int], Reason] = {}
        self._shared: dict[tuple[int, str, str], Wording] = {}

    def thing(self, place: int) -> Thing:
        """What the visitor met at a step, by its name where it has one."""
        thing = self._things.get(place)
        if thing is None:
            step = self.steps[place]
            if step.number == _SEARCH:
                thing = Thing(step.subject, step.kind, quoted=True)
            else:
                thing = Thing(self._shop.title_of(step.subject) or self._words[place], step.kind)
            self._things[place] = thing
        return thing

    @cached_property
    def codes(self) -> list[int]:
        """The numbers of `items`."""
        return [self._shop.vocabulary.code(cited) for cited in self.items]

    def others(self, item_id: str) -> tuple[str, ...]:
        """The newest items but this one, newest first, SHARING at most."""
        if item_id not in self._newest:
            return self._newest
        return tuple(cited for cited in self.items if cited != item_id)[:SHARING]

    def around(self, others: tuple[str, ...]) -> Around:
        """What these lead to in the graph; most offers ask for the same."""
        around = self._around.get(others)
        if around is None:
            around = self._around[others] = self._shop.graph.around(others)
        return around

    @cached_property
    def near(self) -> dict[str, int]:
        """Of each offer the step that its text is nearest to, of those on the newest things, the newest of equals; -1:
        none is near. The offer's own steps are passed over. One look into the index, and no matrix product: its last
        digits would depend on how many there are."""
        vocabulary, shop = self._shop.vocabulary, self._shop
        things: dict[tuple[bool, str], int] = {}
        for place, step in enumerate(self.steps):
            things.setdefault((step.number == _SEARCH, step.subject), place)
            if len(things) == NEWEST:
                break
        places = list(things.values())
        steps, count = [self.steps[place] for place in places], len(places)
        met = [-1 if step.number == _SEARCH else vocabulary.code(step.subject) for step in steps]
        codes = np.array([*met, *[offer.code for offer in self._offers]], np.int32)
        rows = shop.index.vectors(codes, shop.layout.text)  # (steps + offers, text dimension)
        if worded := [at for at, place in enumerate(places) if self._words[place]]:
            words = tuple(self._words[places[at]] for at in worded)
            rows[worded] = shop.vectors_of([steps[at] for at in worded], words)[1][:, : shop.layout.text]
        found = nearest(rows[count:], codes[count:], rows[:count], codes[:count], NEAR)  # (offers,)
        places.append(-1)  # where none is found
        return {offer.item_id: places[at] for offer, at in zip(self._offers, found.tolist(), strict=True)}

    @cached_property
    def popular(self) -> set[str]:
        """Those of the offers that may be called so."""
        codes, counts = np.array([offer.code for offer in self._offers], np.int32), self._shop.counts
        popular = (counts.prior(codes) >= POPULAR) & (counts.seen(codes) >= VISITORS)
        return {offer.item_id for offer, so in zip(self._offers, popular.tolist(), strict=True) if so}

    def cite(self, code: _Cited, place: int) -> Reason:
        """The reason that names this step and nothing else."""
        reason = self._reasons.get((code, place))
        if reason is None:
            cited = self.steps[place].item_id
            items, visitors = [] if cited is None else [cited], 0 if code == "near" else VISITORS
            reason = _reason(code, say(code, self.thing(place)), items, visitors=visitors)
            self._reasons[code, place] = reason
        return reason

    def shares(self, place: int, fact: Fact) -> Wording:
        """The sentence that an offer has this in common with what stands at a step."""
        key = place, fact.relation, fact.tail
        sentence = self._shared.get(key)
        if sentence is None:
            sentence = self._shared[key] = say("fact", self.thing(place), fact=_told(fact, self._shop))
        return sentence


def explain(offers: Sequence[Candidate], history: Sequence[Step], words: Words, shop: Shop) -> list[list[Reason]]:
    """The reasons of each offer, in their order: one, or none where nothing can be said truthfully.

    Args:
        words: of the steps of the history, as `Shop.words_of` gave them.
    """
    seen = _Seen(history, words, offers, shop)
    return [_reasons(offer, seen, shop) for offer in offers]


def explain_common(common: Common, offers: Sequence[Candidate], shop: Shop) -> list[list[Reason]]:
    """The same of what many sessions are offered: popularity is no session's, so each offer is looked at once."""
    told = common.reasons
    if new := [offer for offer in offers if offer.item_id not in told]:
        told.update(zip([offer.item_id for offer in new], explain(new, (), (), shop), strict=True))
    return [told[offer.item_id] for offer in offers]


def _reasons(offer: Candidate, seen: _Seen, shop: Shop) -> list[Reason]:
    parts = list(offer.parts)
    while (most := max(parts)) > 0:
        place = parts.index(most)
        reason = _ASKED[place](offer, seen, shop)
        if reason is not None:
            return [reason]
        parts[place] = 0.0
    return []


def _near(offer: Candidate, seen: _Seen, _shop: Shop) -> Reason | None:
    """The nearest thing in the session by its words, the newest of equals."""
    place = seen.near[offer.item_id]
    return seen.cite("near", place) if place >= 0 else None


def _together(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The item of the session that the pair's count came from; of a new item, what it borrowed from."""
    return _paired("together", offer.pair, offer, seen, shop) or _borrowed(offer, seen, shop)


def _neighbours(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The item that the visitor shares with those whose sessions had the offer."""
    return _paired("neighbours", offer.alike, offer, seen, shop)


def _paired(
    code: Literal["together", "neighbours"], evidence: int, offer: Candidate, seen: _Seen, shop: Shop
) -> Reason | None:
    """The pair of an item of the session, by number, and the offer; popularity where that is all it comes to."""
    pair = shop.counts.first_pair([evidence], offer.code, visitors=VISITORS)
    if pair is None:
        return None
    return _popular(offer, seen, shop) if pair.lift < LIFT else _cited(code, evidence, seen, shop)


def _cited(code: Literal["together", "neighbours"], evidence: int, seen: _Seen, shop: Shop) -> Reason | None:
    place = seen.items.get(shop.vocabulary.id(evidence))
    return None if place is None else seen.cite(code, place)


def _borrowed(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """An item that is hardly known stands in for one that it is near to, which others chose along with an item of the
    session."""
    if offer.pair < 0:
        return None
    cited = shop.vocabulary.id(offer.pair)
    place = seen.items.get(cited)
    if place is None:
        return None
    for like, alike in shop.lenders(offer.code):
        if alike >= NEAR and shop.counts.first_pair([offer.pair], like, visitors=VISITORS) is not None:
            lender = shop.vocabulary.id(like)
            sentence = say("cold", seen.thing(place), like=_name(lender, shop))
            return _reason("cold", sentence, [cited, lender], visitors=VISITORS)
    return None


def _fact(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """The most telling fact that the offer shares with an item of the session, or that joins the two; else a path of
    facts between them."""
    others = seen.others(offer.item_id)
    if found := seen.around(others).link(offer.item_id):
        facts, cited = found
        place, fact = seen.items[cited], facts[0]
        if len(facts) == 1:
            return _reason("path", say("link", seen.thing(place), relation=_relation(fact.relation)), [cited], facts)
        return _reason("fact", seen.shares(place, fact), [cited], facts)
    for cited in others[:LINKED]:
        if path := shop.graph.path(cited, offer.item_id):
            thing, through = seen.thing(seen.items[cited]), _way(path, (cited, offer.item_id), shop)
            return _reason("path", say("path", thing, through=through), [cited], path)
    return None


@lru_cache(maxsize=NAMES_KEPT)
def _relation(relation: str) -> Wording:
    return Wording(relation_words(relation), relation_words(relation, "zh"))


def _told(fact: Fact, shop: Shop) -> Wording:
    """What a fact says of its head, as `brand OPI`; of something that an item is or is not, its name alone."""
    return _relation(fact.relation) if fact.tail.casefold() == YES else _ending(fact.relation, _name(fact.tail, shop))


@lru_cache(maxsize=NAMES_KEPT)
def _ending(relation: str, end: str) -> Wording:
    words = _relation(relation)
    return Wording(f"{words.en} {end}", f"{words.zh} {end}")


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
    pair = shop.counts.first_pair(seen.codes, offer.code, visitors=VISITORS, lift=LIFT)
    return None if pair is None else _cited("together", seen.codes[pair.place], seen, shop)


def _sequence(offer: Candidate, seen: _Seen, shop: Shop) -> Reason | None:
    """What a network expects next is told by what bears it out: a pair that met, else what is near in words."""
    return _behaviour(offer, seen, shop) or _near(offer, seen, shop)


def _popular(offer: Candidate, seen: _Seen, _shop: Shop) -> Reason | None:
    return _POPULAR if offer.item_id in seen.popular else None


_OF: dict[str, Callable[[Candidate, _Seen, Shop], Reason | None]] = {
    "counts": _together,
    "neighbours": _neighbours,
    "text": _near,
    "graph": _fact,
    "behaviour": _behaviour,
    "sequence": _sequence,
    "prior": _popular,
}
_ASKED = tuple(_OF[part] for part in PARTS)


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


_POPULAR = _reason("popular", say("popular"), [])


def _name(node: str, shop: Shop) -> str:
    """An item by its title, anything else as a person would say it."""
    return shop.title_of(node) or _label(node)


_label = lru_cache(maxsize=NAMES_KEPT)(label)
