"""What every item index promises. A test class derives from `IndexSuite` and says how one is made."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

import numpy as np
import pytest

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def rows(*vectors: list[float]) -> np.ndarray:
    return np.array(vectors, dtype=np.float32)


class IndexSuite:
    @abstractmethod
    def make(self, dimension: int) -> Any:
        """An empty index."""

    def compass(self) -> Any:
        index = self.make(2)
        index.upsert(["east", "north", "west"], rows(EAST, NORTH, WEST))
        return index

    def test_the_nearest_come_first_with_their_inner_product(self):
        assert self.compass().search(rows(EAST, [0.6, 0.8]), 2) == [
            [("east", 1.0), ("north", 0.0)],
            [("north", pytest.approx(0.8)), ("east", pytest.approx(0.6))],
        ]

    def test_cosines_of_named_items_leave_strangers_out(self):
        index, query = self.compass(), rows([0.6, 0.8])
        found = index.cosines(["west", "nowhere", "north"], query[0])
        assert found == {"west": pytest.approx(-0.6), "north": pytest.approx(0.8)}
        assert found == {item: score for item, score in index.search(query, 3)[0] if item != "east"}  # to the bit
        assert index.cosines(["nowhere"], query[0]) == index.cosines([], query[0]) == {}

    def test_the_nearest_are_those_of_a_search_ties_at_the_end_included(self):
        source = np.random.default_rng(2)
        vectors = source.normal(size=(60, 8)).astype(np.float32).repeat(3, axis=0)  # each item three times
        index = self.make(8)
        assert index.nearest(vectors[:2], 5) == [[], []]
        index.upsert([f"{number:03d}" for number in range(180)], vectors)
        for k in (1, 2, 3, 7, 9, 179, 180, 500):
            searched = index.search(vectors[::20], k)
            assert [set(near) for near in index.nearest(vectors[::20], k)] == [
                {i for i, _ in hits} for hits in searched
            ]
            assert [len(near) for near in index.nearest(vectors[::20], k)] == [min(k, 180)] * 9
        with pytest.raises(ValueError, match="k 0"):
            index.nearest(vectors, 0)

    def test_an_empty_index_answers_nothing(self):
        assert self.make(2).search(rows(EAST, WEST), 5) == [[], []]

    def test_no_query_no_answer(self):
        assert self.compass().search(np.empty((0, 2), dtype=np.float32), 5) == []

    def test_k_may_exceed_the_size(self):
        (hits,) = self.compass().search(rows(EAST), 1000)
        assert hits == [("east", 1.0), ("north", 0.0), ("west", -1.0)]

    def test_an_index_emptied_again_answers_nothing(self):
        index = self.compass()
        index.remove(["north", "east", "west"])
        assert len(index) == 0
        assert index.search(rows(EAST), 3) == [[]]
        index.upsert(["south"], rows([0.0, -1.0]))
        assert index.search(rows([0.0, -1.0]), 3) == [[("south", 1.0)]]

    def test_upsert_replaces(self):
        index = self.compass()
        index.upsert(["west", "up"], rows([0.8, 0.6], NORTH))
        assert len(index) == 4
        assert index.search(rows([0.8, 0.6]), 1) == [[("west", pytest.approx(1.0))]]
        assert index.vector("west").tolist() == pytest.approx([0.8, 0.6])

    def test_of_an_id_given_twice_the_last_holds(self):
        index = self.make(2)
        index.upsert(["a", "a"], rows(EAST, WEST))
        assert len(index) == 1
        assert index.search(rows(WEST), 5) == [[("a", 1.0)]]

    def test_a_removed_item_is_found_no_more(self):
        index = self.compass()
        index.remove(["east", "never there", "east"])
        assert "east" not in index
        assert index.vector("east") is None
        assert index.search(rows(EAST), 5) == [[("north", 0.0), ("west", -1.0)]]
        assert index.vector("west").tolist() == WEST
        index.upsert(["east"], rows(EAST))
        assert index.search(rows(EAST), 1) == [[("east", 1.0)]]

    def test_ties_come_in_the_order_of_the_ids_whatever_the_order_of_writes(self):
        names = [f"{number:03d}" for number in range(100)]
        for order in (names, names[::-1], names[50:] + names[:50]):
            index = self.make(2)
            index.upsert(order, np.tile(rows(EAST), (100, 1)))
            (hits,) = index.search(rows(EAST), 3)
            assert hits == [("000", 1.0), ("001", 1.0), ("002", 1.0)]

    def test_an_answer_does_not_depend_on_its_batch_to_the_bit(self):
        source = np.random.default_rng(1)
        vectors = source.normal(size=(300, 48)).astype(np.float32)
        queries = source.normal(size=(70, 48)).astype(np.float32)
        index = self.make(48)
        index.upsert([str(number) for number in range(300)], vectors)
        together = index.search(queries, 7)
        assert together == [index.search(query[None], 7)[0] for query in queries]
        best = (vectors @ queries[0]).argmax()
        assert together[0][0] == (str(best), pytest.approx(float(vectors[best] @ queries[0]), abs=1e-4))

    def test_the_index_keeps_a_copy_and_gives_copies(self):
        index = self.make(2)
        vectors = rows(EAST)
        index.upsert(["a"], vectors)
        vectors[:] = 0
        index.vector("a")[:] = 7
        assert index.vector("a").tolist() == EAST

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_vector_that_is_not_finite_is_refused_and_changes_nothing(self, bad):
        index = self.compass()
        with pytest.raises(ValueError, match="vector 1 holds NaN or infinity"):
            index.upsert(["new", "east"], rows(NORTH, [bad, 0.0]))
        with pytest.raises(ValueError, match="vector 0 holds NaN or infinity"):
            index.search(rows([bad, 0.0]), 1)
        assert len(index) == 3
        assert index.vector("east").tolist() == EAST

    def test_another_shape_is_refused(self):
        index = self.compass()
        with pytest.raises(ValueError, match=r"expected \(1, 2\)"):
            index.upsert(["a"], rows([1.0, 2.0, 3.0]))
        with pytest.raises(ValueError, match=r"expected \(2, 2\)"):
            index.upsert(["a", "b"], rows(EAST))
        with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
            index.search(np.zeros(2, dtype=np.float32), 1)
        with pytest.raises(ValueError, match="k 0"):
            index.search(rows(EAST), 0)
        with pytest.raises(ValueError, match="dimension 0"):
            self.make(0)

    def test_searching_while_another_thread_writes(self):
        """The anchor is always the nearest; the others come and go in pairs, so a search sees both or neither."""
        index = self.make(2)
        index.upsert(["anchor"], rows(EAST))
        pairs = [[f"{number}a", f"{number}b"] for number in range(40)]
        done = threading.Event()
        failures: list[BaseException] = []

        def write() -> None:
            try:
                for _ in range(10):
                    for pair in pairs:
                        index.upsert(pair, rows([0.6, 0.8], [0.6, 0.8]))
                    for pair in pairs:
                        index.remove(pair)
            except BaseException as exc:
                failures.append(exc)
            finally:
                done.set()

        writer = threading.Thread(target=write)
        writer.start()
        searches = 0
        while not done.is_set() or not searches:
            (hits,) = index.search(rows(EAST), 200)
            assert hits[0] == ("anchor", 1.0)
            names = {name for name, _ in hits[1:]}
            assert all((f"{number}a" in names) == (f"{number}b" in names) for number in range(40))
            searches += 1
        writer.join()
        assert not failures
        assert len(index) == 1
