import itertools
import time

import numpy as np
import polars as pl
import pytest

from index.counts import Counts, CountSettings

SURE = CountSettings(doubt=0, damping=0, backward=0)
"""Scores that can be worked out in the head."""


def observed(*items, session="s", settings=None):
    return Counts.fit([session] * len(items), items, settings)


def test_what_comes_next_is_weighted_by_distance():
    counts = observed("a", "b", "c", settings=SURE)
    assert counts.neighbours([("a", 1.0)], 5) == [("b", pytest.approx(2 / 3), "a"), ("c", pytest.approx(1 / 3), "a")]
    assert counts.neighbours([("c", 1.0)], 5) == []


def test_backward_pairs_weigh_less_and_for_baskets_the_same():
    ordered = observed("a", "b", settings=CountSettings(doubt=1, damping=0))
    assert ordered.neighbours([("a", 1.0)], 1) == [("b", pytest.approx(0.5), "a")]
    assert ordered.neighbours([("b", 1.0)], 1) == [("a", pytest.approx(0.2 / 1.2), "b")]
    basket = Counts.fit(["s", "s"], ["a", "b"], CountSettings(doubt=1, damping=0), backward=1.0)
    assert basket.neighbours([("b", 1.0)], 1) == [("a", pytest.approx(0.5), "b")]
    assert basket.settings.backward == 1.0


def test_sessions_may_be_interleaved_and_do_not_touch():
    counts = Counts.fit(["s", "t", "s", "t"], ["a", "x", "b", "y"], SURE)
    assert [item for item, _, _ in counts.neighbours([("a", 1.0)], 5)] == ["b"]
    assert counts.support("a", "x") == 0


def test_support_counts_sessions_not_repetitions():
    counts = Counts.fit(["s"] * 6 + ["t"] * 2, ["a", "b", "a", "b", "a", "b", "b", "a"])
    assert counts.support("a", "b") == counts.support("b", "a") == 2
    counts.observe("a", "b", "view")
    assert counts.support("a", "b") == 3
    assert counts.support("a", "nobody") == counts.support("nobody", "a") == 0


def test_scores_add_up_over_the_history_and_name_the_item_that_adds_most():
    counts = Counts.fit(["s", "s", "t", "t", "u", "u"], ["a", "x", "b", "x", "b", "y"], SURE)
    found = counts.neighbours([("a", 1.0), ("b", 1.0)], 5)
    assert found == [("x", pytest.approx(0.75), "a"), ("y", pytest.approx(0.25), "b")]
    found = counts.neighbours([("a", 1.0), ("b", 3.0)], 5)
    assert found == [("x", pytest.approx(0.625), "b"), ("y", pytest.approx(0.375), "b")]


def test_equal_evidence_is_the_newest():
    counts = Counts.fit(["s", "s", "t", "t"], ["a", "x", "b", "x"], SURE)
    assert counts.neighbours([("a", 1.0), ("b", 1.0)], 1)[0][2] == "b"
    assert counts.neighbours([("b", 1.0), ("a", 1.0)], 1)[0][2] == "a"
    assert counts.neighbours([("a", 0.5), ("b", 1.0), ("a", 0.5)], 1)[0][2] == "a"


def test_unknown_items_and_weights_not_above_zero_add_nothing():
    counts = observed("a", "b", settings=SURE)
    assert counts.neighbours([("nobody", 1.0), ("a", 1.0)], 5) == [("b", pytest.approx(0.5), "a")]
    assert counts.neighbours([("a", 0.0)], 5) == counts.neighbours([("nobody", 1.0)], 5) == []
    assert counts.neighbours([], 5) == counts.neighbours([("a", 1.0)], 0) == []


def test_scores_stay_within_one():
    source = np.random.default_rng(0)
    counts = Counts.fit([str(s) for s in source.integers(0, 50, 3000)], [str(i) for i in source.integers(0, 30, 3000)])
    scores = [s for i in range(30) for _, s, _ in counts.neighbours([(str(i), 2.0), (str((i + 1) % 30), 1.0)], 50)]
    assert len(scores) > 500
    assert all(0 < score <= 1 for score in scores)


