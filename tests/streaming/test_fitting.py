"""What is held out of a past, and what is chosen on it: where the answer is known, and on noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator

from encoders.catalogue import item_text
from encoders.whitening import Whitening
from index.calibrating import auc, ece, reliability
from index.tables import TableSettings
from streaming import holdout
from streaming.building import fitted, stocked
from streaming.fitting import TOP, Chosen, candidates_of, choose_on
from streaming.gating import HORIZON_EVENTS, HORIZON_MS
from streaming.holdout import DAY_MS, FEW_UNKNOWN, LAST, Held, hold_out, hold_out_last
from streaming.items import Shop
from streaming.past import Past
from streaming.ranking import RankingSettings, weigh
from streaming.reranking import PARTS
from streaming.shop import ShopInfo
from streaming.sights import Sight
from tests.index.small_tables import FACTS, MINUTE, START
from tests.streaming.small_past import DUMMY

SECOND = 1000
COLUMNS = {"session_id": pl.String, "item_id": pl.String, "time": pl.Int64, "kind": pl.String, "user_id": pl.String}


def log(rows: Sequence[tuple[str, str, int]], kind: str = "view") -> pl.DataFrame:
    """Events of (session, item, ms after START), in time order."""
    frame = pl.DataFrame([(*row, kind, None) for row in rows], schema=COLUMNS, orient="row")
    return frame.with_columns(time=pl.col("time") + START).sort("time", maintain_order=True)


# ---------------------------------------------------------------------------------------------------- what is held out
LOGS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=60)
"""Session and second, of events on an item each has to itself."""


def told_apart(drawn: list[tuple[str, int]]) -> pl.DataFrame:
    return log([(session, f"{session}-{number}", second * SECOND) for number, (session, second) in enumerate(drawn)])


def by_session(events: pl.DataFrame) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for session, item in events.select("session_id", "item_id").iter_rows():
        found.setdefault(session, []).append(item)
    return found


@pytest.mark.parametrize("endless", [True, False])
@given(drawn=LOGS)
@settings(max_examples=60, deadline=None)
def test_what_comes_in_the_newest_tenth_is_asked_for_with_all_that_was_before(
    endless: bool, drawn: list[tuple[str, int]]
) -> None:
    events = told_apart(drawn)
    held = hold_out(events, endless=endless)
    assert held.before.columns == events.columns
    assert len(held.before) <= len(events) * (1 - LAST)
    assert len(held.before) + len(held.lessons) == len(events)
    known = set(held.before["item_id"])
    late = {item for session in by_session(events).values() for item in session[1:]} - known
    assert sorted(moment.coming[0][0] for moment in held.moments) == sorted(late)
    sessions = by_session(events)
    for moment in held.moments:
        place = len(moment.history)
        assert [step.subject for step in moment.history] == sessions[moment.session][:place]
        assert moment.time == moment.history[-1].time
        expected = sessions[moment.session][place : place + HORIZON_EVENTS]
        assert [item for item, _ in moment.coming] == expected != []


@given(LOGS)
@settings(max_examples=60, deadline=None)
def test_for_leave_one_out_the_last_two_events_of_a_session_are_held_out_and_the_last_is_asked_for(
    drawn: list[tuple[str, int]],
) -> None:
    events = told_apart(drawn)
    held = hold_out_last(events)
    sessions = by_session(events)
    assert by_session(held.before) == {name: items[:-2] for name, items in sessions.items() if len(items) > 2}
    assert held.before.columns == events.columns
    assert held.lessons == []
    asked = {moment.session: moment for moment in held.moments}
    assert len(asked) == len(held.moments)
    assert asked.keys() == {name for name, items in sessions.items() if len(items) > 2}
    for name, moment in asked.items():
        assert [step.subject for step in moment.history] == sessions[name][:-1][-20:]
        assert [item for item, _ in moment.coming] == sessions[name][-1:]
        assert moment.learned == 0


def test_as_many_items_are_hidden_as_nobody_has_had_and_are_asked_for_all_the_same() -> None:
    rows = [(f"s{n % 50}", f"i{n * 7 % 200}", n * SECOND) for n in range(2000)]
    whole, held = hold_out_last(log(rows)), hold_out_last(log(rows), unknown=0.2)
    assert (whole.hidden, held.hidden) == (False, True)
    assert held.moments == whole.moments
    left, every = set(held.before["item_id"]), set(whole.before["item_id"])
    hidden = every - left
    assert 20 < len(hidden) < 60
    assert held.before.equals(whole.before.filter(~pl.col("item_id").is_in(list(hidden))))
    assert hidden & {item for moment in held.moments for item, _ in moment.coming}
    assert hold_out_last(log(rows), unknown=FEW_UNKNOWN / 2).before.equals(whole.before)


def test_a_moment_is_asked_before_what_comes_is_learned_and_after_all_else() -> None:
    rows = [(f"s{n % 7}", f"i{n}", n * SECOND) for n in range(100)]
    held = hold_out(log(rows), endless=True)
    assert [lesson.after for lesson in held.lessons] == [f"i{n}" for n in range(90, 100)]
    assert held.lessons[3].context[:2] == ["i86", "i79"]
    assert {moment.coming[0][0]: moment.learned for moment in held.moments} == {f"i{90 + n}": n for n in range(10)}


def test_where_times_are_days_a_day_is_learned_when_it_is_over() -> None:
    rows = [(f"s{n % 7}", f"i{n}", n // 4 * DAY_MS - START % DAY_MS) for n in range(120)]
    held = hold_out(log(rows), endless=True)
    assert [lesson.after for lesson in held.lessons] == [f"i{n}" for n in range(108, 120)]
    known = {moment.coming[0][0]: moment.learned for moment in held.moments}
    assert known == {f"i{108 + n}": n // 4 * 4 for n in range(12)}


def test_only_the_newest_events_of_a_long_session_are_its_history() -> None:
    rows = [("s", f"i{n}", n * SECOND) for n in range(60)]
    held = hold_out(log(rows), endless=True)
    assert {len(moment.history) for moment in held.moments} == {20}


def test_the_kinds_of_a_session_stay_what_they_were() -> None:
    held = hold_out(log([("s", item, n) for n, item in enumerate("abcd")], kind="purchase"), endless=True)
    assert [step.kind for step in held.moments[0].history] == ["purchase"] * 3
    assert held.lessons[0].kind == "purchase"


def test_which_moments_are_drawn_depends_on_neither_their_number_nor_the_order_of_sessions() -> None:
    rows = [("early", f"e{n}", -n) for n in range(810)]
    rows += [(f"s{n}", f"i{n}{letter}", 1 + place) for n in range(30) for place, letter in enumerate("abc")]
    every = hold_out(log(rows), endless=True).moments
    assert len(every) == 60
    assert hold_out(log(rows), endless=True, count=7).moments == every[:7]
    assert {moment.session for moment in every[:30]} == {f"s{n}" for n in range(30)}
    other = hold_out(log(rows[::-1]).sort("time", "item_id"), endless=True, count=7).moments
    assert [moment._replace(learned=0) for moment in other] == [moment._replace(learned=0) for moment in every[:7]]
    assert [moment.session for moment in every] != sorted(moment.session for moment in every)


def test_of_a_very_long_past_the_newest_events_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdout, "MOST", 30)
    rows = [(f"s{n}", f"{n}{letter}", n * MINUTE + place) for n in range(20) for place, letter in enumerate("abc")]
    held = hold_out(log(rows), endless=False)
    assert set(held.before["session_id"]) == {f"s{n}" for n in range(10, 19)}
    assert {moment.session for moment in held.moments} == {"s19"}


@pytest.mark.parametrize("endless", [True, False])
@pytest.mark.parametrize("rows", [[], [("s", "a", 0)], [("s", "a", 0), ("t", "b", 1)]])
def test_a_past_with_nothing_to_ask_gives_no_moments(rows: list[tuple[str, str, int]], endless: bool) -> None:
    assert hold_out(log(rows), endless=endless).moments == []


# ------------------------------------------------------------------------------------------------------- what is chosen
FAMILIES, EACH = 12, 12
SIZE = FAMILIES * EACH


def names(codes: Sequence[int]) -> list[str]:
    return [f"i{code:03d}" for code in codes]


def catalogue(telling: str | None = None) -> pl.DataFrame:
    """Items of families, every twelfth; what tells them is a word of their titles, a fact, or nothing."""
    numbers = range(SIZE)
    return pl.DataFrame(
        {
            "item_id": names(list(numbers)),
            "title": [f"word{n % FAMILIES} thing{n}" if telling == "text" else f"thing{n}" for n in numbers],
            "attributes": [
                json.dumps({"make": f"make {n % FAMILIES}"}) if telling == "graph" else None for n in numbers
            ],
        },
        schema_overrides={"attributes": pl.String},
    )


def walks(sessions: Sequence[Sequence[str]]) -> pl.DataFrame:
    """One session after the other, an event a second."""
    return log(
        [
            (f"s{number:05d}", item, 10 * MINUTE * number + SECOND * place)
            for number, session in enumerate(sessions)
            for place, item in enumerate(session)
        ]
    )


def held_of(sessions: Sequence[Sequence[str]], items: pl.DataFrame) -> tuple[Shop, Held]:
    texts = DUMMY.encode([item_text(title) for title in items["title"]])
    past = Past(ShopInfo(), walks(sessions), items, FACTS.clear(), texts, Whitening.identity(DUMMY.dimension))
    held = hold_out(past.events, endless=False)
    return stocked(past, fitted(past.until(held.before), TableSettings()), DUMMY), held


def chosen_on(sessions: Sequence[Sequence[str]], items: pl.DataFrame, *, ordered: bool = True) -> Chosen:
    shop, held = held_of(sessions, items)
    return choose_on(held, shop, RankingSettings(), ordered=ordered)


def randomly(draw: Generator, sessions: int) -> list[list[str]]:
    """What comes next is chance, and so is whether anything does."""
    return [names(draw.choice(SIZE, 2 + draw.geometric(0.4)).tolist()) for _ in range(sessions)]


def chained(draw: Generator, sessions: int, sure: float = 1.0) -> list[list[str]]:
    """Each item has one that follows it, as often as `sure` says."""
    follows = np.random.default_rng(8).permutation(SIZE)
    found = []
    for _ in range(sessions):
        session = [int(draw.integers(SIZE))]
        while len(session) < 4:
            session.append(int(follows[session[-1]] if draw.random() < sure else draw.integers(SIZE)))
        found.append(names(list(dict.fromkeys(session))))
    return found


def kept_apart(draw: Generator, sessions: int) -> list[list[str]]:
    """Visitors of one item each, so that every item is known and no pair is; then sessions that stay within a family, a
    tenth of the events."""
    alone = [names([int(item)]) for item in draw.integers(SIZE, size=4 * sessions * (round(1 / LAST) - 1))]
    families = [int(draw.integers(FAMILIES)) + FAMILIES * draw.permutation(EACH)[:4] for _ in range(sessions)]
    return alone + [names(family.tolist()) for family in families]


def favoured(draw: Generator, sessions: int) -> list[list[str]]:
    """A few items are in most sessions, with anything else."""
    share = 1 / np.arange(1, SIZE + 1)
    return [names(draw.choice(SIZE, 3, replace=False, p=share / share.sum()).tolist()) for _ in range(sessions)]


@pytest.mark.parametrize(
    ("part", "planted", "sessions", "items", "least"),
    [
        ("counts", chained, 800, catalogue(), 0.95),
        ("text", kept_apart, 80, catalogue("text"), 0.35),
        ("graph", kept_apart, 80, catalogue("graph"), 0.35),
        ("prior", favoured, 800, catalogue(), 0.25),
    ],
)
def test_the_part_that_is_planted_is_found(
    part: str, planted: Callable[[Generator, int], list[list[str]]], sessions: int, items: pl.DataFrame, least: float
) -> None:
    shop, held = held_of(planted(np.random.default_rng(3), sessions), items)
    chosen = choose_on(replace(held, lessons=[]), shop, RankingSettings(), ordered=True)
    weights = dict(zip(PARTS, chosen.tuned.weights.tolist(), strict=True))
    assert weights[part] == max(weights.values()) > 0
    assert chosen.tuned.held_out > least
    assert chosen.tuned.figure >= chosen.tuned.before
    assert {name: getattr(chosen.ranking, name) for name in PARTS[:-1]} == {name: weights[name] for name in PARTS[:-1]}
    assert chosen.ranking.prior >= weights["prior"]


def test_where_nothing_is_planted_nothing_is_found() -> None:
    """The families are still there, and nothing that could be known of an item tells its own; but what one session
    shows, later ones may be told by."""
    shop, held = held_of(kept_apart(np.random.default_rng(3), 80), catalogue())
    learning, frozen = (
        choose_on(each, shop, RankingSettings(), ordered=True) for each in (held, replace(held, lessons=[]))
    )
    assert frozen.tuned.held_out < 0.1 < learning.tuned.held_out < 0.25


def test_noise_gives_no_ranking_and_no_hope() -> None:
    draw = np.random.default_rng(3)
    shop, held = held_of(randomly(draw, 1000), catalogue())
    chosen = choose_on(replace(held, endings=[]), shop, RankingSettings(), ordered=True)
    assert chosen.tuned.held_out < 0.06  # by chance .03
    for gain, error in zip(chosen.tuned.gains, chosen.tuned.errors, strict=True):
        assert gain <= 3 * error
    scores, came = outcomes(shop, hold_out(walks(randomly(draw, 3000)), endless=False), chosen)
    assert auc(scores, came) < 0.6
    assert max(scores) < 0.1
    assert np.mean(scores) == pytest.approx(np.mean(came), rel=0.3)


def test_something_orders_what_nothing_else_orders() -> None:
    chosen = chosen_on(chained(np.random.default_rng(3), 600), catalogue())
    assert dict(zip(PARTS, chosen.tuned.weights, strict=True))["prior"] == 0
    assert 0 < chosen.ranking.prior < 0.1


def test_what_was_not_to_be_chosen_stays() -> None:
    shop, held = held_of(chained(np.random.default_rng(3), 300), catalogue())
    start = RankingSettings(decay=0.9, nearest=7, repeat=True, brand_share=0.3)
    chosen = choose_on(held, shop, start, ordered=True).ranking
    assert (chosen.decay, chosen.nearest, chosen.repeat, chosen.brand_share) == (0.9, 7, True, 0.3)


def test_equal_pasts_give_equal_choices() -> None:
    first, second = (chosen_on(chained(np.random.default_rng(3), 300, 0.7), catalogue()) for _ in range(2))
    assert first.ranking == second.ranking
    assert first.tuned.trace == second.tuned.trace
    assert first.calibration.to_dict() == second.calibration.to_dict()


@pytest.mark.parametrize("ordered", [True, False])
def test_without_moments_everything_stays_as_it_was_and_no_score_is_a_probability(ordered: bool) -> None:
    shop, held = held_of(chained(np.random.default_rng(3), 20), catalogue())
    chosen = choose_on(Held(held.before, [], [], []), shop, RankingSettings(text=0.3), ordered=ordered)
    assert chosen.ranking == RankingSettings(text=0.3)
    assert not chosen.calibration.calibrated
    assert "expected sessions of two events or more" in chosen.calibration.why
    assert chosen.moments == 0


def test_in_a_shop_of_baskets_all_that_comes_is_asked_for() -> None:
    """A chain's third item follows the second alone; where order means nothing, it is a target of the first as well."""
    shop, held = held_of(chained(np.random.default_rng(3), 600), catalogue())
    first = replace(held, moments=[moment for moment in held.moments if len(moment.history) == 1])
    ordered, baskets = (choose_on(first, shop, RankingSettings(), ordered=ordered) for ordered in (True, False))
    assert ordered.tuned.held_out > 0.9
    assert baskets.tuned.held_out > 0.5
    assert baskets.tuned.figure != ordered.tuned.figure


