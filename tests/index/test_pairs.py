import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.pairs import count_pairs, encode_ids


def by_hand(sessions, items, window, backward):
    """The same, said in loops."""
    weight, support = {}, {}
    for session in set(sessions):
        line = [item for whose, item in zip(sessions, items, strict=True) if whose == session]
        nearest = {}
        for first in range(len(line)):
            for second in range(first + 1, min(first + window, len(line) - 1) + 1):
                if line[first] != line[second]:
                    pair = line[first], line[second]
                    nearest[pair] = max(nearest.get(pair, 0), 1 / (second - first))
        for pair in nearest.keys() | {(after, before) for before, after in nearest}:
            added = nearest.get(pair, 0) + backward * nearest.get(pair[::-1], 0)
            weight[pair] = weight.get(pair, 0) + added
            support[pair] = support.get(pair, 0) + 1
    return {pair: (total, support[pair]) for pair, total in weight.items() if total > 0}


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=40),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.2, 1.0]),
)
def test_counts_what_loops_count(events, window, backward):
    sessions, items = [e[0] for e in events], [e[1] for e in events]
    frame = count_pairs(np.array(sessions, np.int32), np.array(items, np.int32), window, backward)
    found = {(before, after): (weight, support) for before, after, weight, support in frame.iter_rows()}
    expected = by_hand(sessions, items, window, backward)
    assert found.keys() == expected.keys()
    for pair, (weight, support) in expected.items():
        assert found[pair] == (pytest.approx(weight, rel=1e-5), support)
    order = [(before, -weight, after) for before, after, weight, _ in frame.iter_rows()]
    assert order == sorted(order)


def test_ids_are_numbered_in_their_order():
    ids, codes = encode_ids(pl.Series(["pear", "apple", "pear", "fig"]))
    assert ids == ["apple", "fig", "pear"]
    assert codes.tolist() == [2, 0, 2, 1]
