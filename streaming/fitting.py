"""What is chosen on a shop's own past: the weights of the ranking, and what its scores are worth as probabilities.

The newest part of the past is held out (`streaming.holdout`); tables are fitted on what is before it, and weights,
forest and calibration on it, each event learned once it was asked for. Then the tables are fitted anew on everything.
Nothing that is later than `Past.events` is ever looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from encoders.graph.choosing import Trial
from index.calibrating import calibrate
from index.calibration import Calibration
from index.candidates import Column
from index.cooccurrence import CoOccurrence
from index.forest import Forest
from index.forest_fitting import ForestSettings
from index.gate import Gate
from index.gate_fitting import fit_gate
from index.lesson import Lesson
from index.session_knn import SessionKnn
from index.tables import TableSettings
from index.tuning import Samples, Tuned, tune
from index.vocabulary import Codes
from streaming import gating
from streaming.forest_choice import Asked, grow_forest
from streaming.gating import HORIZON_MS
from streaming.holdout import Held, Moment
from streaming.items import Shop
from streaming.ranking import DIGITS, RankingSettings, Raw, decayed, gather
from streaming.reranking import PARTS, shortlist
from streaming.sights import Sights, search
from streaming.teaching import session_tag

TOP = 20
"""Candidates of each moment that the calibration looks at."""
AT_ONCE = 256
LEAST_PRIOR = 1e-5
"""Of the largest weight: what popularity weighs at least, so that something orders what nothing else orders."""


def candidates_of(
    shop: Shop, moments: Sequence[Moment], settings: RankingSettings, lessons: Sequence[Lesson] = ()
) -> Iterator[tuple[Moment, Raw]]:
    """Each moment with its candidates, as the engine would find them, by what was learned when it is asked; the
    moments in that order. When it ends, the shop knows what it knew before.

    Args:
        lessons: `Held.lessons`; none: nothing is learned meanwhile.
    """
    counts, knn = shop.counts, shop.knn
    if lessons:
        _know(shop, counts.copied(), knn.copied())
    try:
        sights, learned = Sights(shop, shop.encoder), 0
        moments = sorted(moments, key=attrgetter("learned"))
        for start in range(0, len(moments), AT_ONCE):
            part = moments[start : start + AT_ONCE]
            seen = sights.made(
                [sights.folded(f"{moment.session} {len(moment.history)}", moment.history) for moment in part]
            )
            found = search(shop, seen, settings.query_weights, settings.nearest, cold=settings.cold)
            for moment, sight, near in zip(part, seen, found, strict=True):
                shop.observe(*lessons[learned : moment.learned])
                own, learned = session_tag(moment.session), moment.learned
                yield moment, gather(decayed(moment.history, settings.decay), sight, near, shop, settings, own)
    finally:
        if lessons:
            _know(shop, counts, knn)


def _know(shop: Shop, counts: CoOccurrence, knn: SessionKnn) -> None:
    """Other tables in a shop that serves nobody."""
    shop.go_on_from(counts, knn, records=shop.learned, marks=shop.marks, positions=shop.positions)


class Curve(NamedTuple):
    """A figure over the steps of a training."""

    name: str
    metric: str
    x_name: str
    x: list[float]
    y: list[float]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the last part of a past taught."""

    ranking: RankingSettings
    calibration: Calibration
    gate: Gate
    tuned: Tuned
    moments: int
    """That it was chosen on."""
    tables: TableSettings
    """Of the shop that it was chosen for."""
    trials: tuple[Trial, ...] = ()
    """Graph vectors that were tried, best first; none: they were not chosen."""
    forest: Forest | None = None
    """Ranks the best once more; None: none was grown."""
    curves: tuple[Curve, ...] = ()
    """How training went."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """What was tried and what came of it, by name, as plain values."""


class _Shown(NamedTuple):
    """A moment, and of its candidates what their chances are told by."""

    moment: Moment
    codes: Codes
    parts: NDArray[np.float32]
    """(candidates, parts), not weighed; half as wide as the engine has them, for there are millions."""
    context: tuple[float, ...]
    allowed: NDArray[np.bool_]
    """(candidates,): which could have been offered."""


def choose_on(
    held: Held, shop: Shop, settings: RankingSettings, *, ordered: bool, forest: ForestSettings | None = None
) -> Chosen:
    """Weights that rank what came next high, the forest that ranks the best once more, the calibration of the scores
    that they give, and the gate of whole predictions.

    Args:
        shop: its tables fitted on what is before what is held out; its whole catalogue in it.
        ordered: what comes next is asked for; else all that comes within the horizon, in any order.
        forest: how it is grown; None: none is.
    """
    tuned = tune(_samples(shop, held, settings, ordered=ordered), settings.weights, "ndcg_10", caution=0.0)
    weights = dict(zip(PARTS, tuned.weights.tolist(), strict=True))
    least = LEAST_PRIOR * max(weights.values())
    ranking = replace(settings, **weights | {"prior": max(weights["prior"], least)})
    shown: list[_Shown] = []
    scores, asked = [], []
    # Endings say nothing of an order, and as much as others of how often something comes.
    for moment, raw in candidates_of(shop, [*held.moments, *held.endings], ranking, held.lessons):
        z, may = (raw.parts * ranking.weights).sum(axis=1).round(DIGITS), _allowed(shop, moment, raw, ranking)
        shown.append(_Shown(moment, raw.codes, raw.parts.astype(np.float32), raw.context, may))
        scores.append(z)
        if forest is not None:
            best = shortlist(raw.codes, raw.parts, z, raw.known, raw.linked, shop)
            asked.append(Asked(z, best, may, _right(shop, moment, raw, ordered=ordered)))
    grown = None
    if forest is not None and asked:
        grown = grow_forest(asked, _folds([each.moment for each in shown]), forest)
    if grown is not None:
        calibration, gate = _trusted(shop, shown, grown.out_of_fold, ranking)
        if calibration.calibrated:
            curves = tuple(
                Curve(name, "ndcg_10", "trees", [float(n + 1) for n in range(len(told))], told)
                for name, told in grown.ndcg_10.items()
            )
            return Chosen(
                ranking,
                calibration,
                gate,
                tuned,
                len(held.moments),
                shop.tables.settings,
                forest=grown.forest,
                curves=curves,
            )
    calibration, gate = _trusted(shop, shown, scores, ranking)
    return Chosen(ranking, calibration, gate, tuned, len(held.moments), shop.tables.settings)


def _folds(moments: Sequence[Moment]) -> NDArray[np.uint8]:
    """(moments,): 0 or 1, whole sessions together."""
    return np.array([xxh3_64_intdigest(moment.session.encode()) % 2 for moment in moments], np.uint8)


def _right(shop: Shop, moment: Moment, raw: Raw, *, ordered: bool) -> NDArray[np.bool_]:
    """(candidates,): which came; `ordered`: came next."""
    coming = [item for item, _ in moment.coming[: 1 if ordered else None]]
    return np.isin(raw.codes, shop.vocabulary.codes(coming))


def _samples(shop: Shop, held: Held, settings: RankingSettings, *, ordered: bool) -> Samples:
    """What the weights are chosen on."""
    # Where nothing is learned meanwhile, an item that nobody had is never right: what it borrows would seem useless.
    shop.lane.open(bool(held.lessons) or held.hidden)
    moments, parts, starts, targets = [], [], [0], []
    more: list[list[int]] = []
    missed = []
    for moment, raw in candidates_of(shop, held.moments, settings, held.lessons):
        kept = _allowed(shop, moment, raw, settings)
        codes = raw.codes[kept]
        moments.append(moment)
        parts.append(raw.parts[kept].astype(np.float32))
        starts.append(starts[-1] + len(codes))
        coming = dict.fromkeys(item for item, _ in moment.coming[: 1 if ordered else None])
        places = [
            int(np.searchsorted(codes, code)) if (code := shop.vocabulary.code(item)) in codes else -1
            for item in coming
        ]
        targets.append(places[0])
        more.append([place for place in places[1:] if place >= 0])
        missed.append(places[1:].count(-1))
    shop.lane.open(True)
    return Samples.of(
        np.concatenate(parts) if parts else np.empty((0, len(PARTS)), np.float32),
        np.array(starts),
        np.array(targets, np.int64),
        more=more,
        missed=np.array(missed, np.int64),
        folds=_folds(moments),
    )


def _trusted(
    shop: Shop,
    found: Sequence[_Shown],
    ordered_by: Sequence[Column],
    settings: RankingSettings,
) -> tuple[Calibration, Gate]:
    """What scores are worth as probabilities of each offer, and of the whole.

    Args:
        ordered_by: of each moment, (candidates,), what they are ordered by.
    """
    if not found:
        why = "no moments to calibrate on, expected sessions of two events or more"
        return Calibration.none(why), Gate.none(why)
    tops = [_top(each.allowed, order) for each, order in zip(found, ordered_by, strict=True)]
    scores = [order[top].round(DIGITS) for order, top in zip(ordered_by, tops, strict=True)]
    hits, sessions = [], []
    for (moment, codes, *_), top in zip(found, tops, strict=True):
        soon = [item for item, time in moment.coming if time - moment.time <= HORIZON_MS]
        hits.append(np.isin(codes[top], shop.vocabulary.codes(soon)))
        sessions.append(xxh3_64_intdigest(moment.session.encode()) >> 1)
    sizes = [len(top) for top in tops]
    calibration = calibrate(
        np.concatenate(scores),
        np.repeat(np.array([each.context for each in found]), sizes, axis=0),
        np.concatenate(hits),
        np.repeat(np.array(sessions, np.int64), sizes),
    )
    if not calibration.calibrated:
        return calibration, Gate.none(f"scores are not calibrated: {calibration.why}")
    rows = [
        gating.features(
            calibration.apply(score, each.context).tolist(),
            score[: gating.OFFERS].tolist(),
            (each.parts[top[0]] * settings.weights).tolist(),
            each.context,
            each.moment.history,
        )
        for each, top, score in zip(found, tops, scores, strict=True)
        if len(top)
    ]
    spoken = np.array(sizes) > 0
    right = np.array([hit[: gating.OFFERS].any() for hit in hits], np.bool_)[spoken]
    return calibration, fit_gate(gating.FEATURES, np.array(rows), right, np.array(sessions, np.int64)[spoken])


def _top(may: NDArray[np.bool_], order: Column) -> NDArray[np.int64]:
    """Places of the best of those that could have been offered, best first."""
    kept = np.flatnonzero(may)
    return kept[np.argsort(-order[kept], kind="stable")[:TOP]]


def _allowed(shop: Shop, moment: Moment, raw: Raw, settings: RankingSettings) -> NDArray[np.bool_]:
    """Which candidates could have been offered."""
    known = set() if settings.repeat else {step.subject for step in moment.history}
    ids = shop.vocabulary.ids(raw.codes)
    return np.array([item_id in shop.items and item_id not in known for item_id in ids], np.bool_)
