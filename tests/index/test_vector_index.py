import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from index import snapshot
from index.exact import ExactVectors
from index.live import SLACK
from index.nearest import Kind, gpus
from index.snapshot import SearchSettings
from index.vector_index import RebuildSettings, VectorIndex
from index.vocabulary import Vocabulary
from tests.suites.vector_index_suite import VectorIndexSuite, codes, crowd, rows

NAMES = [f"item-{number:02d}" for number in range(60)][::-1]  # codes run against ids
COORDINATES = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0])  # few, so that ties are common
VECTORS = st.tuples(COORDINATES, COORDINATES, COORDINATES)


class TestExactVectors(VectorIndexSuite):
    def make(self, vocabulary, dimension):
        return ExactVectors(vocabulary, dimension)


class TestSideIndexAlone(VectorIndexSuite):
    def make(self, vocabulary, dimension):
        return VectorIndex(vocabulary, dimension)


class Settled(VectorIndexSuite):
    kind = Kind.FLAT

    def make(self, vocabulary, dimension):
        return VectorIndex(vocabulary, dimension, settings=SearchSettings(gpu=False))

    def settle(self, index):
        index.swap(index.rebuild(self.kind))
        if index.vectors(codes(0)).shape[1] == crowd(1)[0].shape[1] and len(index) >= 1000:
            assert index.kind == self.kind
            assert index.drift == 0


class TestFlat(Settled):
    pass


class TestInverted(Settled):
    kind = Kind.IVF_PQ
    recall = 0.95


class TestMapped(VectorIndexSuite):
    """Served from files after each move to the main part."""

    recall = 0.95

    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path):
        self.folder = tmp_path
        self.count = 0

    def make(self, vocabulary, dimension):
        return VectorIndex(vocabulary, dimension)

    def settle(self, index):
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        index.swap(index.rebuild(Kind.IVF_PQ, folder=folder))


@pytest.mark.skipif(not gpus(), reason="no GPU that the installed faiss can use")
class TestGpu(Settled):
    kind = Kind.IVF_PQ
    recall = 0.95

    def make(self, vocabulary, dimension):
        return VectorIndex(vocabulary, dimension, settings=SearchSettings(gpu=True))


class AgainstExact(RuleBasedStateMachine):
    """Any order of writes, rebuilds, late swaps and searches: the same answers as the reference."""

    def __init__(self):
        super().__init__()
        vocabulary = Vocabulary(NAMES)
        self.index, self.exact = VectorIndex(vocabulary, 3), ExactVectors(vocabulary, 3)
        self.rebuilt = []

    @rule(items=st.lists(st.tuples(st.integers(0, 59), VECTORS), max_size=40))
    def upsert(self, items):
        named, vectors = codes(*(code for code, _ in items)), np.array([v for _, v in items], np.float32).reshape(-1, 3)
        for index in (self.index, self.exact):
            index.upsert(named, vectors)

    @rule(items=st.lists(st.integers(-1, 59), max_size=30))
    def remove(self, items):
        for index in (self.index, self.exact):
            index.remove(codes(*items))

    @rule()
    def rebuild(self):
        self.rebuilt.append(self.index.rebuild())

    @rule(which=st.integers(0, 3))
    def swap(self, which):
        if self.rebuilt:
            self.index.swap(self.rebuilt.pop(which % len(self.rebuilt)))

    @rule(queries=st.lists(VECTORS, min_size=1, max_size=25), k=st.integers(1, 70))
    def search(self, queries, k):
        asked = np.array(queries, dtype=np.float32)
        found, right = self.index.search(asked, k), self.exact.search(asked, k)
        assert [best.tolist() for best in found] == [best.tolist() for best in right]

    @invariant()
    def holds_the_same(self):
        everything = np.arange(-1, 60, dtype=np.int32)
        assert len(self.index) == len(self.exact)
        assert self.index.has(everything).tolist() == self.exact.has(everything).tolist()
        assert np.array_equal(self.index.vectors(everything), self.exact.vectors(everything))


AgainstExact.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAgainstExact = AgainstExact.TestCase