def test_ties_come_in_the_order_of_the_ids():
    counts = Counts.fit(["1", "1", "2", "2", "3", "3"], ["a", "z", "a", "m", "a", "c"], SURE)
    assert [item for item, _, _ in counts.neighbours([("a", 1.0)], 2)] == ["c", "m"]
    assert counts.popular(3) == [("a", 1.0), ("c", pytest.approx(0.5)), ("m", pytest.approx(0.5))]


def test_what_everybody_takes_is_damped():
    events = [("1", "a"), ("1", "rare"), ("2", "a"), ("2", "common")] + [(f"n{n}", "common") for n in range(50)]
    counts = Counts.fit([s for s, _ in events], [i for _, i in events])
    assert [item for item, _, _ in counts.neighbours([("a", 1.0)], 2)] == ["rare", "common"]


def test_popularity():
    counts = Counts.fit(["s"] * 4, ["a", "a", "a", "b"])
    assert counts.prior("a") == 1.0
    assert counts.prior("b") == pytest.approx(np.log(2) / np.log(4))
    assert counts.prior("nobody") == 0.0
    assert [item for item, _ in counts.popular(10)] == ["a", "b"]
    assert counts.popular(0) == []


def test_learning_live_equals_fitting_neighbouring_pairs():
    source = np.random.default_rng(2)
    line = [f"i{i}" for i in source.integers(0, 40, 400)]
    live = Counts(CountSettings(window=1))
    for place, item in enumerate(line):
        live.observe(line[place - 1] if place else None, item, "view")
    # One session a step, since fitting counts a pair once a session.
    steps = [(str(n), item) for n, pair in enumerate(itertools.pairwise(line)) for item in pair]
    fitted = Counts.fit([s for s, _ in steps], [i for _, i in steps], CountSettings(window=1))
    for item in set(line):
        mine = {other: live.support(item, other) for other in set(line)}
        assert mine == {other: fitted.support(item, other) for other in set(line)}
        got = {other: score for other, score, _ in live.neighbours([(item, 1.0)], 100)}
        assert got.keys() == {other for other, n in mine.items() if n}


def test_only_kinds_that_teach_teach():
    counts = Counts()
    for kind in ("impression", "exit", "search", "cart_remove"):
        counts.observe("a", "b", kind)
    assert len(counts) == 0
    counts.observe("", "a", "view")
    counts.observe("a", "a", "click")
    counts.observe("a", "b", "cart_add")
    assert counts.popular(5) == [("a", 1.0), ("b", pytest.approx(np.log(2) / np.log(3)))]
    assert [item for item, _, _ in counts.neighbours([("a", 1.0)], 5)] == ["b"]


def test_live_learning_changes_the_head():
    counts = Counts.fit(["1", "1", "2", "2"], ["a", "old", "a", "old"])
    for _ in range(5):
        counts.observe("a", "new", "view")
    assert counts.neighbours([("a", 1.0)], 1)[0][0] == "new"


def test_the_popular_stay_in_order_while_learning():
    source = np.random.default_rng(5)
    counts = Counts(CountSettings(popular=5))
    seen = {}
    for item in source.zipf(1.3, 1500) % 60:
        counts.observe(None, f"i{item:02d}", "view")
        seen[f"i{item:02d}"] = seen.get(f"i{item:02d}", 0) + 1
        expected = sorted(seen, key=lambda name: (-seen[name], name))
        assert [name for name, _ in counts.popular(5)] == expected[:5]
    assert [name for name, _ in counts.popular(12)] == expected[:12]


def test_neighbours_are_bounded_and_the_heavy_stay():
    counts = Counts(CountSettings(neighbours=10, backward=0, damping=0))
    for _ in range(3):
        counts.observe("a", "heavy", "view")
    for number in range(500):
        counts.observe("a", f"light{number}", "view")
    found = counts.neighbours([("a", 1.0)], 1000)
    assert 10 <= len(found) <= 20
    assert found[0][0] == "heavy"
    fitted = Counts.fit(
        [str(n) for n in range(50) for _ in (0, 1)],
        [name for n in range(50) for name in ("a", f"b{n:02d}")],
        CountSettings(neighbours=10, backward=0),
    )
    assert [name for name, _, _ in fitted.neighbours([("a", 1.0)], 99)] == [f"b{n:02d}" for n in range(10)]


