"""Reasons held against the data: each is derived again from events, items and facts, by other means than the engine's.

found = audited(shop, Audit(past), histories)
found.faults, found.share_fallen
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from encoders.graph.facts import GOES_WITH, Fact, catalogue_facts, table_facts
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.past import Past
from streaming.ranking import Candidate, RankingSettings, Raw, gather, weigh, weighted
from streaming.reasons import NEAR, POPULAR, VISITORS, explain
from streaming.records import Reason
from streaming.reranking import DEPTH, FEATURES, PARTS, TIE, shortlist
from streaming.sessions import KINDS, Step
from streaming.sights import Sights, search

_LIKENESS = ("text_last", "text_recent", "sequence_last", "behaviour_last")
BLANK = "an item of which nothing is known"
VIEW = KINDS.index("view")
_ROUNDING = 1e-5


class Audit:
    """What the data itself says."""

    def __init__(self, past: Past, window: int = 10) -> None:
        """
        Args:
            window: places of a session that two events may be apart to be a pair.
        """
        self._who: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._count: dict[str, int] = defaultdict(int)
        for (session,), rows in past.events.group_by("session_id", maintain_order=True):
            items, users = rows["item_id"].to_list(), rows["user_id"].to_list()
            for place, item in enumerate(items):
                self._count[item] += 1
                for other in items[max(0, place - window) : place]:
                    for pair in ((item, other), (other, item)):
                        if len(self._who[pair]) < VISITORS:
                            self._who[pair].add(users[place] or str(session))
        self._most = max(self._count.values(), default=1)
        texts = past.whitening.apply(past.texts)
        texts /= np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-12)
        self._texts = dict(zip(past.items["item_id"], texts, strict=True))
        known: list[Fact] = [*table_facts(past.facts)]
        for item in items_of(past.items):
            known += catalogue_facts(item.item_id, item.brand, item.category, item.attributes)
        self._facts = set(known)

    def fault(self, offer: str, reason: Reason, history: Sequence[str]) -> str | None:
        """What of a reason does not hold; None: all of it does."""
        if any(item_id not in history for item_id in reason.items[:1]):
            return "it cites an item that the session has not"
        match reason.code:
            case "near":
                return self._apart(offer, reason.items[0])
            case "together" | "neighbours":
                return self._unmet(reason.items[0], offer)
            case "cold":
                return self._unmet(*reason.items) or self._apart(offer, reason.items[1], 0.8 * NEAR)
            case "popular":
                said = np.log1p(self._count[offer]) / np.log1p(self._most)
                return None if said >= POPULAR else f"popularity {said:.2f}"
            case "fact" | "path":
                return self._untold(offer, reason)
        return f"nobody can check {reason.code}"

    def _apart(self, one: str, other: str, least: float = NEAR) -> str | None:
        cosine = float(self._texts[one] @ self._texts[other])
        return None if cosine >= least - _ROUNDING else f"{one} and {other} have cosine {cosine:.3f}"

    def _unmet(self, one: str, other: str) -> str | None:
        who = len(self._who[one, other])
        return None if who >= VISITORS else f"{who} visitors had {one} and {other}"

    def _untold(self, offer: str, reason: Reason) -> str | None:
        facts = [Fact(*fact) for fact in reason.facts]
        for fact in facts:
            if fact.relation == GOES_WITH:
                if told := self._unmet(fact.head, fact.tail):
                    return told
            elif fact not in self._facts:
                return f"nobody says {tuple(fact)}"
        ends = {end for fact in facts for end in (fact.head, fact.tail)}
        missing = {offer, reason.items[0]} - ends
        return f"{sorted(missing)} stand in none of its facts" if missing else None


@dataclass
class Findings:
    """What an audit found."""

    checked: Counter[str] = field(default_factory=Counter)
    """Reasons, by code."""
    faults: list[str] = field(default_factory=list)
    fell: Counter[str] = field(default_factory=Counter)
    """Reasons that cite an item without whose share the offer ranks lower, by code."""
    stood: Counter[str] = field(default_factory=Counter)
    """Those without which it does not."""

    @property
    def share_fallen(self) -> float:
        """Of the reasons that cite an item, those without whose share the offer ranks lower."""
        return self.fell.total() / max(1, self.fell.total() + self.stood.total())


def audited(shop: Shop, audit: Audit, histories: Sequence[Sequence[tuple[str, int]]], offers: int = 10) -> Findings:
    """The reasons of the best offers for each history of items and times, held against the data, and each offer ranked
    again with a blank in the place of the item that its reason cites; the others keep what that item does for them."""
    settings, found = RankingSettings.of(shop), Findings()
    shop.vocabulary.add(BLANK)
    for history in histories:
        had = [item_id for item_id, _ in history]
        candidates, steps, told = _ranked(shop, history, settings)
        chosen = [each for each in candidates if each.item_id in shop.items and each.item_id not in had][:offers]
        others = {each.item_id: each.z for each in candidates if each.item_id not in had}
        without: dict[str, Raw] = {}
        for offer, reasons in zip(chosen, explain(chosen, steps, shop.words_of(steps), shop), strict=True):
            for reason in reasons:
                found.checked[reason.code] += 1
                if fault := audit.fault(offer.item_id, reason, had):
                    found.faults.append(f"{offer.item_id} for {had}: {reason.code}: {fault}")
                if not reason.items:
                    continue
                cited = reason.items[0]
                if cited not in without:
                    less = [(BLANK if item == cited else item, at) for item, at in history]
                    without[cited] = _ranked(shop, less, settings)[2]
                left = _left(shop, offer.item_id, told, without[cited], settings)
                below = sum(left < z <= offer.z for item_id, z in others.items() if item_id != offer.item_id)
                (found.fell if below else found.stood)[reason.code] += 1
    return found


def _ranked(
    shop: Shop, history: Sequence[tuple[str, int]], settings: RankingSettings
) -> tuple[list[Candidate], list[Step], Raw]:
    """All candidates, best first, as the engine ranks them; the steps of the history; and the candidates' parts."""
    steps = [Step(time, place, VIEW, item_id) for place, (item_id, time) in enumerate(history)]
    sight = Sights(shop, shop.encoder).of("audit", tuple(steps))
    near = search(shop, [sight], settings.query_weights, settings.nearest, cold=settings.cold)[0]
    weights = weighted([item_id for item_id, _ in history], settings.decay)
    raw = gather(weights, sight, near, shop, settings, own=0)
    return list(weigh(raw, shop, settings, sight).candidates), steps, raw


