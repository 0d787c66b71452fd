import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import rows_frame
from index.co_settings import CoSettings
from index.cooccurrence import CoOccurrence
from index.lesson import Lesson
from index.meetings import PERIOD_MS, visitor_tag
from index.vocabulary import Vocabulary
from tests.index.counted import (
    LOGS,
    MINUTE,
    PLAIN,
    SETTINGS,
    close,
    fit_log,
    fitted,
    lessons_of,
    support,
    together,
    visitors,
)


def test_what_comes_next_is_weighted_by_distance():
    table = fitted("a", "b", "c")
    assert together(table, [("a", 1.0)]) == [("b", close(2 / 3), "a"), ("c", close(1 / 3), "a")]
    assert together(table, [("c", 1.0)]) == []
    softer = fitted("a", "b", "c", settings=CoSettings(fading=0.5, backward=0, doubt=1, damping=0))
    assert together(softer, [("a", 1.0)]) == [
        ("b", close(1 / (2 + 0.5**0.5)), "a"),
        ("c", close(0.5**0.5 / (2 + 0.5**0.5)), "a"),
    ]


def test_backward_pairs_weigh_less_and_for_baskets_the_same():
    ordered = fitted("a", "b", settings=CoSettings(doubt=1, damping=0))
    assert together(ordered, [("a", 1.0)]) == [("b", pytest.approx(0.5), "a")]
    assert together(ordered, [("b", 1.0)]) == [("a", close(0.2 / 1.2), "b")]
    basket = fitted("a", "b", "c", settings=CoSettings(by_distance=False, backward=1, doubt=2, damping=0))
    assert together(basket, [("b", 1.0)]) == [("a", 0.25, "b"), ("c", 0.25, "b")]


def test_doubt_and_damping_decide_between_the_crowd_and_what_is_rare():
    sessions = [number for number in range(8) for _ in range(2)] + [8, 8]
    items = ["often", "x"] * 6 + ["often", "z"] * 2 + ["rare", "y"]
    history = [("often", 1.0), ("rare", 1.0)]

    def ranked(**changes):
        options = CoSettings(**{"doubt": 0, "damping": 0, "backward": 0, **changes})
        return together(CoOccurrence.fit(Vocabulary(), sessions, items, settings=options), history)

    assert ranked() == [("y", close(1 / 2), "rare"), ("x", close(6 / 8 / 2), "often"), ("z", close(2 / 8 / 2), "often")]
    assert ranked(doubt=10)[0] == ("x", close(6 / 18 / 2), "often")
    assert ranked(damping=0.5)[1] == ("x", close(6 / 8 / 2 * 6**-0.5), "often")


def test_sessions_may_be_interleaved_and_do_not_touch():
    table = CoOccurrence.fit(Vocabulary(), ["s", "t", "s", "t"], ["a", "x", "b", "y"], settings=PLAIN)
    assert [item for item, _, _ in together(table, [("a", 1.0)])] == ["b"]
    assert support(table, "a", "x") == 0


def test_a_pair_counts_once_in_half_an_hour():
    items = ["a", "b", "a", "b", "a", "b"]
    for gap, expected in ((MINUTE, 1), (PERIOD_MS - 1, 1), (PERIOD_MS, 5)):
        table = CoOccurrence.fit(Vocabulary(), [0] * 6, items, np.arange(6) * gap)
        assert support(table, "a", "b") == support(table, "b", "a") == expected, gap
    assert support(fitted(*items), "a", "b") == 1


def test_a_bot_adds_no_more_than_the_first_events_of_its_session():
    items = [f"i{number % 40}" for number in range(1000)]
    times = np.arange(1000) * PERIOD_MS
    capped = CoOccurrence.fit(Vocabulary(), [0] * 1000, items, times, settings=CoSettings(per_session=50))
    fair = CoOccurrence.fit(Vocabulary(), [0] * 50, items[:50], times[:50])
    ignored = ("latest", "landmark")
    assert capped.to_frame().drop(ignored).equals(fair.to_frame().drop(ignored))


def test_a_pair_of_one_visitor_is_told_from_a_pair_of_two():
    table = CoOccurrence.fit(Vocabulary(), [1, 1, 2, 2], ["a", "b"] * 2, visitors=["ann", "ann", "ann", "ann"])
    assert (support(table, "a", "b"), visitors(table, "a", "b"), visitors(table, "b", "a")) == (2, 1, 1)
    table.observe(Lesson("b", ["a"], "click", 0, 3, visitor_tag("bob")))
    assert (support(table, "a", "b"), visitors(table, "a", "b"), visitors(table, "b", "a")) == (3, 2, 2)
    assert visitors(table, "a", "nobody") == visitors(table, "nobody", "a") == support(table, "nobody", "a") == 0


