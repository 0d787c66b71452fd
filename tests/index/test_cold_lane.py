"""Where an item lies in the network's space that the network never met, and how a session finds it."""

import numpy as np
import pytest

from index import fusion
from index.co_settings import CoSettings
from index.cold_lane import SHARPNESS, ColdLane
from index.cooccurrence import CoOccurrence
from index.fusion import Layout
from index.lesson import Lesson
from index.nearest import Kind
from index.vector_index import VectorIndex
from index.vocabulary import Vocabulary

LAYOUT = Layout(text=3, graph=2, behaviour=1, sequence=4)
SEQUENCE = LAYOUT.slices[3]
TEXTS = {"red": [1, 0, 0], "rose": [0.9, 0.1, 0], "blue": [0, 1, 0], "hardly": [0, 0.1, 1], "new": [1, 0.2, 0]}
PLACES = {"red": [1, 0, 0, 0], "rose": [0, 1, 0, 0], "blue": [0, 0, 1, 0], "hardly": [0, 0, 1, 1], "new": [0, 0, 0, 1]}
"""In the network's space, before anything is lent."""
WARM = ("red", "rose", "blue")


class Lane:
    """Three items that many had, one that one visitor had, and one that nobody had, nor the network."""

    def __init__(self, met=("red", "rose", "blue", "hardly"), texts=TEXTS):
        self.vocabulary = Vocabulary(list(texts))
        self.counts = CoOccurrence(self.vocabulary, CoSettings(cold_below=2))
        for number, item in enumerate([*WARM, *WARM, "hardly"]):
            self.counts.observe(Lesson(item, [], "view", number, number, number))
        self.index = VectorIndex(self.vocabulary, LAYOUT.dimension)
        self.codes = self.vocabulary.codes(list(texts))
        words, places = (np.array(list(each.values()), np.float32) for each in (texts, PLACES))
        self.index.upsert(self.codes, fusion.assemble(words, None, None, places, np.zeros(len(words)), layout=LAYOUT))
        self.before = self.index.vectors(self.codes)
        self.lane = ColdLane(self.counts, self.index, LAYOUT, None if met is None else self.vocabulary.codes(list(met)))
        self.lane.meet(self.codes)

    def place(self, item):
        return self.index.vectors(self.vocabulary.codes([item]))[0, SEQUENCE]

    def alike(self, one, other):
        ones = [np.array(TEXTS[each]) / np.linalg.norm(TEXTS[each]) for each in (one, other)]
        return 0.8 * float(ones[0] @ ones[1])


def test_what_the_network_never_met_lies_where_those_lie_that_it_is_like():
    lane = Lane()
    weights = [lane.alike("new", item) ** SHARPNESS for item in WARM]
    expected = np.array([*weights, 0.0])
    assert lane.place("new") == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    others = lane.vocabulary.codes([*WARM, "hardly"])
    assert lane.index.vectors(others).tobytes() == lane.before[:4].tobytes()
    rest = np.r_[0 : SEQUENCE.start, SEQUENCE.stop : LAYOUT.dimension]
    assert (lane.index.vectors(lane.codes)[4, rest] == lane.before[4, rest]).all()


def test_one_that_the_network_never_met_lends_no_place():
    lane = Lane(met=("rose", "blue"))
    weights = [lane.alike("new", item) ** SHARPNESS for item in ("rose", "blue")]
    expected = np.array([0.0, *weights, 0.0])
    assert lane.place("new") == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    own = lane.alike("red", "rose") ** SHARPNESS  # many had it since the network was trained
    assert lane.place("red")[1] == pytest.approx(own / np.hypot(own, lane.alike("red", "blue") ** SHARPNESS), abs=1e-6)


@pytest.mark.parametrize("met", [None, ()])
def test_it_stays_where_it_is_where_nobody_lends(met):
    lane = Lane(met=met)
    assert lane.index.vectors(lane.codes).tobytes() == lane.before.tobytes()


def test_one_of_which_no_words_are_known_stays_where_it_is():
    lane = Lane(texts=TEXTS | {"new": [0, 0, 0]})
    assert lane.place("new").tolist() == PLACES["new"]


def test_to_meet_it_again_changes_nothing_and_a_snapshot_has_it():
    lane = Lane()
    lane.index.swap(lane.index.rebuild(Kind.FLAT))
    found = lane.index.vectors(lane.codes)
    lane.index.upsert(lane.codes[4:], lane.before[4:])  # as the catalogue read again does
    lane.lane.meet(lane.codes[4:])
    assert lane.index.vectors(lane.codes).tobytes() == found.tobytes()
    assert lane.index.drift == 0


def test_a_session_finds_what_the_network_expects_before_what_its_words_are_like():
    lane = Lane()
    session = np.zeros((2, LAYOUT.session), np.float32)
    session[:, LAYOUT.slices[0]] = TEXTS["hardly"]
    session[0, SEQUENCE] = PLACES["red"]
    new, hardly = lane.vocabulary.codes(["new", "hardly"]).tolist()
    expecting, reading = (each.tolist() for each in lane.lane.nearest(session, 5))
    assert expecting == [new, hardly]
    assert reading == [hardly, new]
    assert [each.tolist() for each in lane.lane.nearest(session, 1)] == [[new], [hardly]]
