"""From a session to a ranked list: candidates of several sources, one score that is the exact sum of its parts, and
what may be offered of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np

from index.candidates import Column, Evidence, best_first, complete, join, numbers_of, weighed
from index.lesson import Together
from index.links import Linked, most
from index.vocabulary import Codes, Vocabulary
from streaming import bloom, said
from streaming.errors import InputError
from streaming.items import Shop, Vector, Words
from streaming.records import Level, Reason
from streaming.reranking import COLD, FADING, ON_THE_RISE, PARTS, reordered, shortlist
from streaming.sessions import SessionState, Step, was_bought
from streaming.shelf import Barred, Places, pick, sellable
from streaming.sights import Sight

_COUNTS, _NEIGHBOURS, _TEXT, _GRAPH, _BEHAVIOUR, _SEQUENCE, _PRIOR = range(len(PARTS))
DIGITS = 9
"""Of a score, so that sums of other roundings are equal."""
HISTORY = 20
"""Newest items of a session that are looked at."""

_NOTHING = Together(np.empty(0, np.int32), np.empty(0), np.empty(0, np.int32))


@dataclass(frozen=True)
class RankingSettings:
    """Where candidates come from and what each part weighs; a model folder brings those that suit its shop.

    z = sum of weight * part. Parts: `counts` and `neighbours` shares of what followed the history, `text`, `graph` and
    `behaviour` cosines with the session, where positive, `sequence` that with what a network expects next, `prior` log
    popularity; each from 0 to 1.
    """

    counts: float = 1.0
    neighbours: float = 0.5
    text: float = 0.8
    graph: float = 0.1
    behaviour: float = 0.0
    sequence: float = 0.1
    prior: float = 0.05
    """Weights of the parts. Enough of `prior` to order what nothing else orders."""
    decay: float = 0.6
    """What a step of the history weighs against the one after it, for counts."""
    nearest: int = 100
    together: int = 100
    alike: int = 100
    popular: int = 50
    rising: int = ON_THE_RISE
    linked: int = 100
    cold: int = COLD
    """Candidates of each source: the index, counts, neighbours, popularity, sessions on the rise, facts of items, items
    that hardly anybody has had."""
    repeat: bool = False
    """Whether an item of the history may be offered again."""
    brand_share: float = 0.5
    """Of the items of a prediction, the most that are of one brand, where there are others."""

    def __post_init__(self) -> None:
        weights = self.weights
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise InputError(f"ranking weights {weights.tolist()}, expected finite numbers of at least 0")
        if not 0 < self.decay <= 1 or not 0 < self.brand_share <= 1:
            raise InputError(f"decay {self.decay}, brand_share {self.brand_share}, expected above 0, at most 1")

    @cached_property
    def weights(self) -> Column:
        """(parts,), in the order of PARTS; read only."""
        weights = np.array([getattr(self, part) for part in PARTS], np.float64)
        weights.flags.writeable = False
        return weights

    @cached_property
    def query_weights(self) -> Vector:
        """(5,): of text, graph, behaviour, sequence and prior, which a query to the index carries."""
        return self.weights[_TEXT:].astype(np.float32)

    @classmethod
    def of(cls, shop: Shop) -> RankingSettings:
        """The defaults, with what the shop's model brings on top.

        Raises:
            InputError: the model brings a setting that is none.
        """
        known = {entry.name for entry in fields(cls)}
        if strange := sorted(shop.ranking.keys() - known):
            raise InputError(f"model {shop.model}: ranking settings {strange}, expected {sorted(known)}; build it anew")
        return cls(**shop.ranking)  # type: ignore[arg-type]


class Candidate(NamedTuple):
    """An item with its score and the parts it is made of."""

    item_id: str
    score: float
    """From 0 to 1; a probability where it is calibrated."""
    z: float = 0.0
    parts: tuple[float, ...] = (0.0,) * len(PARTS)
    """Each weighed; in the order of PARTS; their sum is z, where no forest ranked once more."""
    pair: int = -1
    alike: int = -1
    """The items of the history, by number, that `counts` and `neighbours` owe most to; -1: none."""
    code: int = -1
    """Its number; -1: it has none."""


@dataclass(frozen=True)
class Scored:
    """Candidates as columns, in no order of their own. Of some 300 a few dozen are looked at, and ten are offered."""

    vocabulary: Vocabulary
    codes: Codes
    z: Column
    scores: Column
    parts: Column
    """(candidates, parts), weighed."""
    evidence: Evidence
    """(2, candidates): as `Candidate.pair` and `Candidate.alike`."""

    @cached_property
    def order(self) -> Places:
        """Places, best first, ties by item id; read only."""
        return best_first(self.z, self.codes, self.vocabulary)

    def at(self, places: Places) -> list[Candidate]:
        """The candidates that stand there."""
        numbers, evidence = numbers_of(places, self.scores, self.z, self.parts, self.evidence)
        codes: list[int] = self.codes[places].tolist()
        told = zip(codes, self.vocabulary.ids(codes), numbers.tolist(), evidence.tolist(), strict=True)
        return [
            Candidate(item_id, score, z, tuple(parts), pair, alike, code)
            for code, item_id, (score, z, *parts), (pair, alike) in told
        ]

    def __iter__(self) -> Iterator[Candidate]:
        """Best first."""
        return iter(self.at(self.order))


@dataclass(frozen=True)
class Common(Scored):
    """Candidates of popularity alone, the same for many sessions: each is made an object once, and explained once."""

    made: dict[int, Candidate] = field(default_factory=dict)
    """By place."""
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    """By item; see `streaming.reasons.explain_common`."""

    @classmethod
    def of(cls, scored: Scored) -> Common:
        """The same candidates."""
        return cls(*(getattr(scored, each.name) for each in fields(Scored)))

    def at(self, places: Places) -> list[Candidate]:
        """As `Scored.at`."""
        asked = places.tolist()
        if new := [place for place in asked if place not in self.made]:
            self.made.update(zip(new, super().at(np.array(new)), strict=True))
        return [self.made[place] for place in asked]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Everything that could be said now; nothing is filtered yet."""

    candidates: Scored
    level: Level
    """`full` where the session's vector had its say, `graph` where tables alone had, else `popular`."""
    words: Words = ()
    """What the steps of the history were read as, for the reasons."""
    calibrated: bool = False
    """Whether scores are probabilities."""
    shift: float | None = None
    """As `Sight.shift`."""
    context: tuple[float, ...] = ()
    """As `Raw.context`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What may be offered of a ranking."""

    offers: list[Candidate]
    """At most as many as asked for."""
    gone: list[Candidate]
    """Where there are no offers: those that would be, had they not been bought or gone out of stock."""
    head: Candidate | None
    """The best of those not gone, within the cool-down or not; where all are gone, the best of them."""
    live: float
    """Score, now, of the best offer that is still live; 0: none is, or only ones too far below to matter."""

    @property
    def gain(self) -> float:
        """How much the best offer scores above the best that the visitor still has."""
        best = self.offers or self.gone
        return best[0].score - self.live if best else 0.0