def test_what_comes_with_everything_is_told_from_what_comes_with_one():
    sessions = ["tea", "mug", "milk"], ["tea", "mug", "milk"], ["hat", "milk"], ["saw", "milk"], ["saw", "milk"]
    log = [(f"s{n}", item) for n, items in enumerate(sessions) for item in items]
    table = CoOccurrence.fit(Vocabulary(), *zip(*log, strict=True), settings=PLAIN)
    tea, mug, milk, hat = table.vocabulary.codes(["tea", "mug", "milk", "hat"]).tolist()
    weights = {"mug": 2.0, "milk": 1.0}  # W(tea, b): at distance 1, and at 2
    for after, name in ((mug, "mug"), (milk, "milk")):
        events = sum(item == name for _, item in log)
        pair = table.first_pair([tea], after, visitors=2)
        assert pair == (0, pytest.approx(weights[name] / 3 / (events / len(log)), rel=1e-4))
    assert table.first_pair([-1, milk, hat, tea], milk, visitors=2) == (3, pytest.approx(4 / 5, rel=1e-4))
    assert table.first_pair([tea, mug], milk, visitors=2, lift=1.2) == (1, pytest.approx(12 / 5, rel=1e-4))
    assert table.first_pair([tea], milk, visitors=2, lift=1.2) is None
    assert table.first_pair([], milk, visitors=1) is None
    assert table.first_pair([milk, 99], tea, visitors=1) is None


def test_a_lift_is_the_same_however_it_was_learned():
    log = [(0, "a", 0), (0, "b", 0), (1, "a", 0), (1, "b", 0), (1, "c", 0)]
    learned = CoOccurrence(Vocabulary("b"), PLAIN)
    for lesson in itertools.chain(*lessons_of(log, PLAIN).values()):
        learned.observe(lesson)
    for table in (fit_log(log, PLAIN), learned, learned.copied()):
        a, b = table.vocabulary.codes("ab").tolist()
        assert table.first_pair([a], b, visitors=1) == (0, pytest.approx(4 / 5 / (2 / 5), rel=1e-4))


def test_scores_add_up_over_the_history_and_name_the_item_that_adds_most():
    table = CoOccurrence.fit(
        Vocabulary(), ["s", "s", "t", "t", "u", "u"], ["a", "x", "b", "x", "b", "y"], settings=PLAIN
    )
    assert together(table, [("a", 1.0), ("b", 1.0)]) == [
        ("x", pytest.approx(0.75), "a"),
        ("y", pytest.approx(0.25), "b"),
    ]
    assert together(table, [("a", 1.0), ("b", 3.0)]) == [
        ("x", pytest.approx(0.625), "b"),
        ("y", pytest.approx(0.375), "b"),
    ]


def test_equal_evidence_is_the_newest_and_repeated_history_is_one():
    table = CoOccurrence.fit(Vocabulary(), ["s", "s", "t", "t"], ["a", "x", "b", "x"], settings=PLAIN)
    assert together(table, [("a", 1.0), ("b", 1.0)])[0][2] == "b"
    assert together(table, [("b", 1.0), ("a", 1.0)])[0][2] == "a"
    assert together(table, [("a", 0.5), ("b", 1.0), ("a", 0.5)])[0][2] == "a"
    assert together(table, [("a", 0.6), ("b", 1.0), ("a", 0.6)])[0][2] == "a"


def test_unknown_items_and_weights_not_above_zero_add_nothing():
    table = fitted("a", "b")
    assert together(table, [("nobody", 1.0), ("a", 1.0)]) == [("b", pytest.approx(0.5), "a")]
    assert together(table, [("a", 0.0)]) == together(table, [("nobody", 1.0)]) == together(table, [("a", -1.0)]) == []
    assert together(table, []) == together(table, [("a", 1.0)], 0) == []
    late = table.vocabulary.add("in the catalogue, never seen")
    assert len(table.together(np.array([late], np.int32), np.ones(1), 5).codes) == 0
    assert table.seen(np.array([late, -1, 0], np.int32)).tolist() == [0, 0, 1]


