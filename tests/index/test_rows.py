"""What is compared row by row, against numpy."""

from __future__ import annotations

import numpy as np

from index.rows import nearest


def test_the_nearest_row_is_that_of_the_greatest_inner_product() -> None:
    generator = np.random.default_rng(0)
    ones, others = (generator.standard_normal((n, 16)).astype(np.float32) for n in (40, 3))
    codes, theirs = np.arange(40, dtype=np.int32), np.array([7, -1, 12], np.int32)
    products = ones @ others.T
    products[codes[:, None] == theirs] = -np.inf
    expected = np.where(products.max(axis=1) >= 0.5, products.argmax(axis=1), -1)
    assert {-1, 0, 1, 2} == set(expected.tolist())
    assert nearest(ones, codes, others, theirs, 0.5).tolist() == expected.tolist()


def test_of_rows_equally_near_the_first_counts_and_the_bound_is_near() -> None:
    one, others = np.array([[1, 0]], np.float32), np.array([[0.25, 1], [0.5, 0], [0.5, 1]], np.float32)
    code, theirs = np.array([4], np.int32), np.array([1, 2, 3], np.int32)
    assert nearest(one, code, others, theirs, 0.25).tolist() == [1]
    assert nearest(one, code, others, theirs, 0.5).tolist() == [1]
    assert nearest(one, code, others, theirs, 0.75).tolist() == [-1]
    assert nearest(one, np.array([2], np.int32), others, theirs, 0.5).tolist() == [2]
    assert nearest(one, code, others[:0], theirs[:0], 0.0).tolist() == [-1]
