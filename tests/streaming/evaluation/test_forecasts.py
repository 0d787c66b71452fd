"""What a ranking says of its chances: honest forecasts are told from others, and promises kept on other sessions."""

from __future__ import annotations

import numpy as np
import pytest

from index.gate import Threshold
from streaming.evaluation.answers import DEPTH, Answers, ask, ask_and_teach
from streaming.evaluation.evaluation import Told
from streaming.evaluation.forecasts import ASKED, coming, foretold, precision_at, promised, sessions_of
from streaming.evaluation.moments import Moment, Ranked, Split
from streaming.evaluation.protocols import next_item, temporal
from streaming.shop import ShopInfo
from tests.streaming.evaluation.logs import Fixed, log_of

MINUTE = 60


def test_what_comes_within_the_horizon_counts_and_nothing_later() -> None:
    """Five events and half an hour."""
    items = [("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 4), ("f", 5), ("g", 6), ("h", 50)]
    log = log_of(
        [
            ("z", "a", -9, "train"),
            *(("s", item, minute * MINUTE, "test") for item, minute in items),
            ("t", "b", 1, "test"),
            ("t", "a", 2, "test"),
        ],
        ShopInfo(repeats_allowed=True),
    )
    split = temporal(log, repeats=True)
    soon = {
        log.catalogue.ids(moment.items)[-1]: sorted(log.catalogue.ids(np.array(sorted(each), np.int32)))
        for moment, each in zip(split.moments, coming(log, split), strict=True)
        if len(log.catalogue.ids(moment.items)) > 1 or moment.session == log.sessions[1]
    }
    assert soon["a"] == list("bcdef")
    assert soon["c"] == list("defg")  # h is another time
    assert soon["g"] == []


def _told(
    probabilities: np.ndarray, hits: np.ndarray, acts: np.ndarray | None = None
) -> tuple[Told, list[frozenset[int]]]:
    """A ranker that lists items 0 to 19 everywhere, and of each whether it comes."""
    count = len(hits)
    answers = Answers.none(count)
    answers.lists[:] = np.arange(DEPTH)
    answers.scores[:] = probabilities[:, 0]
    answers.probabilities[:] = probabilities
    if acts is not None:
        answers.acts[:] = acts
    return Told("ours", "product", answers), [frozenset(np.flatnonzero(row).tolist()) for row in hits]


def test_an_honest_forecast_has_no_error_and_one_that_boasts_has() -> None:
    chance = np.random.default_rng(1)
    said = chance.random((4000, DEPTH)) * 0.5
    hits = chance.random(said.shape) < said
    groups = np.arange(len(said))
    honest, boasting = (foretold([told], soon, groups) for told, soon in (_told(said, hits), _told(2 * said, hits)))
    offers = honest.calibrated["an offer"]
    assert offers.n == 4000 * 10
    assert offers.ece < 0.01
    assert offers.rate == pytest.approx(0.25, abs=0.01)
    assert offers.brier == pytest.approx((said * (1 - said)).mean(), abs=0.005)
    assert boasting.calibrated["an offer"].ece == pytest.approx(0.25, abs=0.02)
    assert boasting.calibrated["an offer"].auc == offers.auc
    assert set(honest.calibrated) == {"an offer", "the first offer"}


def test_where_a_prediction_says_its_own_chance_that_is_judged() -> None:
    chance = np.random.default_rng(2)
    acts = chance.random(3000)
    hits = np.zeros((3000, DEPTH), bool)
    hits[:, 7] = chance.random(3000) < acts
    hits[:, 15] = True  # nobody is offered it
    told, soon = _told(np.full((3000, DEPTH), 0.1), hits, acts)
    found = foretold([told], soon, np.arange(3000))
    assert found.calibrated["a prediction"].ece < 0.03
    assert found.calibrated["a prediction"].rate == pytest.approx(0.5, abs=0.03)
    assert found.promise is not None
    assert found.promise.coverage > 0.9
    assert not found.kept
    kept = foretold([told], soon, np.arange(3000), [Threshold(0.7, 0.4, 0.6), Threshold(0.9, 1.1, 0.1)])
    assert [(each.asked, each.n) for each in kept.kept] == [(0.7, 3000), (0.9, 3000)]
    assert kept.kept[0].covered == (acts >= 0.4).sum()
    assert kept.kept[0].precision == pytest.approx(0.7, abs=0.03)
    assert kept.kept[1].covered == 0
    assert kept.as_json()["kept_precisions"][0]["coverage"] == pytest.approx(0.6, abs=0.03)


def test_a_ranker_that_says_no_chances_has_none_and_its_curve_all_the_same() -> None:
    log = log_of([("z", "a", 0, "train"), ("s", "a", 5, "test"), ("s", "b", 6, "test"), ("s", "c", 7, "test")])
    split = next_item(log, repeats=False)
    ranker = Fixed([("b", 1.0)])
    ranker.fit(split.part)
    told = Told("fixed", "product", ask(ranker, split))
    found = foretold([told], coming(log, split), split.groups)
    assert (found.calibrated, found.promise) == ({}, None)
    assert found.as_json()["asked_precision"] is None
    assert found.curves["fixed"][1][-1] == 0.5  # b is right once of two


class _Sure(Fixed):
    """Says a chance of each item, and of the whole."""

    def rank(self, moment: Moment, k: int) -> Ranked:
        return super().rank(moment, k)._replace(probabilities=np.array([0.4, 0.2]), acts=0.6)


def test_chances_stay_with_their_items_when_the_history_is_taken_out() -> None:
    log = log_of([("z", "a", 0, "train"), ("s", "a", 5, "test"), ("s", "b", 6, "test")])
    split = next_item(log, repeats=False)
    ranker = _Sure([("a", 2.0), ("b", 1.0)])
    ranker.fit(split.part)
    answers = ask(ranker, split)
    assert answers.lists[0, :2].tolist() == [log.catalogue.codes(["b"])[0], -1]
    assert (answers.probabilities[0, 0], answers.scores[0], answers.acts[0]) == (np.float32(0.2), 1.0, 0.6)
    assert np.isnan(answers.probabilities[0, 1:]).all()


def test_a_promise_is_kept_on_sessions_that_it_was_not_made_on() -> None:
    sure = np.random.default_rng(0).random(20_000) * 0.6
    right = np.random.default_rng(1).random(20_000) < sure
    found = promised(sure, right, np.arange(20_000))
    assert (found.n, found.asked) == (10_000, ASKED)
    assert found.precision == pytest.approx(ASKED, abs=0.02)
    assert found.low < found.precision < found.high
    assert found.coverage > 0.9


def test_a_promise_that_cannot_be_kept_is_not_made() -> None:
    chance = np.random.default_rng(3)
    found = promised(chance.random(2000), chance.random(2000) < 0.05, np.arange(2000))
    assert (found.threshold, found.covered, found.precision) == (None, 0, 0.0)


def test_precision_is_of_the_surest_and_of_all_at_the_end() -> None:
    sure, right = np.array([0.9, 0.1, np.nan, 0.5] * 25), np.array([True, False, False, True] * 25)
    coverages, precisions = precision_at(sure, right)
    assert np.interp([0.5, 1.0], coverages, precisions).tolist() == [1.0, 0.5]


def test_where_a_session_ends_its_chances_are_held_against_nothing() -> None:
    """Half an hour has to have passed since; before it nobody knows."""
    log = log_of(
        [
            ("z", "a", 0, "train"), ("z", "b", 1, "train"),
            ("s", "a", 5000, "test"), ("s", "b", 5001, "test"), ("one", "a", 5002, "test"),
            ("t", "a", 9000, "test"), ("t", "b", 9001, "test"),
        ],
        ShopInfo(repeats_allowed=True),
    )  # fmt: skip
    for split in (temporal(log, repeats=True), next_item(log, repeats=True)):
        ended = [log.catalogue.ids(moment.items) for moment in split.endings]
        assert (len(split), ended) == (2, [["a", "b"], ["a"]])
    split = temporal(log, repeats=True)
    assert [split.passed[place].session for place in np.flatnonzero(split.ends >= 0)] == [
        moment.session for moment in split.endings
    ]
    for answers in (ask(_surely(split), split, endings=True), ask_and_teach(_surely(split), split, endings=True)):
        shown, whole = answers.at_endings
        assert (
            shown[:, :3].tolist() == [[pytest.approx(0.4), pytest.approx(0.2), pytest.approx(np.nan, nan_ok=True)]] * 2
        )
        assert whole.tolist() == [0.6, 0.6]
        found = foretold([Told("ours", "product", answers)], coming(log, split), sessions_of(split)).calibrated
        assert (found["a prediction"].n, found["a prediction"].rate) == (4, 0.5)
        assert found["an offer"].n == 8
    told = foretold([Told("ours", "product", ask(_surely(split), split))], coming(log, split), sessions_of(split))
    assert (told.calibrated["a prediction"].n, told.calibrated["a prediction"].rate) == (2, 1.0)


def _surely(split: Split) -> _Sure:
    ranker = _Sure([("b", 2.0), ("a", 1.0)])
    ranker.fit(split.part)
    return ranker


def test_sessions_that_never_end_have_no_endings() -> None:
    rows = [("z", "a", 0, "train"), ("s", "a", 5000, "test"), ("s", "b", 5001, "test"), ("t", "a", 9000, "test")]
    assert len(next_item(log_of(rows, ShopInfo()), repeats=False).endings) == 1
    assert next_item(log_of(rows, ShopInfo(session_idle_ms=0)), repeats=False).endings == []