def test_structure_is_found_and_noise_is_not():
    """Items go in fixed steps of one in the first, at random in the second: the next is known only in the first."""
    source = np.random.default_rng(0)
    starts = source.integers(0, 20, 300)
    sessions = np.repeat(np.arange(300), 6).astype(str)
    steps = [f"i{(start + step) % 20:02d}" for start in starts for step in range(6)]
    noise = [f"i{item:02d}" for item in source.integers(0, 20, 1800)]
    hits = []
    for items in (steps, noise):
        counts = Counts.fit(sessions, items)
        heads = [counts.neighbours([(f"i{i:02d}", 1.0)], 1)[0][0] for i in range(20)]
        hits.append(sum(head == f"i{(i + 1) % 20:02d}" for i, head in enumerate(heads)))
    assert hits[0] == 20
    assert hits[1] <= 6


def test_a_frame_round_trip_keeps_everything_and_learning_goes_on():
    source = np.random.default_rng(1)
    counts = Counts.fit([str(s) for s in source.integers(0, 40, 600)], [str(i) for i in source.integers(0, 50, 600)])
    counts.observe("3", "brand new", "view")
    copy = Counts.from_frame(counts.to_frame(), counts.settings)
    for each in (counts, copy):
        each.observe("brand new", "7", "purchase")
    assert copy.popular(100) == counts.popular(100)
    for item in [str(i) for i in range(50)] + ["brand new"]:
        assert copy.neighbours([(item, 1.0), ("3", 0.5)], 40) == counts.neighbours([(item, 1.0), ("3", 0.5)], 40)
        assert copy.support("3", item) == counts.support("3", item)
    assert copy.to_frame().equals(counts.to_frame())


def test_no_events_no_counts():
    for counts in (Counts(), Counts.fit([], []), Counts.from_frame(Counts().to_frame())):
        assert len(counts) == 0
        assert counts.popular(3) == []
        assert counts.neighbours([("a", 1.0)], 3) == []
        counts.observe("a", "b", "view")
        assert counts.neighbours([("a", 1.0)], 3)[0][0] == "b"
    assert len(observed("only")) == 1


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="2 session ids, 1 item ids"):
        Counts.fit(["a", "b"], ["a"])
    for wrong in ({"window": 0}, {"neighbours": 0}, {"backward": 1.5}, {"damping": -1.0}, {"doubt": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            CountSettings(**wrong)


def test_equal_input_gives_equal_tables_and_takes_seconds():
    source = np.random.default_rng(0)
    sessions = pl.Series(np.sort(source.integers(0, 20_000, 150_000))).cast(pl.String)
    items = pl.Series(source.zipf(1.2, 150_000) % 10_000).cast(pl.String)
    start = time.process_time()
    first = Counts.fit(sessions, items).to_frame()
    assert time.process_time() - start < 20
    assert first.equals(Counts.fit(sessions, items).to_frame())


def test_together_finds_what_neighbours_orders():
    counts = Counts.fit(*zip(*[(session, item) for session in "xyz" for item in "abcdefgh"], strict=True))
    history = [("a", 0.5), ("c", 1.0), ("never met", 1.0)]
    for n in (1, 3, 5, 100):
        found = counts.together(history, n)
        columns = zip(found.item_ids, found.scores.tolist(), found.evidence, strict=True)
        assert sorted(columns, key=lambda hit: (-hit[1], hit[0])) == counts.neighbours(history, n)
    assert counts.together(history, 0).item_ids == counts.together([], 5).item_ids == []


def test_of_neighbours_that_tie_at_the_end_the_first_ids_are_kept():
    pairs = [(f"s{number}", item) for number, other in enumerate("dcbe") for item in ("a", other)]
    counts = Counts.fit(*zip(*pairs, strict=True))
    assert sorted(counts.together([("a", 1.0)], 2).item_ids) == ["b", "c"]
    assert [item for item, _, _ in counts.neighbours([("a", 1.0)], 3)] == ["b", "c", "d"]


def test_live_counts_score_as_fitted_ones_do():
    live = Counts()
    for before, after in [(None, "a"), ("a", "b"), (None, "a"), ("a", "b"), ("b", "c")]:
        live.observe(before, after, "view")
    again = Counts.from_frame(live.to_frame(), live.settings)
    history = [("a", 0.6), ("b", 1.0)]
    assert live.neighbours(history, 9) == again.neighbours(history, 9) != []
