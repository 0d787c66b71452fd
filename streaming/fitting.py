"""What is chosen on a shop's own past: the weights of the ranking, and what its scores are worth as probabilities.

The last part of the past is set aside; tables are fitted on what is before it, weights and calibration on it. Then the
tables are fitted anew on everything. Nothing that is later than `Past.events` is ever looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from encoders.graph.choosing import Trial
from index.calibrating import calibrate
from index.calibration import Calibration
from index.candidates import Column
from index.forest import Forest
from index.forest_fitting import ForestSettings
from index.gate import Gate
from index.gate_fitting import fit_gate
from index.tables import TableSettings
from index.tuning import Samples, Tuned, tune
from streaming import gating
from streaming.forest_choice import Asked, grow_forest
from streaming.gating import HORIZON_EVENTS, HORIZON_MS
from streaming.items import Shop
from streaming.ranking import DIGITS, RankingSettings, Raw, decayed, gather
from streaming.reranking import PARTS, shortlist
from streaming.sessions import KINDS, Step
from streaming.sights import Sights, search
from streaming.teaching import session_tag

MOMENTS = 8000
"""Moments that weights are chosen on, at most."""
MOST = 500_000
"""Newest events that are looked at: enough to tell weights by, and no second fit of a past of any size."""
LAST = 0.1
"""Of the events, what is set aside where sessions end by themselves."""
TOP = 20
"""Candidates of each moment that the calibration looks at."""
AT_ONCE = 256
LEAST_PRIOR = 1e-5
"""Of the largest weight: what popularity weighs at least, so that something orders what nothing else orders."""


class Moment(NamedTuple):
    """A session at one of its events, and what came then."""

    session: str
    history: tuple[Step, ...]
    time: int
    coming: tuple[tuple[str, int], ...]
    """Item and time of the next events on items, at most `HORIZON_EVENTS`."""


@dataclass(frozen=True, slots=True)
class Held:
    """A past, parted."""

    before: pl.DataFrame
    moments: list[Moment]
    """After which something came."""
    endings: list[Moment]
    """Of the same sessions and others, at their last event, in proportion; none where sessions never end."""


def hold_out(events: pl.DataFrame, *, endless: bool, count: int = MOMENTS) -> Held:
    """Parts events (in time order) into those to fit on and moments to choose on.

    Args:
        endless: sessions never expire: of each the last two events are held out and the last is asked for, as a
            leave-one-out test does. Else: the sessions that begin in the last `LAST` of the events.
        count: moments at most, see `_drawn`.
    """
    numbered = events.tail(MOST).with_columns(
        place=pl.int_range(pl.len()).over("session_id"), size=pl.len().cast(pl.Int64).over("session_id")
    )
    if endless:
        before = numbered.filter(pl.col("place") < pl.col("size") - 2)
        asked = numbered.filter(pl.col("size") >= 3)
        moments = [moment for moment in _moments(asked) if len(moment.coming) == 1 and moment.history]
        endings = []
    else:
        cut = numbered["time"][int(len(numbered) * (1 - LAST))] if len(numbered) else 0
        begun = pl.col("time").min().over("session_id")
        before = numbered.filter(pl.col("time") < cut)
        newest = numbered["time"][-1] if len(numbered) else 0
        every = list(_moments(numbered.filter(begun >= cut), endings=True))
        moments = [moment for moment in every if moment.coming]
        endings = [moment for moment in every if not moment.coming and moment.time + HORIZON_MS <= newest]
    some = round(len(endings) * min(1.0, count / max(len(moments), 1)))
    return Held(before.drop("place", "size"), _drawn(moments, count), _drawn(endings, some))


def _drawn(moments: Iterable[Moment], count: int) -> list[Moment]:
    """At most so many, by a hash: one of each session first, then a second of each, so that long sessions have no more
    say than short ones."""
    by_session: dict[str, list[tuple[int, Moment]]] = {}
    for moment in moments:
        place = xxh3_64_intdigest(f"{moment.session}\0{len(moment.history)}\0{moment.time}".encode())
        by_session.setdefault(moment.session, []).append((place, moment))
    turns = [
        (turn, place, moment)
        for its in by_session.values()
        for turn, (place, moment) in enumerate(sorted(its, key=itemgetter(0)))
    ]
    return [moment for _, _, moment in sorted(turns, key=itemgetter(0, 1))[:count]]


def _moments(events: pl.DataFrame, *, endings: bool = False) -> Iterator[Moment]:
    """Every event of every session but its last, with what came before and after; with `endings` its last, too."""
    columns = events.select("session_id", "item_id", "kind", "time")
    for (session,), rows in columns.group_by("session_id", maintain_order=True):
        items, kinds, times = (rows[name].to_list() for name in ("item_id", "kind", "time"))
        steps = [
            Step(time, n, KINDS.index(kind), item)
            for n, (item, kind, time) in enumerate(zip(items, kinds, times, strict=True))
        ]
        pairs = list(zip(items, times, strict=True))
        for place in range(len(steps) - (not endings)):
            yield Moment(
                str(session),
                tuple(steps[max(0, place - 19) : place + 1]),
                times[place],
                tuple(pairs[place + 1 : place + 1 + HORIZON_EVENTS]),
            )


def candidates_of(shop: Shop, moments: Sequence[Moment], settings: RankingSettings) -> Iterator[tuple[Moment, Raw]]:
    """Each moment with its candidates, as the engine would find them."""
    sights = Sights(shop, shop.encoder)
    for start in range(0, len(moments), AT_ONCE):
        part = moments[start : start + AT_ONCE]
        seen = sights.made(
            [sights.folded(f"{moment.session} {len(moment.history)}", moment.history) for moment in part]
        )
        found = search(shop, seen, settings.query_weights, settings.nearest)
        for moment, sight, near in zip(part, seen, found, strict=True):
            own = session_tag(moment.session)
            yield moment, gather(decayed(moment.history, settings.decay), sight, near, shop, settings, own)


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


def choose_on(
    moments: Sequence[Moment],
    shop: Shop,
    settings: RankingSettings,
    *,
    ordered: bool,
    endings: Sequence[Moment] = (),
    forest: ForestSettings | None = None,
) -> Chosen:
    """Weights that rank what came next high, the forest that ranks the best once more, the calibration of the scores
    that they give, and the gate of whole predictions.

    Args:
        shop: its tables fitted on what is before the moments; its whole catalogue in it.
        ordered: what comes next is asked for; else all that comes within the horizon, in any order.
        endings: moments after which nothing came. They say nothing of an order, and as much as others of how often
            something comes.
        forest: how it is grown; None: none is.
    """
    # An item that nobody could have had yet is never right here, and would teach that what it borrows is worth nothing.
    shop.lane.open(False)
    found = list(candidates_of(shop, moments, settings))
    tuned = tune(_samples(shop, found, settings, ordered=ordered), settings.weights, "ndcg_10", caution=0.0)
    weights = dict(zip(PARTS, tuned.weights.tolist(), strict=True))
    least = LEAST_PRIOR * max(weights.values())
    ranking = replace(settings, **weights | {"prior": max(weights["prior"], least)})
    shop.lane.open(True)
    every = [*moments, *endings]
    shown = list(candidates_of(shop, every, ranking))
    allowed = [_allowed(shop, moment, raw, ranking) for moment, raw in shown]
    scores = [(raw.parts * ranking.weights).sum(axis=1).round(DIGITS) for _, raw in shown]
    grown = None
    if forest is not None and shown:
        asked = [
            Asked(
                z, shortlist(raw.codes, raw.parts, z, raw.known, shop), may, _right(shop, moment, raw, ordered=ordered)
            )
            for (moment, raw), z, may in zip(shown, scores, allowed, strict=True)
        ]
        grown = grow_forest(asked, _folds(every), forest)
    if grown is not None:
        calibration, gate = _trusted(shop, shown, allowed, grown.out_of_fold, ranking)
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
                len(moments),
                shop.tables.settings,
                forest=grown.forest,
                curves=curves,
            )
    calibration, gate = _trusted(shop, shown, allowed, scores, ranking)
    return Chosen(ranking, calibration, gate, tuned, len(moments), shop.tables.settings)


def _folds(moments: Sequence[Moment]) -> NDArray[np.uint8]:
    """(moments,): 0 or 1, whole sessions together."""
    return np.array([xxh3_64_intdigest(moment.session.encode()) % 2 for moment in moments], np.uint8)


def _right(shop: Shop, moment: Moment, raw: Raw, *, ordered: bool) -> NDArray[np.bool_]:
    """(candidates,): which came; `ordered`: came next."""
    coming = [item for item, _ in moment.coming[: 1 if ordered else None]]
    return np.isin(raw.codes, shop.vocabulary.codes(coming))


def _samples(shop: Shop, found: Sequence[tuple[Moment, Raw]], settings: RankingSettings, *, ordered: bool) -> Samples:
    parts, starts, targets = [], [0], []
    more: list[list[int]] = []
    missed = []
    for moment, raw in found:
        kept = _allowed(shop, moment, raw, settings)
        codes = raw.codes[kept]
        parts.append(raw.parts[kept])
        starts.append(starts[-1] + len(codes))
        coming = dict.fromkeys(item for item, _ in moment.coming[: 1 if ordered else None])
        places = [
            int(np.searchsorted(codes, code)) if (code := shop.vocabulary.code(item)) in codes else -1
            for item in coming
        ]
        targets.append(places[0])
        more.append([place for place in places[1:] if place >= 0])
        missed.append(places[1:].count(-1))
    folds = _folds([moment for moment, _ in found])
    return Samples.of(
        np.concatenate(parts).astype(np.float32) if parts else np.empty((0, len(PARTS)), np.float32),
        np.array(starts),
        np.array(targets, np.int64),
        more=more,
        missed=np.array(missed, np.int64),
        folds=folds,
    )


def _trusted(
    shop: Shop,
    found: Sequence[tuple[Moment, Raw]],
    allowed: Sequence[NDArray[np.bool_]],
    ordered_by: Sequence[Column],
    settings: RankingSettings,
) -> tuple[Calibration, Gate]:
    """What scores are worth as probabilities of each offer, and of the whole.

    Args:
        allowed: of each moment, which candidates could have been offered.
        ordered_by: of each moment, (candidates,), what they are ordered by.
    """
    if not found:
        why = "no moments to calibrate on, expected sessions of two events or more"
        return Calibration.none(why), Gate.none(why)
    tops = [_top(may, order) for may, order in zip(allowed, ordered_by, strict=True)]
    scores = [order[top].round(DIGITS) for order, top in zip(ordered_by, tops, strict=True)]
    hits, sessions = [], []
    for (moment, raw), top in zip(found, tops, strict=True):
        soon = [item for item, time in moment.coming if time - moment.time <= HORIZON_MS]
        hits.append(np.isin(raw.codes[top], shop.vocabulary.codes(soon)))
        sessions.append(xxh3_64_intdigest(moment.session.encode()) >> 1)
    sizes = [len(top) for top in tops]
    calibration = calibrate(
        np.concatenate(scores),
        np.repeat(np.array([raw.context for _, raw in found]), sizes, axis=0),
        np.concatenate(hits),
        np.repeat(np.array(sessions, np.int64), sizes),
    )
    if not calibration.calibrated:
        return calibration, Gate.none(f"scores are not calibrated: {calibration.why}")
    spoken = [number for number, size in enumerate(sizes) if size]
    rows = [
        gating.features(
            calibration.apply(scores[number], found[number][1].context).tolist(),
            scores[number][: gating.OFFERS].tolist(),
            (found[number][1].parts[tops[number][0]] * settings.weights).tolist(),
            found[number][1].context,
            found[number][0].history,
        )
        for number in spoken
    ]
    right = np.array([hits[number][: gating.OFFERS].any() for number in spoken], np.bool_)
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