# ------------------------------------------------------------------------------------------------ what scores are worth
def outcomes(shop: Shop, held: Held, chosen: Chosen) -> tuple[list[float], list[bool]]:
    """Of the best of each moment: the score that it would be offered with, and whether it came within the horizon."""
    shop.calibration = chosen.calibration
    scores, came = [], []
    for moment, raw in candidates_of(shop, held.moments, chosen.ranking):
        ranking = weigh(raw, shop, chosen.ranking, Sight(np.zeros(shop.dimension, np.float32), ()))
        soon = {item for item, time in moment.coming if time - moment.time <= HORIZON_MS}
        seen = {step.subject for step in moment.history}
        best = [each for each in ranking.candidates if each.item_id not in seen][:TOP]
        scores += [each.score for each in best]
        came += [each.item_id in soon for each in best]
    return scores, came


def test_what_a_score_promises_comes_true_in_sessions_that_it_was_not_fitted_on() -> None:
    """Half of the time the next item is the one that follows: a score knows no more, and says no more."""
    draw = np.random.default_rng(3)
    shop, held = held_of(chained(draw, 1500, 0.5), catalogue())
    chosen = choose_on(held, shop, RankingSettings(), ordered=True)
    assert chosen.calibration.calibrated
    later = hold_out(walks(chained(draw, 5000, 0.5)), endless=False)
    scores, came = outcomes(shop, later, chosen)
    assert max(scores) > 0.4
    assert ece(scores, came) < 0.02
    for told in reliability(scores, came, bins=10):
        assert told.hit_rate == pytest.approx(told.probability, abs=0.05)


def test_what_comes_too_late_is_no_hit() -> None:
    slow = log(
        [
            (f"s{number:05d}", item, 10 * HORIZON_MS * number + (HORIZON_MS + 1) * place)
            for number, session in enumerate(chained(np.random.default_rng(3), 300))
            for place, item in enumerate(session)
        ]
    )
    shop, _ = held_of(chained(np.random.default_rng(3), 300), catalogue())
    chosen = choose_on(hold_out(slow, endless=False), shop, RankingSettings(), ordered=True)
    assert chosen.tuned.held_out > 0.9  # it is known what comes
    assert not chosen.calibration.calibrated  # and not within half an hour
    assert chosen.calibration.why.startswith("0 hits")


def test_a_calibration_that_says_that_it_is_none_is_no_probability() -> None:
    shop, held = held_of(chained(np.random.default_rng(3), 30), catalogue())
    chosen = choose_on(held, shop, RankingSettings(), ordered=True)
    shop.calibration = chosen.calibration
    for _, raw in candidates_of(shop, held.moments[:1], chosen.ranking):
        ranking = weigh(raw, shop, chosen.ranking, Sight(np.zeros(shop.dimension, np.float32), ()))
        assert ranking.calibrated is chosen.calibration.calibrated is False
