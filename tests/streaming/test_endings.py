"""Moments after which nothing came: which are held out of a past, and what they do to chances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streaming.fitting import Chosen, candidates_of, choose_on
from streaming.holdout import Moment, hold_out
from streaming.items import Shop
from streaming.ranking import DIGITS, RankingSettings
from tests.index.small_tables import MINUTE
from tests.streaming.test_fitting import SIZE, catalogue, held_of, log, names


def test_the_last_events_of_sessions_that_are_over_are_held_out_too_and_nothing_comes_after_them() -> None:
    rows = [(f"s{n}", f"{n}{place}", 20 * MINUTE * n + place) for n in range(100) for place in range(1 if n % 2 else 3)]
    held = hold_out(log(rows), endless=False)
    began = {moment.session for moment in held.moments}
    ended = {moment.session: moment for moment in held.endings}
    assert len(ended) == len(held.endings) > 5
    assert {f"s{n}" for n in (96, 97)} <= ended.keys()
    assert not {"s98", "s99"} & ended.keys()  # half an hour has not passed by the end of the log
    assert {name for name in ended if int(name[1:]) % 2 == 0} <= began
    for name, moment in ended.items():
        assert moment.coming == ()
        assert [step.subject for step in moment.history] == [item for session, item, _ in rows if session == name]


def test_endings_are_drawn_in_proportion_and_sessions_that_never_end_have_none() -> None:
    rows = [(f"s{n}", f"{n}{place}", 60 * MINUTE * n + place) for n in range(1000) for place in range(3)]
    whole, some = hold_out(log(rows), endless=False), hold_out(log(rows), endless=False, count=50)
    share = len(whole.endings) / len(whole.moments)
    assert (len(some.moments), len(some.endings)) == (50, round(50 * share))
    assert hold_out(log(rows), endless=True).endings == []


def test_chances_count_the_sessions_after_which_nothing_came() -> None:
    """A session is one item and its follower, or ends before it: chances are half of what they are where it goes on."""
    follows = np.random.default_rng(8).permutation(SIZE)
    draw = np.random.default_rng(9)
    starts = draw.integers(SIZE, size=6000).tolist()
    sessions = [names([code, int(follows[code])] if n % 2 else [code]) for n, code in enumerate(starts)]
    shop, held = held_of(sessions, catalogue())
    assert len(held.endings) == pytest.approx(2 * len(held.moments), rel=0.1)  # each session ends, and half are longer
    plain, whole = (
        choose_on(replace(held, endings=endings), shop, RankingSettings(), ordered=True)
        for endings in ([], held.endings)
    )
    assert (plain.ranking, plain.moments) == (whole.ranking, whole.moments)
    told = [
        np.mean([_first(shop, moment, chosen) for moment in held.moments[:40] if len(moment.history) == 1])
        for chosen in (plain, whole)
    ]
    assert told[0] > 0.9
    assert told[1] == pytest.approx(0.5, abs=0.08)
    assert not plain.gate.fitted
    assert "misses" in plain.gate.model.why  # something always came
    assert whole.gate.fitted
    assert whole.gate.model.quality is not None
    assert whole.gate.model.quality.hits / whole.gate.model.quality.n == pytest.approx(1 / 3, abs=0.03)


def _first(shop: Shop, moment: Moment, chosen: Chosen) -> float:
    """Score of the first offer."""
    ((_, raw),) = candidates_of(shop, [moment], chosen.ranking)
    z = (raw.parts * chosen.ranking.weights).sum(axis=1).round(DIGITS)
    fresh = raw.codes != shop.vocabulary.code(moment.history[-1].subject)
    return float(chosen.calibration.apply(z[fresh], raw.context).max())
