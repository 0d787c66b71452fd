"""Ranks of targets, ties and gaps included; and the order of asking and learning."""

from __future__ import annotations

import numpy as np

from streaming.evaluation.answers import ask, ask_and_teach
from streaming.evaluation.moments import Ranked, best
from streaming.evaluation.protocols import leave_one_out, next_item, temporal
from tests.streaming.evaluation.logs import Fixed, log_of, sequences

LEARN = sequences("abcdef")


def _rank(ranked: list[tuple[str, float]], session: str, *, repeats: bool = True) -> float:
    """Of the last item of a test session, asked with the items before it, among the six letters a to f."""
    log = log_of(
        [*((*event, "train") for event in LEARN), *(("t", item, 1000 + n, "test") for n, item in enumerate(session))]
    )
    ranker = Fixed(ranked)
    split = next_item(log, repeats, last_only=True)
    ranker.fit(split.part)
    return float(ask(ranker, split).ranks[0])


def test_the_order_of_a_list_is_that_of_its_scores() -> None:
    assert _rank([("b", 1.0), ("c", 3.0), ("d", 2.0)], "ad") == 2


def test_a_tie_takes_the_middle_of_its_equals() -> None:
    assert _rank([("b", 2.0), ("c", 1.0), ("d", 1.0), ("e", 1.0)], "ad") == 3  # 2, 3, 4
    assert _rank([("c", 1.0), ("d", 1.0)], "ad") == 1.5


def test_what_a_list_leaves_out_shares_the_places_below_it() -> None:
    assert _rank([("b", 1.0)], "ad") == 4  # 2 to 6
    assert _rank([], "ad") == 3.5  # knowing nothing is no better than chance


def test_items_of_the_history_are_passed_over_unless_they_may_come_again() -> None:
    ranked = [("a", 3.0), ("b", 2.0), ("c", 1.0)]
    assert _rank(ranked, "abc") == 3
    assert _rank(ranked, "abc", repeats=False) == 1
    assert _rank([], "abc", repeats=False) == 2.5  # of four


def test_lists_hold_the_best_first_and_end_with_minus_one() -> None:
    log = log_of(sequences("abcd bcda"))
    split = leave_one_out(log)
    ranker = Fixed([("a", 1.0), ("d", 1.0), ("c", 2.0)])
    ranker.fit(split.part)
    answers = ask(ranker, split)
    codes = log.catalogue.codes
    by_target = {int(target): row for target, row in zip(split.targets, answers.lists.tolist(), strict=True)}
    assert by_target[codes(["d"])[0]][:2] == [codes(["d"])[0], -1]  # history abc
    assert by_target[codes(["a"])[0]][:2] == [codes(["a"])[0], -1]  # history bcd


def test_a_ranker_never_sees_the_target() -> None:
    log = log_of(sequences("abcd"))
    split = leave_one_out(log)
    ranker = Fixed([])
    ranker.fit(split.part)
    ask(ranker, split)
    assert [log.catalogue.ids(moment.items) for moment in ranker.asked] == [["a", "b", "c"]]
    assert ranker.asked[0].time == log.times[2]


def test_each_event_is_asked_about_before_it_is_learned() -> None:
    log = log_of([("z", "a", 0), ("s", "a", 5, "test"), ("s", "b", 6, "test"), ("s", "c", 7, "test")])
    ranker = Fixed([])
    split = temporal(log, repeats=True)
    ranker.fit(split.part)
    ask_and_teach(ranker, split)
    assert ranker.heard == ["+a", "?a", "+b", "?b", "+c"]


def test_of_whole_days_nothing_is_learned_before_the_day_is_over() -> None:
    day = 86_400
    log = log_of(
        [
            ("z", "a", 0),
            ("s", "a", day, "test"),
            ("s", "b", day, "test"),
            ("s", "c", 2 * day, "test"),
            ("u", "a", 2 * day, "test"),
        ]
    )
    ranker = Fixed([])
    split = temporal(log, repeats=True)
    assert split.by_day
    ranker.fit(split.part)
    ask_and_teach(ranker, split)
    assert ranker.heard == ["?a", "+a", "+b", "?b"]


def test_the_best_scores_come_with_all_ties_and_nothing_at_zero() -> None:
    found = best(np.array([0.0, 2.0, 1.0, 3.0, 1.0]), 3)
    assert isinstance(found, Ranked)
    assert sorted(zip(found.codes.tolist(), found.scores.tolist(), strict=True)) == [
        (1, 2.0),
        (2, 1.0),
        (3, 3.0),
        (4, 1.0),
    ]
