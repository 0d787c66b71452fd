from collections import defaultdict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from index.knn_settings import KnnSettings
from index.session_knn import SCHEMA, SessionKnn
from index.vocabulary import Vocabulary
from tests.index.known_sessions import EVENTS, KNOWN, SMALL, Model, asked, entries, learned, lesson, shares


@settings(max_examples=300, deadline=None)
@given(EVENTS, SMALL, st.lists(st.sampled_from("abcdefgz"), max_size=6), st.integers(-3, 4))
def test_content_and_scores_are_those_of_the_definition(events, bounds, session, exclude):
    knn, model = learned(events, bounds, Vocabulary(KNOWN)), Model(events, bounds)
    frame = knn.to_frame()
    assert frame.schema == SCHEMA
    assert frame.rows() == model.content()
    assert len(knn) == len(model.entries)
    scores, votes = model.scores(session, exclude)
    found = asked(knn, session, exclude=exclude)
    assert {item: score for item, (score, _) in found.items()} == pytest.approx(scores)
    for item, (score, evidence) in found.items():
        assert 0 <= score <= 1 + 1e-9
        most = max(vote for (other, _), vote in votes.items() if other == item)
        assert votes[item, evidence] == pytest.approx(most)


@settings(max_examples=200, deadline=None)
@given(EVENTS, SMALL, st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_sessions_may_interleave_in_any_way(events, bounds, session, random):
    order = [tag for tag, _, _ in events]
    random.shuffle(order)
    queues = defaultdict(list)
    for event in events:
        queues[event[0]].append(event)
    shuffled = [queues[tag].pop(0) for tag in order]
    one, other = learned(events, bounds, Vocabulary(KNOWN)), learned(shuffled, bounds, Vocabulary(reversed(KNOWN)))
    assert one.to_frame().equals(other.to_frame())
    assert asked(one, session) == asked(other, session)


@settings(max_examples=200, deadline=None)
@given(EVENTS, SMALL)
def test_a_snapshot_is_the_whole_content(events, bounds):
    knn = learned(events, bounds, Vocabulary(KNOWN))
    again = SessionKnn.from_frame(Vocabulary(reversed(KNOWN)), knn.to_frame(), bounds)
    assert again.to_frame().equals(knn.to_frame())
    assert asked(again, "abcd") == asked(knn, "abcd")
    for other in (knn, again):
        other.observe(lesson(1, "c", 6))
        other.observe(lesson(2, "a", 7))
    assert again.to_frame().equals(knn.to_frame())


@settings(max_examples=100, deadline=None)
@example([(0, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a", 2)], KnnSettings(window=1))
@given(EVENTS, SMALL)
def test_a_log_at_once_is_its_events_in_order_of_time(events, bounds):
    columns = [list(column) for column in zip(*events, strict=True)] or [[], [], []]
    at_once = SessionKnn.fit(Vocabulary(), *columns, bounds)
    assert at_once.to_frame().equals(learned(sorted(events, key=lambda event: event[2]), bounds).to_frame())


def test_what_is_over_the_bounds_is_forgotten_oldest_first():
    knn = learned([(1, "a", 1), (2, "b", 2), (1, "c", 3), (1, "a", 4)], KnnSettings(capacity=2))
    assert entries(knn) == [(1, "c", 3), (1, "a", 4)]
    knn.observe(lesson(3, "d", 0))
    assert entries(knn) == [(1, "c", 3), (1, "a", 4)]
    knn.observe(lesson(2, "b", 5))
    assert entries(knn) == [(1, "a", 4), (2, "b", 5)]
    bot = learned([(1, f"item {n}", n) for n in range(50)], KnnSettings(longest=3))
    assert bot.to_frame()["item"].to_list() == ["item 47", "item 48", "item 49"]


def test_memory_does_not_grow_with_the_stream():
    rng = np.random.default_rng(1)
    knn = SessionKnn(Vocabulary(), KnnSettings(capacity=2_000))
    sizes = []
    for step in range(10):
        size = 20_000
        tags = step * 5_000 + np.sort(rng.integers(0, 5_000, size)) - 100_000 * (step % 2)
        items = [f"item {n}" for n in rng.zipf(1.3, size) % 3_000]
        part = SessionKnn.fit(Vocabulary(), tags, items, np.arange(size) + step * size, knn.settings)
        for event in entries(part):
            knn.observe(lesson(*event))
        assert entries(knn) == entries(part)
        sizes.append(sum(rows.nbytes for rows in (knn._store.sessions, knn._store.entries, knn._store.table)))
    assert sizes[-1] == sizes[4] < 2_000_000


def test_many_events_in_any_order_are_kept_whole():
    rng = np.random.default_rng(2)
    events = list(zip(rng.integers(0, 4_000, 30_000).tolist(), rng.integers(0, 300, 30_000).astype(str).tolist(),
                      rng.integers(0, 10**6, 30_000).tolist(), strict=True))  # fmt: skip
    bounds = KnnSettings(capacity=9_000, longest=6)
    knn, model = learned(events, bounds), Model(events, bounds)
    assert knn.to_frame().rows() == model.content()


def test_returns_that_are_forgotten_count_no_more():
    knn = learned([(1, "x", 1), (1, "y", 2), (1, "x", 3)], KnnSettings(capacity=3))
    assert "x" in shares(knn, "xz")
    for number in range(3):
        knn.observe(lesson(2 + number, f"other {number}", 10 + number))
    assert entries(knn)[0][1] == "other 0"
    assert shares(knn, "xy") == {}