def test_an_item_follows_itself_only_where_that_is_asked_for():
    again = Lesson("a", ["a"], "click", 0, 0, 0)
    for self_pairs, expected in ((False, []), (True, [("a", pytest.approx(0.5), "a")])):
        table = fitted("a", "a", settings=CoSettings(self_pairs=self_pairs, doubt=1, damping=0))
        assert together(table, [("a", 1.0)]) == expected
        table.observe(again)
        assert support(table, "a", "a") == 2 * self_pairs
    assert together(table, [("a", 1.0)], repeats=False) == []


def test_without_repeats_nothing_of_the_history_comes_back_and_the_next_call_is_not_affected():
    table = CoOccurrence.fit(Vocabulary(), [0] * 3, ["a", "b", "c"])
    history = [("a", 1.0), ("b", 1.0)]
    before = together(table, history)
    assert {item for item, _, _ in before} == {"a", "b", "c"}
    assert [item for item, _, _ in together(table, history, repeats=False)] == ["c"]
    assert together(table, history) == before


def test_ties_come_in_the_order_of_the_ids():
    table = CoOccurrence.fit(Vocabulary(["z"]), [1, 1, 2, 2, 3, 3], ["a", "z", "a", "m", "a", "c"], settings=PLAIN)
    assert [item for item, _, _ in together(table, [("a", 1.0)], 2)] == ["c", "m"]
    assert table.vocabulary.ids(table.popular(3)) == ["a", "c", "m"]
    assert table.prior(table.popular(3)) == pytest.approx([1, 0.5, 0.5])
    assert table.prior(np.array([-1, 99], np.int32)).tolist() == [0, 0]


def test_a_kind_that_teaches_nothing_changes_nothing():
    table = fitted("a", "b")
    before = table.to_frame()
    for kind in ("search", "impression", "cart_remove", "exit"):
        table.observe(Lesson("c", ["a"], kind, 9, 9, 9))
    assert table.to_frame().equals(before)


def test_what_is_learned_live_is_found_and_popular_at_once():
    table = CoOccurrence(Vocabulary())
    for number in range(3):
        table.observe(Lesson("b", ["a", "", "c"], "view", 0, number, number))
        assert table.vocabulary.ids(table.popular(1)) == ["b"]
    table.observe(Lesson("a", [], "purchase", 0, 4, 4))
    assert {item for item, _, _ in together(table, [("a", 1.0)])} == {"b"}
    assert [support(table, item, "b") for item in "ac"] == [3, 3]
    assert table.seen(table.vocabulary.codes(["a", "b", "c"])).tolist() == [1, 3, 0]


@settings(deadline=None)
@given(st.lists(st.text("abcdefgh", max_size=6), max_size=20), st.integers(1, 4))
def test_the_order_of_the_popular_is_kept_while_learning(pieces, size):
    table = CoOccurrence(Vocabulary(), CoSettings(popular=size))
    seen = Counter()
    for items in pieces:
        table.observe(*[Lesson(item, [], "click", 0, 0, 0) for item in items])
        seen.update(items)
        expected = sorted(seen, key=lambda name: (-seen[name], name))
        assert table.vocabulary.ids(table.popular(size)) == expected[:size]
    assert table.vocabulary.ids(table.popular(8)) == sorted(seen, key=lambda name: (-seen[name], name))


def test_an_event_counts_half_after_a_half_life():
    day = 86_400_000
    options = CoSettings(half_life_days=2, doubt=0.5, damping=0, backward=0)
    table = CoOccurrence.fit(
        Vocabulary(), [1, 1, 2, 2], ["a", "old", "a", "new"], [0, 0, 2 * day, 2 * day], settings=options
    )
    assert together(table, [("a", 1.0)]) == [("new", close(0.5), "a"), ("old", close(0.25), "a")]
    assert table.vocabulary.ids(table.popular(3)) == ["a", "new", "old"]
    codes = table.vocabulary.codes(["a", "new", "old"])
    assert table.prior(codes) == pytest.approx(np.log1p([1.5, 1, 0.5]) / math.log1p(1.5))
    table.observe(Lesson("b", [], "click", 4 * day, 3, 3))  # two days on
    assert together(table, [("a", 1.0)]) == [
        ("new", close(0.5 / 1.25), "a"),
        ("old", close(0.25 / 1.25), "a"),
    ]
    table.observe(Lesson("new", ["a"], "click", 10**6 * day, 4, 4))  # far beyond: no overflow
    assert together(table, [("a", 1.0)])[0] == ("new", close(1 / 1.5), "a")


