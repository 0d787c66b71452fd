"""Figures of a backtest on decisions that are made up, so that each is known beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from streaming.backtest import Costs
from streaming.backtest_quality import Popularity, Quality
from streaming.backtest_report import METRICS, Report, Run, course, values_of
from streaming.decisions import Decision, Due
from streaming.intake import Event, Source
from streaming.records import Became, IndexVersion, Offer, Prediction, SessionClosed, Suppressed, Trigger

START = 1_700_000_000_000
PAST = ["p1"] * 5 + ["p2"] * 3 + ["p3"]


def event(at_s: float, item: str | None, session: str = "a", kind: str = "view") -> Event:
    return Event(Source(1, 0, 0, 0), session, None, kind, START + int(at_s * 1000), item)


def prediction(at_s: float, items: list[str], session: str = "a", trigger: Trigger = "next_item") -> Prediction:
    return Prediction(
        prediction_id="0" * 32,
        session_id=session,
        trigger=trigger,
        items=[Offer(item_id=item, score=0.5, reasons=[]) for item in items],
        model="m",
        index=IndexVersion(snapshot="s"),
        level="full",
        arm="treatment",
        event_time=START + int(at_s * 1000),
        made_at=0,
        expires_at=START + int(at_s * 1000) + 1_800_000,
    )


def heard(*decisions: Decision, repeats: bool = False, learn: bool = False) -> Quality:
    quality = Quality(Popularity(PAST, learn=learn), repeats=repeats)
    for decision in decisions:
        quality.hear(decision)
    quality.finish()
    return quality


def silent(at_s: float, item: str | None, ranked: tuple[str, ...] = (), **fields: Any) -> Decision:
    return Decision(event(at_s, item, **fields), silent="unchanged", ranked=ranked)


def sends(at_s: float, item: str, items: list[str], **fields: Any) -> Decision:
    return Decision(event(at_s, item), prediction=prediction(at_s, items, **fields))


def closes(at_s: float, session: str = "a") -> Decision:
    closed = SessionClosed(session_id=session, events={}, digest=0, first_time=0, last_time=0, became=Became())
    return Decision(Due(session, START + int(at_s * 1000)), silent="closed", closed=closed)


def report(quality: Quality, **fields: Any) -> Report:
    run = Run("shop", "m", False, 1, items=100, set_aside=0, seen_by_model=0)
    return Report(run, quality, Costs(lambda: 0.0, lambda: 0.0), fields.get("dead_letters", {}))


# --------------------------------------------------------------------------------------------------------- rankings
def test_a_ranking_is_held_against_the_next_item_of_its_session() -> None:
    quality = heard(silent(0, "x", ("y", "z")), silent(1, "q", ("n",), session="b"), silent(2, "z", ("w",)))
    assert list(quality.ranks) == [2.0]  # z was second; q is another visitor's
    assert quality.unfollowed == 2


def test_what_was_not_ranked_is_a_miss() -> None:
    assert list(heard(silent(0, "x", ("y",)), silent(1, "z")).ranks) == [math.inf]


def test_popularity_is_asked_at_the_same_moments_for_what_was_not_had() -> None:
    quality = heard(silent(0, "p1", ("y",)), silent(1, "p3", ("y",)), silent(2, "p2"))
    assert list(quality.popular_ranks) == [2.0, 1.0]  # of p2, p3; then of p2 alone


def test_popularity_learns_as_it_goes_but_not_what_it_is_asked() -> None:
    often = [silent(n, "new", ("y",), session=f"s{n}") for n in range(2000)]
    asked = [silent(3000, "x", ("y",), session="z"), silent(3001, "new", session="z")]
    assert list(heard(*often, *asked, learn=True).popular_ranks) == [1.0]
    assert list(heard(*often, *asked, learn=False).popular_ranks) == [math.inf]
    assert list(heard(*asked, learn=True).popular_ranks) == [math.inf]


def test_a_repeat_is_asked_only_where_it_may_be_predicted() -> None:
    decisions = [silent(0, "x", ("x",)), silent(1, "x", ("y",))]
    assert (list(heard(*decisions).ranks), heard(*decisions).left_out) == ([], 1)
    assert list(heard(*decisions, repeats=True).ranks) == [1.0]


def test_an_impression_or_a_search_is_no_item_that_came_next() -> None:
    quality = heard(
        silent(0, "x", ("z",)),
        silent(1, "y", kind="impression"),
        silent(2, None, ("w", "z"), kind="search"),
        silent(3, "z"),
    )
    assert list(quality.ranks) == [1.0, 2.0]  # both rankings since the last item


def test_a_session_that_ended_is_not_followed_by_the_next_of_its_name() -> None:
    quality = heard(silent(0, "x", ("z",)), closes(2000), silent(4000, "z"))
    assert (list(quality.ranks), quality.unfollowed) == ([], 1)


def test_an_event_that_was_there_before_is_none() -> None:
    again = Decision(event(1, "z"), silent="repeat")
    assert list(heard(silent(0, "x", ("z",)), again).ranks) == []


def test_metrics_of_ranks_that_are_known() -> None:
    quality = heard(
        *(silent(0, "x", tuple(f"i{n}" for n in range(20)), session=name) for name in "abc"),
        silent(1, "i0", session="a"),
        silent(1, "i14", session="b"),
        silent(1, "no", session="c"),
    )
    told = report(quality).quality_json()["rankings"]
    assert told["n"] == 3
    assert told["metrics"] == pytest.approx(
        {
            "hr_10": 1 / 3,
            "hr_20": 2 / 3,
            "mrr_10": 1 / 3,
            "mrr_20": (1 + 1 / 15) / 3,
            "ndcg_10": 1 / 3,
            "ndcg_20": (1 + 1 / math.log2(16)) / 3,
            "coverage_20": 20 / 100,
            "novelty_20_bits": math.log2(9 + 23),
        },
        abs=1e-4,
    )
    assert values_of(quality.ranks).shape == (3, len(METRICS))


def test_novelty_is_the_surprise_of_what_was_shown() -> None:
    quality = heard(silent(0, "x", ("p1", "p1", "u")))
    # 9 events, 4 items known or shown, one added to each: 6 of 13, and 1 of 13.
    assert quality.novelty() == pytest.approx((2 * -math.log2(6 / 13) - math.log2(1 / 13)) / 3)
    assert heard().novelty() == 0


def test_the_course_of_the_hit_rate_keeps_the_order_of_the_log() -> None:
    decisions = []
    for n in range(200):
        decisions += [
            silent(n, "x", ("hit",), session=f"s{n}"),
            silent(n, "hit" if n >= 100 else "no", session=f"s{n}"),
        ]
    events, ours, _ = course(heard(*decisions))
    assert events == sorted(events)
    assert ours[:20] == [0.0] * 20
    assert ours[20:] == [1.0] * 20


# ------------------------------------------------------------------------------------------------------- what was sent
def test_a_prediction_hits_if_one_of_its_items_is_taken_up_in_time() -> None:
    quality = heard(sends(0, "x", ["y", "z"]), silent(60, "w"), silent(90, "z", kind="cart_add"), closes(4000))
    (sent,) = quality.sent
    assert (sent.taken, sent.lead_ms, sent.followed, sent.popular_hit) == ({"z"}, 90_000, True, False)
    told = report(quality).quality_json()["sent"]
    assert (told["hit_rate"], told["precision"], told["lead_s"]["p50"]) == (1.0, 0.5, 90.0)
    assert told["calibration"]["mean_score"] == 0.5
    assert told["calibration"]["hit_rate"] == 0.5


@pytest.mark.parametrize(
    ("later", "hit"),
    [
        ([silent(n, f"n{n}") for n in range(1, 5)] + [silent(9, "y")], True),  # the fifth event
        ([silent(n, f"n{n}") for n in range(1, 6)] + [silent(9, "y")], False),  # the sixth
        ([silent(1799, "y")], True),
        ([silent(1800, "y")], False),
        ([silent(1, "y", kind="impression")], False),
        ([silent(1, "y", kind="cart_remove")], False),
        ([silent(1, "y", session="b")], False),
    ],
)
def test_the_horizon_is_five_events_or_half_an_hour(later: list[Decision], hit: bool) -> None:
    quality = heard(sends(0, "x", ["y"]), *later, closes(9000))
    assert [bool(sent.taken) for sent in quality.sent] == [hit]


def test_what_the_log_ends_before_is_left_out() -> None:
    assert heard(sends(0, "x", ["y"]), silent(10, "w")).cut_off == 1
    assert heard(sends(0, "x", ["y"]), silent(2000, "w", session="b")).cut_off == 0


def test_figures_by_trigger_and_outcome() -> None:
    held = Suppressed(prediction=prediction(0, ["y"]), rule="quiet", detail="")
    quality = heard(
        sends(0, "x", ["y"], trigger="cold_start"),
        sends(1, "y", ["q"]),
        Decision(event(2, "w"), suppressed=held),
        Decision(event(3, "w"), silent="no_gain"),
        Decision(event(4, "w"), prediction=prediction(4, [])),
        closes(9000),
    )
    told = report(quality).quality_json()
    assert told["sent"]["by_trigger"]["cold_start"]["hit_rate"] == 1
    assert told["sent"]["by_trigger"]["next_item"]["hit_rate"] == 0
    assert told["sent"]["predictions_by_trigger"] == {"cold_start": 1, "next_item": 2}
    assert (told["sent"]["predictions"], told["sent"]["withdrawals"]) == (2, 1)
    assert told["sent"]["share_of_decisions"] == pytest.approx(2 / 6, abs=1e-4)
    assert (told["suppressed"], told["silent"]) == ({"quiet": 1}, {"closed": 1, "no_gain": 1})
    assert (told["events"], told["due"], told["sessions"]) == (5, 1, 1)


def test_popularity_sends_as_many_at_the_same_moment() -> None:
    quality = heard(sends(0, "p1", ["y"]), silent(1, "p2"), closes(9000))
    assert report(quality).quality_json()["sent"]["hit_rate_popularity"] == 1  # p2: p1 was had
    quality = heard(sends(0, "p1", ["y"]), silent(1, "p3"), closes(9000))
    assert report(quality).quality_json()["sent"]["hit_rate_popularity"] == 0  # one item alone


def test_a_ranker_that_knows_beats_popularity_and_one_that_guesses_does_not() -> None:
    knows = [
        decision
        for n in range(60)
        for decision in (silent(n, "x", (f"t{n}",), session=f"s{n}"), silent(n, f"t{n}", session=f"s{n}"))
    ]
    low, high = report(heard(*knows)).quality_json()["rankings"]["gains"]["hr_10"]
    assert low == high == 1
    chance = np.random.default_rng(0)
    guesses = [
        decision
        for n in range(300)
        for decision in (
            silent(n, "x", (str(chance.choice(["p1", "p2", "p3"])), "u"), session=f"s{n}"),
            silent(n, str(chance.choice(["p1", "p2", "p3"])), session=f"s{n}"),
        )
    ]
    low, high = report(heard(*guesses)).quality_json()["rankings"]["gains"]["mrr_10"]
    assert low < 0


def test_an_empty_log_gives_a_report_without_figures() -> None:
    told = report(heard()).as_json()
    assert (told["events"], told["rankings"]["n"], told["sent"]["n"], told["cpu_us_per_event"]) == (0, 0, 0, None)
    assert told["sent"]["lead_s"] == {"n": 0, "p10": None, "p50": None, "p90": None}


def test_a_model_that_saw_the_log_is_told() -> None:
    run = Run("shop", "m", False, 1, items=100, set_aside=1, seen_by_model=7)
    found = Report(run, heard(silent(0, "x")), Costs(lambda: 0.0, lambda: 0.0), {"bad_id": 2}).warnings
    assert "built on 7 of these 1 events" in found[0]
    assert found[1] == "3 rows of the log were refused"