def filled(count: int = 2000, **settings) -> tuple[VectorIndex, np.ndarray, np.ndarray]:
    vectors, queries = crowd(count // 50)
    index = VectorIndex(Vocabulary(f"{number:05d}" for number in range(count)), vectors.shape[1], **settings)
    index.upsert(np.arange(count, dtype=np.int32), vectors)
    return index, vectors, queries


def test_more_ties_than_the_slack_are_all_looked_at():
    index = VectorIndex(Vocabulary(f"{9999 - number:04d}" for number in range(40 * SLACK)), 2)
    index.upsert(np.arange(40 * SLACK, dtype=np.int32), np.tile(rows([1.0, 0.0]), (40 * SLACK, 1)))
    for _ in range(2):
        assert index.search(rows([1.0, 0.0]), 3)[0].tolist() == [40 * SLACK - 3, 40 * SLACK - 2, 40 * SLACK - 1]
        index.swap(index.rebuild())


def test_what_the_snapshot_has_to_the_bit_is_no_drift():
    index, vectors, _ = filled()
    assert index.drift == 2000
    index.swap(index.rebuild())
    everything = np.arange(2000, dtype=np.int32)
    index.upsert(everything, vectors)
    assert index.drift == 0
    index.remove(codes(4, 5))
    index.upsert(codes(6), vectors[7:8])
    assert index.drift == 4  # three gone, one beside
    index.upsert(everything, vectors)
    assert index.drift == 0
    assert len(index) == 2000


def test_a_rebuild_is_due_by_share_and_never_for_a_few():
    index, vectors, _ = filled(rebuilding=RebuildSettings(share=0.1, least=150))
    assert index.needs_rebuild()
    index.swap(index.rebuild())
    assert not index.needs_rebuild()
    index.upsert(np.arange(100, dtype=np.int32), -vectors[:100])
    assert not index.needs_rebuild()  # 200 rows: not more than the share
    index.remove(codes(1999))
    assert index.needs_rebuild()
    index.remove(np.arange(1990, dtype=np.int32))
    index.swap(index.rebuild())
    index.remove(np.arange(1990, 2000, dtype=np.int32))
    assert not index.needs_rebuild()  # all of them, and fewer than are worth it


def test_what_changes_while_a_snapshot_is_made_is_kept(monkeypatch):
    """The build waits in its midst until the writes have come."""
    index, vectors, queries = filled()
    begun, written = threading.Event(), threading.Event()
    made = snapshot.Snapshot._made.__func__

    def waiting(*given):
        begun.set()
        assert written.wait(30)
        return made(*given)

    monkeypatch.setattr(snapshot.Snapshot, "_made", classmethod(waiting))
    results = []
    thread = threading.Thread(target=lambda: results.append(index.rebuild(Kind.IVF_PQ)))
    thread.start()
    assert begun.wait(30)
    index.upsert(codes(3, 90), vectors[[500, 3]])
    index.remove(codes(7, 8))
    index.vocabulary.add("new")
    index.upsert(codes(2000), queries[:1])
    assert index.search(queries[:1], 1)[0].tolist() == [2000]  # served meanwhile
    written.set()
    thread.join()
    index.remove(codes(9))
    index.upsert(codes(8), vectors[8:9])
    index.swap(results[0])
    assert len(index) == 2000 + 1 - 2
    assert index.has(codes(3, 7, 8, 9, 90, 2000)).tolist() == [True, False, True, False, True, True]
    assert np.array_equal(index.vectors(codes(3, 8, 90, 2000)), np.stack([*vectors[[500, 8, 3]], queries[0]]))
    assert index.search(queries[:1], 1)[0].tolist() == [2000]
    assert index.drift == 2 * 2 + 2 + 1  # two moved, two gone, one new
    with pytest.raises(ValueError, match="swapped in before"):
        index.swap(results[0])
    with pytest.raises(ValueError, match="not of this index"):
        index.swap(filled()[0].rebuild())


def test_saving_with_drift_writes_what_is_there(tmp_path):
    index, vectors, _ = filled()
    index.swap(index.rebuild(Kind.IVF_PQ))
    index.remove(codes(0))
    index.upsert(codes(1), vectors[:1])
    index.save(tmp_path)
    opened = VectorIndex.open(tmp_path, Vocabulary())
    assert (opened.kind, len(opened), opened.drift, opened.dimension) == (Kind.IVF_PQ, 1999, 0, 24)
    assert not opened.contains(opened.vocabulary.code("00000"))
    assert np.array_equal(opened.vectors(opened.vocabulary.codes(["00001"])), vectors[:1])
    assert index.drift == 3  # saving changed nothing