def _left(shop: Shop, item_id: str, told: Raw, less: Raw, settings: RankingSettings) -> float:
    """What an offer is ordered by where it alone has what it has without the cited item, and the others are as they
    were."""
    code = shop.vocabulary.code(item_id)
    parts = less.parts[less.codes == code].sum(axis=0)  # zeros where it is no candidate any more
    z = float(parts @ settings.weights)
    if shop.forest is None:
        return z
    before = (told.parts * settings.weights).sum(axis=1)
    best = shortlist(told.codes, told.parts, before, told.known, told.linked, shop)
    others = told.codes[best.places] != code
    had = dict(zip(FEATURES, best.rows[~others][0].tolist(), strict=True))
    alone = shortlist(np.array([code], np.int32), parts[None], np.array([z]), less.known, less.linked, shop).rows[0]
    now = had | dict(zip(PARTS, parts.tolist(), strict=True)) | {"score": z}
    now |= {name: value for name, value in zip(FEATURES, alone.tolist(), strict=True) if name in _LIKENESS}
    now["place"] = int((before[best.places][others] > z).sum())
    now["sequence_place"] = int((told.parts[best.places][others][:, PARTS.index("sequence")] > now["sequence"]).sum())
    for name in ("score", "counts", "neighbours", "text", "sequence"):
        now[f"{name}_behind"] = had[f"{name}_behind"] + now[name] - had[name]
    if now["place"] >= DEPTH:
        return -np.inf
    row = np.array([[now[name] for name in FEATURES]], np.float32)
    return float(shop.forest.scores(row)[0]) + TIE * z
