import math
import threading

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from index.knn_settings import KnnSettings
from index.session_knn import RARE, SessionKnn
from index.vocabulary import Vocabulary
from tests.index.known_sessions import BARE, EVENTS, PLAIN, SMALL, asked, contexts, learned, lesson, of, shares


def test_a_score_is_the_share_of_neighbours_that_had_the_item():
    knn = of(["ab", "ac", "abc", "de"])
    assert shares(knn, "a") == {"a": 1, "b": pytest.approx(2 / 3), "c": pytest.approx(2 / 3)}
    assert shares(knn, "ab") == {"a": 1, "b": pytest.approx(0.8), "c": pytest.approx(0.6)}
    assert shares(knn, "ad")["e"] == pytest.approx(0.25)
    assert shares(knn, "z") == shares(knn, "") == {}


def test_neighbours_that_share_what_is_new_count_more():
    assert shares(of(["ax", "by"]), "ab") == {"a": 0.5, "x": 0.5, "b": 0.5, "y": 0.5}
    newer = shares(of(["ax", "by"], KnnSettings(decay="linear", match="none", **BARE)), "ab")
    assert newer == {
        "a": pytest.approx(1 / 3),
        "x": pytest.approx(1 / 3),
        "b": pytest.approx(2 / 3),
        "y": pytest.approx(2 / 3),
    }
    assert shares(of(["ax", "by"], KnnSettings(**BARE)), "ab")["y"] == pytest.approx(0.8)


def test_what_stood_near_counts_more_and_what_came_before_may_count_less():
    settings = KnnSettings(near=math.log(2), backward=0.5, idf=0, own=1, again=0, doubt=0)
    assert shares(of(["xabcd"], settings), "a") == pytest.approx({"x": 0.5, "a": 1, "b": 1, "c": 0.5, "d": 0.25})


def test_popular_items_lose():
    found = shares(of(["ap", "ar", "bp", "cp"], KnnSettings(near=0, doubt=0)), "a")
    assert found["p"] == pytest.approx(0.5 * (1 - math.log(3) / math.log(8)))
    assert found["r"] == pytest.approx(0.5)


def test_few_neighbours_give_low_scores_where_they_are_doubted():
    doubting = KnnSettings(decay="none", match="none", **(BARE | {"doubt": 1}))
    assert shares(of(["ab"], doubting), "a")["b"] == pytest.approx(1 / 2)
    assert shares(of(["ab"] * 9, doubting), "a")["b"] == pytest.approx(9 / 10)


def test_evidence_is_the_item_that_gives_most_and_of_equals_the_newest():
    knn = of(["ax", "ax", "bx", "by", "abz"])
    found = asked(knn, "ab")
    assert [found[item][1] for item in "xyz"] == ["a", "b", "b"]
    assert asked(knn, "ba")["z"][1] == "a"


def test_a_session_is_not_its_own_neighbour():
    knn = of(["ab", "ac"])
    assert shares(knn, "a", exclude=0) == {"a": 1, "c": 1}
    assert shares(knn, "a", exclude=17) == shares(knn, "a") == {"a": 1, "b": 0.5, "c": 0.5}
    assert shares(of(["ab"]), "ab", exclude=0) == {}


def test_weights_of_places_multiply_and_zero_is_as_if_not_there():
    knn = of(["ax", "by"])
    found = shares(knn, "ab", weights=np.array([3.0, 1.0]))
    assert found == pytest.approx({"a": 0.75, "x": 0.75, "b": 0.25, "y": 0.25})
    assert shares(knn, "ab", weights=np.array([0.0, 1.0])) == {"b": 1, "y": 1}
    longer = KnnSettings(history=2, decay="none", match="none", **BARE)
    assert shares(of(["ax", "by"], longer), "zab", weights=np.array([9.0, 3.0, 1.0])) == pytest.approx(found)


def test_the_best_n_of_equals_those_of_the_nearest_neighbour():
    knn = of(["ab", "ac", "ac", "ad"])
    assert set(asked(knn, "a", n=3)) == {"a", "c", "d"}
    assert asked(knn, "a", n=0) == {}


def test_only_the_newest_sessions_of_an_item_are_looked_at():
    sessions = ["ab"] * 3 + ["ac"] * 2
    assert shares(of(sessions, KnnSettings(recent=2, **BARE)), "a") == {"a": 1, "c": 1}
    assert shares(of(sessions, KnnSettings(k=3, **BARE)), "a")["b"] == pytest.approx(1 / 3)


@given(EVENTS, SMALL)
@settings(deadline=None)
def test_lessons_may_come_at_once(events, options):
    at_once = SessionKnn(Vocabulary(), options)
    at_once.observe(*[lesson(*each, context=had) for each, had in zip(events, contexts(events), strict=True)])
    assert at_once.to_frame().equals(learned(events, options).to_frame())


