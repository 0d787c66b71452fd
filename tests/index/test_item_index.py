import subprocess
import sys

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from index.exact import ExactIndex
from index.item_index import SLACK, ItemIndex
from tests.suites.index_suite import IndexSuite

NAMES = [f"item-{number}" for number in range(60)]
COORDINATES = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0])  # few, so that ties are common
VECTORS = st.tuples(COORDINATES, COORDINATES, COORDINATES)


class TestItemIndex(IndexSuite):
    def make(self, dimension):
        return ItemIndex(dimension)


class AgainstExact(RuleBasedStateMachine):
    """Any order of writes and searches: the same answers as the reference, to the bit."""

    def __init__(self):
        super().__init__()
        self.index = ItemIndex(3)
        self.exact = ExactIndex(3)

    @rule(items=st.lists(st.tuples(st.sampled_from(NAMES), VECTORS), max_size=40))
    def upsert(self, items):
        vectors = np.array([vector for _, vector in items], dtype=np.float32).reshape(-1, 3)
        for index in (self.index, self.exact):
            index.upsert([name for name, _ in items], vectors)

    @rule(names=st.lists(st.sampled_from(NAMES), max_size=20))
    def remove(self, names):
        for index in (self.index, self.exact):
            index.remove(names)

    @rule(queries=st.lists(VECTORS, min_size=1, max_size=4), k=st.integers(1, 70))
    def search(self, queries, k):
        asked = np.array(queries, dtype=np.float32)
        assert self.index.search(asked, k) == self.exact.search(asked, k)

    @invariant()
    def hold_the_same(self):
        assert len(self.index) == len(self.exact)
        for name in NAMES[::7]:
            mine, reference = self.index.vector(name), self.exact.vector(name)
            assert (mine is None) == (reference is None) == (name not in self.index)
            assert mine is None or mine.tolist() == reference.tolist()


AgainstExact.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestAgainstExact = AgainstExact.TestCase


def test_more_ties_at_the_border_than_faiss_was_asked_for():
    names = [f"{number:04d}" for number in range(40 * SLACK)]
    index = ItemIndex(2)
    index.upsert(names[::-1], np.tile(np.float32([1, 0]), (len(names), 1)))
    index.upsert(["better"], np.float32([[2, 0]]))
    (hits,) = index.search(np.float32([[1, 0]]), 4)
    assert [name for name, _ in hits] == ["better", "0000", "0001", "0002"]


def test_agrees_with_the_reference_on_many_vectors():
    source = np.random.default_rng(3)
    vectors = source.normal(size=(3000, 32)).astype(np.float32)
    names = [str(number) for number in range(3000)]
    index, exact = ItemIndex(32, threads=2), ExactIndex(32)
    for each in (index, exact):
        each.upsert(names, vectors)
        each.remove(names[::3])
        each.upsert(names[::9], vectors[::9][::-1])
    queries = source.normal(size=(50, 32)).astype(np.float32)
    assert index.search(queries, 20) == exact.search(queries, 20)


def test_no_thread_is_no_index():
    with pytest.raises(ValueError, match="threads 0"):
        ItemIndex(2, threads=0)


def test_searching_needs_no_torch():
    program = (
        "import sys, numpy as np, index.counts\n"
        "from index.item_index import ItemIndex\n"
        "found = ItemIndex(2); found.upsert(['a'], np.eye(2, dtype='f4')[:1]); found.search(np.eye(2, dtype='f4'), 1)\n"
        "print([name for name in ('torch', 'transformers', 'encoders') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
