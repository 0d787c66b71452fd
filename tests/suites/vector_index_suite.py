"""What every index by code promises. A test class derives from `VectorIndexSuite` and says how one is made."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

import numpy as np
import pytest

from index.vocabulary import Vocabulary

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
FAMILIES, WIDTH = 50, 24


def rows(*vectors: list[float]) -> np.ndarray:
    return np.array(vectors, dtype=np.float32)


def codes(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int32)


def crowd(each: int, copies: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Families of items that are near each other, (FAMILIES * each * copies, WIDTH), and a query amid each family."""
    source = np.random.default_rng(3)
    middles = source.normal(size=(FAMILIES, WIDTH))
    members = middles.repeat(each, axis=0) + 0.3 * source.normal(size=(FAMILIES * each, WIDTH))
    lengths = np.linalg.norm(members, axis=1, keepdims=True)
    return (members / lengths).astype(np.float32).repeat(copies, axis=0), middles.astype(np.float32)


class VectorIndexSuite:
    recall = 1.0
    """Share of the true answer that has to be found in a crowd."""

    @abstractmethod
    def make(self, vocabulary: Vocabulary, dimension: int) -> Any:
        """An empty index."""

    def settle(self, index: Any) -> None:
        """Called after the first writes: an index with a main part moves them there."""

    def compass(self) -> Any:
        """East, north and west are items 0, 1 and 2; 3 to 9 have a number and no vector."""
        index = self.make(Vocabulary(["east", "north", "west", "d", "c", "b", "a", "x", "y", "z"]), 2)
        index.upsert(codes(0, 1, 2), rows(EAST, NORTH, WEST))
        self.settle(index)
        return index

    def crowded(self, each: int, copies: int = 1) -> tuple[Any, np.ndarray, np.ndarray]:
        vectors, queries = crowd(each, copies)
        index = self.make(Vocabulary(f"{number:05d}" for number in range(len(vectors))), WIDTH)
        index.upsert(np.arange(len(vectors), dtype=np.int32), vectors)
        self.settle(index)
        return index, vectors, queries

    def found(self, index: Any, query: list[float], k: int) -> list[int]:
        (best,) = index.search(rows(query), k)
        assert best.dtype == np.int32
        return best.tolist()

    def test_the_best_are_found(self):
        index = self.compass()
        assert [best.tolist() for best in index.search(rows(EAST, [0.6, 0.8], [-1.0, 0.1]), 2)] == [
            [0, 1],
            [0, 1],
            [1, 2],
        ]
        assert self.found(index, [-1.0, 0.1], 1) == [2]

    def test_an_empty_index_answers_nothing(self):
        index = self.make(Vocabulary(["a"]), 2)
        self.settle(index)
        assert [best.tolist() for best in index.search(rows(EAST, WEST), 5)] == [[], []]
        assert not index.contains(0)
        assert index.vectors(codes(0)).tolist() == [[0.0, 0.0]]

    def test_no_query_no_answer(self):
        assert self.compass().search(np.empty((0, 2), dtype=np.float32), 5) == []

    def test_k_may_exceed_the_size(self):
        assert self.found(self.compass(), EAST, 1000) == [0, 1, 2]

    def test_vectors_and_presence_by_code(self):
        index = self.compass()
        assert len(index) == 3
        assert index.has(codes(2, 9, -1, 0)).tolist() == [True, False, False, True]
        assert [index.contains(2), index.contains(9), index.contains(-1)] == [True, False, False]
        assert index.vectors(codes(2, 9, -1, 0, 2)).tolist() == [WEST, [0, 0], [0, 0], EAST, WEST]
        assert index.vectors(codes(2, 9), 1).tolist() == [WEST[:1], [0]]
        assert index.vectors(codes()).shape == (0, 2)
        assert index.vectors(codes(2)).dtype == np.float32

    def test_upsert_replaces(self):
        index = self.compass()
        index.upsert(codes(2, 9), rows([0.8, 0.6], NORTH))
        assert len(index) == 4
        assert self.found(index, [0.8, 0.6], 1) == [2]
        assert self.found(index, WEST, 4) == [0, 1, 2, 9]
        assert index.vectors(codes(2, 9)).tolist() == rows([0.8, 0.6], NORTH).tolist()
        index.upsert(codes(2), rows(WEST))  # as it was
        assert self.found(index, WEST, 1) == [2]
        assert len(index) == 4

    def test_of_a_code_given_twice_the_last_holds(self):
        index = self.compass()
        index.upsert(codes(4, 0, 4, 0), rows(EAST, EAST, WEST, NORTH))
        assert len(index) == 4
        assert index.vectors(codes(4, 0)).tolist() == [WEST, NORTH]
        assert self.found(index, WEST, 2) == [2, 4]

    def test_a_removed_item_is_found_no_more(self):
        index = self.compass()
        index.upsert(codes(3), rows(EAST))
        index.remove(codes(0, 7, 0, 3, -1))
        assert len(index) == 2
        assert not index.has(codes(0, 3, 7)).any()
        assert index.vectors(codes(0)).tolist() == [[0.0, 0.0]]
        assert self.found(index, EAST, 5) == [1, 2]
        index.upsert(codes(0), rows(EAST))
        assert self.found(index, EAST, 1) == [0]
        assert len(index) == 3

    def test_an_index_emptied_again_answers_nothing(self):
        index = self.compass()
        index.remove(codes(1, 0, 2))
        assert len(index) == 0
        assert self.found(index, EAST, 3) == []
        self.settle(index)
        index.upsert(codes(5), rows([0.0, -1.0]))
        assert self.found(index, [0.0, -1.0], 3) == [5]

    def test_of_equals_the_first_by_id_are_found_whatever_the_order_of_writes(self):
        """Codes run against the ids: 3, 4, 5, 6 are d, c, b, a."""
        for order in ([3, 4, 5, 6], [6, 5, 4, 3], [4, 6, 3, 5]):
            index = self.compass()
            index.upsert(codes(*order[:2]), rows(NORTH, NORTH))
            self.settle(index)
            index.upsert(codes(*order[2:]), rows(NORTH, NORTH))
            assert self.found(index, NORTH, 2) == [5, 6]
            assert self.found(index, NORTH, 3) == [4, 5, 6]

    def test_a_query_of_zeros_ties_with_everything(self):
        index = self.compass()
        index.upsert(codes(6), rows(WEST))
        assert self.found(index, [0.0, 0.0], 2) == [0, 6]  # a, east

    def test_ties_in_a_crowd(self):
        """Each vector three times: however the border falls, the ids decide among the copies."""
        index, vectors, queries = self.crowded(10, copies=3)
        shares = []
        for k in (1, 2, 3, 4, 8, 29):
            for query, best in zip(queries, index.search(queries, k), strict=True):
                scores = np.add.reduce(vectors * query, axis=1)
                truth = np.lexsort((np.arange(len(scores)), -scores))[:k]
                assert len(best) == k
                shares.append(np.isin(truth, best).mean())
                copies = np.bincount(best // 3, minlength=len(vectors) // 3)
                for group in np.flatnonzero((copies > 0) & (copies < 3)):
                    assert {3 * group + number for number in range(copies[group])} <= set(best.tolist())
        assert np.mean(shares) >= self.recall

    def test_recall_in_a_crowd_and_exactly_k_results(self):
        index, vectors, queries = self.crowded(40)
        for k in (1, 10, 40, 100):
            truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :k]
            answers = index.search(queries, k)
            assert [len(np.unique(best)) for best in answers] == [k] * FAMILIES
            share = np.mean([np.isin(right, best).mean() for right, best in zip(truth, answers, strict=True)])
            assert share >= self.recall
        everything = np.arange(len(vectors)).tolist()
        assert [best.tolist() for best in index.search(queries[:2], 5000)] == [everything] * 2

    def test_removed_and_replaced_in_a_crowd(self):
        """A whole family leaves, so that the lists nearest to the query are empty; another moves to its place."""
        index, vectors, queries = self.crowded(40)
        index.remove(np.arange(80, dtype=np.int32))
        assert len(index) == len(vectors) - 80
        for best in index.search(queries[:2], 60):
            assert len(np.unique(best)) == 60
            assert best.min() >= 80
        moved = np.arange(200, 240, dtype=np.int32)
        index.upsert(moved, vectors[:40])
        assert index.search(queries[:1], 40)[0].tolist() == moved.tolist()
        assert np.array_equal(index.vectors(codes(200, 39, 300)), np.stack([vectors[0], 0 * vectors[0], vectors[300]]))
        assert not np.isin(moved, index.search(queries[5:6], 40)[0]).any()  # from where they moved

    def test_near_finds_about_as_many_and_most_of_the_best(self):
        index, vectors, queries = self.crowded(40)
        truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :100]
        answers = index.near(queries, 100)
        assert all(50 < len(near) <= 100 and (np.diff(near) > 0).all() for near in answers)
        shares = [np.isin(right[:10], near).mean() for right, near in zip(truth, answers, strict=True)]
        assert np.mean(shares) >= self.recall
        for query, near in zip(queries, answers, strict=True):
            assert index.near(query[None], 100)[0].tolist() == near.tolist()
        assert [len(near) for near in index.near(np.zeros_like(queries[:2]), 7)] == [7, 7]

    def test_an_answer_does_not_depend_on_its_batch(self):
        index, vectors, queries = self.crowded(40)
        index.upsert(codes(3, 700), vectors[[700, 3]])
        index.remove(codes(8))
        together = index.search(queries, 25)
        alone = [index.search(query[None], 25)[0] for query in queries]
        assert [best.tolist() for best in together] == [best.tolist() for best in alone]
        assert all((np.diff(best) > 0).all() for best in together)

    def test_the_index_keeps_a_copy_and_gives_copies(self):
        index = self.compass()
        vectors = rows(EAST)
        index.upsert(codes(4), vectors)
        vectors[:] = 0
        index.vectors(codes(4, 0))[:] = 7
        index.vectors(codes(0))[:] = 7
        assert index.vectors(codes(4, 0)).tolist() == [EAST, EAST]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_vector_that_is_not_finite_is_refused_and_changes_nothing(self, bad):
        index = self.compass()
        with pytest.raises(ValueError, match="vector 1 holds NaN or infinity"):
            index.upsert(codes(3, 0), rows(NORTH, [bad, 0.0]))
        with pytest.raises(ValueError, match="vector 0 holds NaN or infinity"):
            index.search(rows([bad, 0.0]), 1)
        assert len(index) == 3
        assert index.vectors(codes(0)).tolist() == [EAST]

    def test_wrong_arguments_are_refused(self):
        index = self.compass()
        with pytest.raises(ValueError, match=r"expected \(1, 2\)"):
            index.upsert(codes(0), rows([1.0, 2.0, 3.0]))
        with pytest.raises(ValueError, match=r"expected \(2, 2\)"):
            index.upsert(codes(0, 1), rows(EAST))
        with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
            index.search(np.zeros(2, dtype=np.float32), 1)
        with pytest.raises(ValueError, match="k 0"):
            index.search(rows(EAST), 0)
        for code in (-1, 10):
            with pytest.raises(ValueError, match="expected 0 to 9"):
                index.upsert(codes(0, code), rows(WEST, WEST))
        assert index.vectors(codes(0)).tolist() == [EAST]
        with pytest.raises(ValueError, match="dimension 0"):
            self.make(Vocabulary(), 0)

    def test_searching_while_other_threads_write_and_settle(self):
        """The anchor is always the best; the others come and go in pairs, so a search sees both or neither. Nothing
        that was written before a move to the main part is lost by it."""
        index = self.make(Vocabulary(f"{number:02d}" for number in range(90)), 2)
        index.upsert(codes(0), rows(EAST))
        pairs = np.arange(1, 81, dtype=np.int32).reshape(-1, 2)
        done = threading.Event()
        failures: list[BaseException] = []

        def write() -> None:
            for turn in range(10):
                for pair in pairs:
                    index.upsert(pair, rows([0.6, 0.8 - turn / 100], [0.6, 0.8 - turn / 100]))
                    if not index.has(pair).all():
                        raise AssertionError(f"{pair} lost after its upsert")
                for pair in pairs[turn:]:
                    index.remove(pair)
                    if index.has(pair).any():
                        raise AssertionError(f"{pair} came back")

        def settle() -> None:
            while not done.is_set():
                self.settle(index)

        def told(work: Any) -> None:
            try:
                work()
            except BaseException as exc:
                failures.append(exc)
            finally:
                done.set()

        threads = [threading.Thread(target=told, args=(work,)) for work in (write, settle)]
        for thread in threads:
            thread.start()
        searches = 0
        while not done.is_set() or not searches:
            (best,) = index.search(rows(EAST), 200)
            assert best[0] == 0
            seen = np.isin(pairs, best)
            assert (seen[:, 0] == seen[:, 1]).all()
            searches += 1
        for thread in threads:
            thread.join()
        assert failures == []
        assert self.found(index, EAST, 200) == list(range(19))  # turn t leaves the first t pairs
        assert index.vectors(codes(18)).tolist() == rows([0.6, 0.8 - 9 / 100]).tolist()