def test_repetitions_and_what_is_not_an_interest_teach_nothing():
    knn = learned([(1, "a", 5), (1, "b", 6)])
    before = knn.to_frame()
    for event in [(1, "a", 5), (1, "a", 2), (2, "a", 7, "dwell"), (2, "a", 7, "cart_remove")]:
        knn.observe(lesson(*event))
    assert knn.to_frame().equals(before)


def test_tags_are_64_bits_signed_or_not():
    high = 2**64 - 1
    knn = learned([(high, "a", 1), (high, "b", 2), (2**63, "a", 3), (5, "a", 4)], PLAIN)
    assert knn.to_frame()["session"].to_list() == [-(2**63), -1, -1, 5]
    assert "b" not in shares(knn, "a", exclude=high)
    assert shares(knn, "a", exclude=high) == shares(knn, "a", exclude=-1)
    tags = pl.Series([high, high, 2**63, 5], dtype=pl.UInt64)
    assert SessionKnn.fit(Vocabulary(), tags, list("abaa"), [1, 2, 3, 4]).to_frame().equals(knn.to_frame())


def test_own_items_are_scored_by_how_often_events_come_back_that_far():
    settings = KnnSettings(decay="none", match="none", near=0, idf=0, own=0.25, again=0.5, doubt=0)
    back_and_forth = [(tag, item, 10 * tag + at) for tag in range(30) for at, item in enumerate("xyx")]
    knn = learned([*back_and_forth, (50, "a", 500), (50, "b", 501), (51, "a", 600), (51, "b", 601)], settings)
    assert knn.to_frame()["back"].sum() == 2 * 30  # x, two events before, in each session
    two_back = 0.5 * 30 / (30 + RARE)
    assert shares(knn, "ab") == pytest.approx({"b": 0.25, "a": 0.25 + two_back})
    assert shares(knn, "a") == pytest.approx({"b": 1, "a": 0.25})
    assert asked(knn, "pq") == {}
    knn.vocabulary.add_all("pq")
    assert asked(knn, "pq") == {"p": (pytest.approx(two_back), "p")}
    assert asked(knn, "pq", weights=np.array([0.0, 1.0])) == {}


def test_threads_ask_while_others_teach():
    knn = of(["ab", "ac", "abc"])
    wrong = []

    def ask():
        for _ in range(300):
            found = shares(knn, "a")
            if found != {"a": 1, "b": pytest.approx(2 / 3), "c": pytest.approx(2 / 3)}:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(3_000):
        knn.observe(lesson(number + 10, f"x{number}", number))
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"k": 0}, "k is 0, expected 1 or more"),
        ({"capacity": -1}, "capacity is -1, expected 1 or more"),
        ({"near": -1.0}, "near is -1.0, expected a finite number, 0 or more"),
        ({"idf": math.inf}, "idf is inf, expected a finite number, 0 or more"),
        ({"own": 2.0}, "own is 2.0, expected 0 to 1"),
        ({"window": 63}, "window is 63, expected 0 to 62"),
        ({"backward": 1.5}, "backward is 1.5, expected 0 to 1"),
        ({"decay": "log"}, "decay is 'log', expected one of none, linear, quadratic, inverse"),
    ],
)
def test_wrong_settings_are_refused(wrong, text):
    with pytest.raises(ValueError, match=text):
        KnnSettings(**wrong)


def test_when_an_item_was_had_last_is_a_sessions_newest_time_however_they_came():
    draw = np.random.default_rng(3)
    sessions, codes = draw.integers(40, size=300), draw.integers(8, size=300)
    times = np.sort(draw.choice(10_000, 300, replace=False))
    items = Vocabulary(["abcdefghi"[code] for code in range(9)])
    fitted = SessionKnn.fit(items, sessions, codes.astype(np.int32), times)
    newest: dict[tuple[int, int], int] = {}
    for session, code, time in zip(sessions.tolist(), codes.tolist(), times.tolist(), strict=True):
        newest[code, session] = time
    found = fitted.newest(np.arange(9, dtype=np.int32), np.array([1, 4, 30, 0]))
    for code in range(8):
        of_it = sorted((time for (item, _), time in newest.items() if item == code), reverse=True)
        far = of_it[29] if len(of_it) >= 30 else -1
        assert found[code].tolist() == [of_it[0], of_it[3], far, of_it[-1]]
    assert found[8].tolist() == [-1] * 4
    assert fitted.oldest() == min(newest.values())
    assert SessionKnn(Vocabulary()).oldest() == -1
