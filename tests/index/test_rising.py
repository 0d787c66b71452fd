"""What is on the rise: as the sessions say, however they came and whenever one asks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index.rising import RANK
from index.session_knn import SessionKnn
from index.vocabulary import Vocabulary
from tests.index.known_sessions import lesson

EVENTS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abcde")), max_size=60)
"""Session and item, one after the other."""


def rising(events: list[tuple[int, str]]) -> list[str]:
    newest = {pair: time for time, pair in enumerate(events)}
    of = {
        item: sorted((time for (_, other), time in newest.items() if other == item), reverse=True) for item in "abcde"
    }
    enough = [item for item in "abcde" if len(of[item]) >= RANK]
    return sorted(enough, key=lambda item: (-of[item][RANK - 1], item))


@given(EVENTS, st.integers(1, 6), st.integers(0, 60), st.randoms())
@settings(max_examples=100, deadline=None)
def test_items_stand_by_the_time_of_their_fourth_last_session(events, n, asked, random) -> None:
    """One that is asked while it learns, one that is asked at the end, one that hears several at once, and one that
    heard in another order."""
    timed = [(1 + time, session, item) for time, (session, item) in enumerate(events)]
    early, late, pieces, shuffled = (SessionKnn(Vocabulary()) for _ in range(4))
    pieces.rising(n)
    for start in range(0, len(timed), 1 + asked):
        part = timed[start : start + 1 + asked]
        pieces.observe(*[lesson(session, item, time) for time, session, item in part])
    for time, session, item in timed:
        early.observe(lesson(session, item, time))
        late.observe(lesson(session, item, time))
        if time == asked:
            early.rising(n)
    random.shuffle(timed)
    shuffled.rising(n)
    for time, session, item in timed:
        shuffled.observe(lesson(session, item, time))
    expected = rising(events)[:n]
    for knn in (early, late, pieces, shuffled):
        assert knn.vocabulary.ids(knn.rising(n)) == expected
    assert early.copied().rising(n).tolist() == early.rising(n).tolist()


def test_an_item_that_is_new_to_the_vocabulary_may_rise() -> None:
    knn = SessionKnn(Vocabulary(["a"]))
    assert knn.rising(3).tolist() == []
    for session in range(RANK):
        knn.observe(lesson(session, "z", 1 + session))
    assert knn.vocabulary.ids(knn.rising(3)) == ["z"]
    assert knn.newest(knn.vocabulary.codes(["z"]), np.array([RANK])).tolist() == [[1]]