class Raw(NamedTuple):
    """Candidates with their parts, not weighed yet."""

    codes: Codes
    parts: Column
    """(candidates, parts), each from 0 to 1."""
    evidence: Evidence
    """(2, candidates): as `Candidate.pair` and `Candidate.alike`."""
    context: tuple[float, ...]
    """What the session as a whole says of how sure the best are, for the calibration; `gating.CONTEXT`."""
    seen: bool
    """The session's vector had its say."""
    known: Codes
    """Items of the history, oldest first."""
    linked: Linked
    """What facts join with them."""


def gather(
    history: Sequence[tuple[str, float]], sight: Sight, nearest: Codes, shop: Shop, settings: RankingSettings, own: int
) -> Raw:
    """Joins the candidates of index, counts, neighbours, popularity, sessions and facts, with all parts of each.

    Args:
        history: items with their weights, newest last.
        nearest: what `streaming.sights.search` found for the session.
        own: the tag of the session, which is no neighbour of its own.
    """
    known = [(code, weight) for item_id, weight in history if (code := shop.vocabulary.code(item_id)) >= 0]
    steps = np.array([code for code, _ in known], np.int32)
    counts = shop.counts.together(steps, np.array([weight for _, weight in known]), settings.together)
    alike = shop.knn.scores(steps, settings.alike, exclude=own) if settings.neighbours else _NOTHING
    linked = shop.links.around(steps, fading=FADING)
    others = (shop.popular(settings.popular), shop.knn.rising(settings.rising), most(linked, settings.linked))
    codes, parts, evidence = join(counts, alike, np.concatenate((nearest, *others)), len(PARTS))
    cosines = shop.index.products(codes, sight.vector, shop.layout.blocks)  # 0 where the sight is blank
    best = complete(parts, cosines, shop.counts.prior(codes))
    return Raw(codes, parts, evidence, (*best, math.log1p(len(history))), not sight.blank, steps, linked)


