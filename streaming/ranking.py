"""From a session to a ranked list: candidates of three sources, one score, and what may be offered of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.exact import Vectors
from streaming import said
from streaming.errors import InputError
from streaming.items import Shop, Words, sellable
from streaming.records import Level
from streaming.sessions import SessionState, Step, in_cart, was_bought


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """Where candidates come from and what each part weighs.

    score = 1 - exp(-(together * t + near * n + prior * p)), t, n, p from 0 to 1 (t: relative to the best neighbour):
    monotone, from 0 to 1, and no probability until it is calibrated. Counts and four fifths of text are what measured
    best without training; a model folder may bring weights of its own.
    """

    together: float = 1.0
    """Weight of co-occurrence with the history."""
    near: float = 0.8
    """Weight of the cosine of item and session, where it is positive."""
    prior: float = 0.05
    """Weight of popularity: enough to order what nothing else orders."""
    decay: float = 0.6
    """What a step of the history weighs against the one after it, for co-occurrence."""
    nearest: int = 100
    neighbours: int = 100
    popular: int = 50
    """Candidates of each source."""
    repeat: bool = False
    """Whether an item of the history may be offered again."""

    @classmethod
    def of(cls, shop: Shop) -> RankingSettings:
        """The defaults, with the weights on top that the shop's model brings.

        Raises:
            InputError: the model brings a weight that is none.
        """
        try:
            return cls(**shop.weights)  # type: ignore[arg-type]
        except TypeError as exc:
            raise InputError(
                f"model {shop.model}: ranking weights {shop.weights}, expected names of RankingSettings; build it anew"
            ) from exc


class Candidate(NamedTuple):
    """An item with its score and the parts it is made of, each already weighed."""

    item_id: str
    score: float
    near: float = 0.0
    together: float = 0.0
    prior: float = 0.0
    evidence: str | None = None
    """The item of the history that `together` owes most to."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates as columns, in no order of their own. Iterating gives them best first, ties by item id, each made as
    it is asked for: of some 200, a dozen are looked at."""

    item_ids: list[str]
    scores: NDArray[np.float64]
    near: NDArray[np.float64]
    together: NDArray[np.float64]
    prior: NDArray[np.float64]
    evidence: Mapping[str, str]
    """By item id, where `together` has any."""

    def __iter__(self) -> Iterator[Candidate]:
        ids, scores = self.item_ids, self.scores.tolist()
        order = np.argsort(-self.scores).tolist()
        for _, equals in groupby(order, key=scores.__getitem__):
            for place in sorted(equals, key=ids.__getitem__):
                yield Candidate(
                    ids[place],
                    scores[place],
                    float(self.near[place]),
                    float(self.together[place]),
                    float(self.prior[place]),
                    self.evidence.get(ids[place]),
                )


@dataclass(frozen=True, slots=True)
class Ranking:
    """Everything that could be said now; nothing is filtered yet."""

    candidates: Iterable[Candidate]
    """Best first, ties by item id; may be gone through more than once."""
    level: Level
    """`full` where the session's vector had its say, `graph` where counts alone had, else `popular`."""
    words: Words = ()
    """What the steps of the history were read as, for the reasons."""
    shift: float | None = None
    """As `Sight.shift`."""


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


class Sight(NamedTuple):
    """A session as the encoder sees it."""

    vector: Vectors
    """(dimension,); zeros: nothing is known of what it saw."""
    words: Words
    """What the steps of its history were read as."""
    shift: float | None = None
    """Cosine of the vector with its slow mean; None: not known."""


def rank(state: SessionState, sight: Sight, nearest: Sequence[str], shop: Shop, settings: RankingSettings) -> Ranking:
    """Joins the candidates of index, counts and popularity, and scores them.

    Args:
        nearest: the items nearest to it, in any order.
    """
    popular = shop.popular()
    neighbours = shop.counts.together(decayed(state.history, settings.decay), settings.neighbours)
    # Shares of pairs are small numbers: beside a cosine they count only on the scale of the best of them.
    best = neighbours.scores.max(initial=0.0)
    together, evidence = {}, {}
    if best > 0:
        together = dict(zip(neighbours.item_ids, (neighbours.scores / best).tolist(), strict=True))
        evidence = dict(zip(neighbours.item_ids, neighbours.evidence, strict=True))
    ids = list({*nearest, *together, *islice(popular, settings.popular)})
    near = shop.index.cosines(ids, sight.vector) if sight.vector.any() else {}
    n = settings.near * _column(near, ids).clip(0, 1)  # (candidates,) each
    t = settings.together * _column(together, ids)
    p = settings.prior * _column(popular, ids)
    scores = -np.expm1(-(n + t + p)).round(6)
    level: Level = "full" if near else "graph" if together else "popular"
    return Ranking(Scored(ids, scores, n, t, p, evidence), level, sight.words, sight.shift)


def decayed(history: Sequence[Step], decay: float) -> list[tuple[str, float]]:
    """The items of a history with their weights, newest last: 1 for the newest, `decay` for each step back."""
    items = [step.subject for step in history if step.item_id is not None]
    return [(item_id, decay ** (len(items) - 1 - place)) for place, item_id in enumerate(items)]


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
    lead: str | None = None,
) -> Selection:
    """Walks down a ranking until there are `count` offers, and the gain over what is live is known or `enough`.

    Never offered: an item that the catalogue does not have, that is unavailable or out of stock, that was bought in
    this session, that stands in its cart, that was sent within the cool-down, or, unless `repeat`, that is in the
    history.

    Args:
        lead: comes first, be it in the cart or in the history; where it may not be offered, nothing is.
    """
    told = state.said
    known = set() if repeat else {step.subject for step in state.history}
    is_live = said.live(told, time)
    barred = said.barred(told, time, cooldown_ms)
    offers: list[Candidate] = []
    gone: list[Candidate] = []
    head: Candidate | None = None
    live = 0.0
    if lead is not None:
        first = next((each for each in ranking.candidates if each.item_id == lead), Candidate(lead, 0.0))
        item = shop.items.get(lead)
        if item is None or was_bought(state, lead) or not sellable(item):
            return Selection([], [first], first, live)
        if lead in barred:
            return Selection([], [], None, live)
        offers.append(first)
        known = {*known, lead}
    for candidate in ranking.candidates:
        item_id = candidate.item_id
        item = shop.items.get(item_id)
        if item is None:
            continue
        if was_bought(state, item_id):
            gone.append(candidate)
            continue
        if item_id in known or (state.cart and in_cart(state, item_id)):
            continue
        if not sellable(item):
            gone.append(candidate)
            continue
        head = head or candidate
        if is_live and not live and said.offered(told, item_id, time):
            live = candidate.score
        if len(offers) < count and item_id not in barred:
            offers.append(candidate)
        if len(offers) == count and (live or not is_live or candidate.score < offers[0].score - enough):
            break
    if offers or head is not None:
        return Selection(offers, [], head, live)
    return Selection([], gone[:count], gone[0] if gone else None, live)


def _column(values: Mapping[str, float], ids: Sequence[str]) -> NDArray[np.float64]:
    """(ids,), 0 where there is no value."""
    return np.fromiter(map(values.get, ids, repeat(0.0)), np.float64, len(ids))