@settings(deadline=None)
@given(LOGS, SETTINGS)
def test_fitting_is_observing_one_by_one_or_all_at_once(log, options):
    table = fit_log(log, options)
    live, at_once = (CoOccurrence(Vocabulary(), options, table.landmark) for _ in range(2))
    lessons = [lesson for lessons in lessons_of(log, options).values() for lesson in lessons]
    for lesson in lessons:
        live.observe(lesson)
    at_once.observe(*lessons)
    assert live.to_frame().equals(table.to_frame())
    assert at_once.to_frame().equals(table.to_frame())
    items = live.vocabulary.codes(live.vocabulary.all())
    assert at_once.prior(items).tolist() == live.prior(items).tolist()
    for after in items.tolist():
        assert at_once.first_pair(items, after, visitors=1) == live.first_pair(items, after, visitors=1)


@settings(deadline=None)
@given(LOGS, SETTINGS, st.randoms())
def test_lessons_of_different_sessions_commute(log, options, random):
    queues = list(lessons_of(log, options).values())
    frames = []
    for _ in range(2):
        places = [number for number, queue in enumerate(queues) for _ in queue]
        random.shuffle(places)
        waiting = [iter(queue) for queue in queues]
        table = CoOccurrence(Vocabulary(), options, landmark=MINUTE)
        for place in places:
            table.observe(next(waiting[place]))
        frames.append(table.to_frame())
    assert frames[0].equals(frames[1])


@settings(deadline=None)
@given(
    LOGS,
    st.lists(st.tuples(st.sampled_from("abcdefgz"), st.sampled_from([-1.0, 0.0, 0.3, 0.6, 1.0])), max_size=12),
    st.integers(1, 8),
    st.booleans(),
)
def test_together_is_the_formula(log, history, n, repeats):
    options = CoSettings(doubt=0.5, damping=0.1)
    table = fit_log(log, options)
    frame = table.to_frame()
    ids = frame["item_id"].to_list()
    rows = {
        row["item_id"]: (
            row["total"] / 65536,
            {ids[b]: w / 65536 for b, w in zip(row["after"], row["weight"], strict=True)},
        )
        for row in frame.iter_rows(named=True)
    }
    seen = dict(zip(ids, frame["seen"], strict=True))
    weights = {}
    for item, weight in history:
        if weight > 0:
            weights[item] = weights.pop(item, 0.0) + weight
    parts = {}
    for item, weight in weights.items():
        total, row = rows.get(item, (0, {}))
        for after, pair in row.items():
            part = weight / sum(weights.values()) * pair / (total + 0.5) * max(seen[after], 1) ** -0.1
            if repeats or after not in dict(history):
                parts.setdefault(after, []).append((part, item))
    expected = {after: sum(part for part, _ in given) for after, given in parts.items()}
    found = together(table, history, n, repeats=repeats)
    best = sorted(expected.values(), reverse=True)[:n]
    assert [score for _, score, _ in found] == pytest.approx(best)
    for item, score, evidence in found:
        assert score == pytest.approx(expected[item])
        largest = max(part for part, _ in parts[item])
        assert {because: part for part, because in parts[item]}[evidence] == pytest.approx(largest)


@settings(deadline=None)
@given(LOGS, SETTINGS, st.integers(1, 5))
def test_a_frame_is_the_same_however_many_items_are_made_at_once(log, options, piece):
    table = fit_log(log, options)
    whole = table.to_frame()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rows_frame, "PIECE", piece)
        assert table.to_frame().equals(whole)


@settings(deadline=None)
@given(LOGS, SETTINGS)
def test_a_snapshot_goes_on_as_if_nothing_had_happened(log, options):
    table = fit_log(log, options)
    frame = table.to_frame()
    restored = CoOccurrence.from_frame(Vocabulary(["unrelated", "g"]), frame, options, table.landmark)
    assert restored.to_frame().equals(frame)
    for lesson in (Lesson("c", ["g", "new"], "click", 10**8, 5, 77), Lesson("new", ["c"], "click", 10**8, 5, 78)):
        table.observe(lesson)
        restored.observe(lesson)
    assert restored.to_frame().equals(table.to_frame())
    history = [("a", 0.5), ("c", 1.0)]
    assert together(restored, history) == together(table, history)
    assert restored.vocabulary.ids(restored.popular(9)) == table.vocabulary.ids(table.popular(9))


def test_equal_input_gives_equal_bytes():
    source = np.random.default_rng(1)
    sessions, items = source.integers(0, 500, 5000), [f"i{number}" for number in source.integers(0, 200, 5000)]
    first, second = (CoOccurrence.fit(Vocabulary(), sessions, items).to_frame() for _ in range(2))
    assert first.equals(second)
    assert first["item_id"].is_sorted()