def weigh(raw: Raw, shop: Shop, settings: RankingSettings, sight: Sight) -> Ranking:
    """Scores the candidates: z as the sum of the weighed parts, the best ranked once more where the shop has a forest
    for it, and from z the score, by the shop's calibration."""
    parts, z = weighed(raw.parts, settings.weights, DIGITS)  # (candidates, parts), (candidates,)
    z = ranked(raw, z, shop)
    scores = shop.calibration.apply(z, raw.context)
    level: Level = "popular"
    if raw.seen:
        level = "full"
    elif raw.parts[:, : _NEIGHBOURS + 1].any():
        level = "graph"
    scored = Scored(shop.vocabulary, raw.codes, z, scores, parts, raw.evidence)
    return Ranking(scored, level, sight.words, shop.calibration.calibrated, sight.shift, raw.context)


def ranked(raw: Raw, z: Column, shop: Shop) -> Column:
    """What candidates are ordered by, given the sums of their weighed parts; both (candidates,)."""
    if shop.forest is None:
        return z
    best = shortlist(raw.codes, raw.parts, z, raw.known, raw.linked, shop)
    return reordered(z, best.places, best.rows, shop.forest)


def decayed(history: Sequence[Step], decay: float) -> list[tuple[str, float]]:
    """The items of a history with their weights, newest last: 1 for the newest, `decay` for each step back."""
    items = [step.subject for step in history if step.item_id is not None]
    return weighted(items, decay)


def weighted(items: Sequence[str], decay: float) -> list[tuple[str, float]]:
    """Items, newest last, of which the last `HISTORY` are kept, with their weights.

    >>> weighted(["a", "b"], 0.5)
    [('a', 0.5), ('b', 1.0)]
    """
    newest = items[-HISTORY:]
    return [(item_id, decay ** (len(newest) - 1 - place)) for place, item_id in enumerate(newest)]


def select(
    ranking: Ranking,
    state: SessionState,
    shop: Shop,
    *,
    time: int,
    count: int,
    cooldown_ms: int,
    repeat: bool,
    enough: float,
    brand_share: float,
    lead: str | None = None,
) -> Selection:
    """Walks down a ranking until there are `count` offers, and the gain over what is live is known or `enough`.

    Never offered: an item that the catalogue does not have, that is unavailable or out of stock, that was bought in
    this session, that stands in its cart, that was sent within the cool-down, or, unless `repeat`, that is in the
    history. An item of a brand that has its share already is offered only where there is nothing else.

    Args:
        lead: the item that gave the occasion: it comes first, be it in the cart or in the history; where it may not be
            offered, nothing is.
    """
    candidates, codes = ranking.candidates, ranking.candidates.codes
    sets = said.barred(state.said, time, cooldown_ms)
    leads: list[Candidate] = []
    leading = None
    if lead is not None:
        code, item = shop.vocabulary.code(lead), shop.items.get(lead)
        leads = candidates.at(np.flatnonzero(codes == code)) or [Candidate(lead, 0.0, code=code)]
        if item is None or was_bought(state, lead) or not sellable(item):
            return Selection([], leads, leads[0], 0.0)
        if any(bloom.contains(each, lead) for each in sets):
            return Selection([], [], None, 0.0)
        leading = code, leads[0].score
    picked = pick(
        candidates.order,
        codes,
        candidates.scores,
        shop.shelf,
        barred(state, shop.vocabulary, sets, repeat=repeat),
        count=count,
        brand_share=brand_share,
        standing=state.said.offered if said.live(state.said, time) else b"",
        enough=enough,
        lead=leading,
    )
    if picked.head < 0:  # nothing but what leads
        left = [] if leads else candidates.at(picked.gone)
        return Selection(leads, left, left[0] if left else None, picked.live)
    places = picked.offers[len(leads) :]
    others = candidates.at(places)
    first = len(others) > 0 and places[0] == picked.head
    head = others[0] if first else candidates.at(np.array([picked.head]))[0]
    return Selection(leads + others, [], head, picked.live)


def barred(state: SessionState, vocabulary: Vocabulary, told: Sequence[bytes] = (), *, repeat: bool) -> Barred:
    """What may not be offered to a session.

    Args:
        told: Bloom filters of what was sent of late.
        repeat: whether an item of the history may be offered again.
    """
    known = [] if repeat else [step.subject for step in state.history]
    return Barred(vocabulary.codes(known), state.bought, state.cart, told)
