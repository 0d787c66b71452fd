import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.exact import inner
from index.fusion import LAYOUT, PARTS, Layout, assemble, normalised, query
from index.vector_index import VectorIndex
from index.vocabulary import Vocabulary

SMALL = Layout(text=5, graph=3, behaviour=4)
TRAINED = Layout(sequence=32)


def drawn(count: int, seed: int, layout: Layout = LAYOUT):
    """Item vectors with an unknown block here and there, and sessions."""
    source = np.random.default_rng(seed)
    blocks = [source.normal(size=(count, width)) * (source.random((count, 1)) < 0.8) for width in layout.widths[:4]]
    rows = assemble(*(block.astype(np.float32) for block in blocks), source.random(count), layout=layout)
    sessions = normalised(source.normal(size=(count, layout.session)).astype(np.float32), layout=layout)
    return rows, sessions, source


def parts(rows: np.ndarray, session: np.ndarray, layout: Layout = LAYOUT) -> np.ndarray:
    """What the blocks of these items give, half of the items in the snapshot and half beside it."""
    index = VectorIndex(Vocabulary(f"{n:04d}" for n in range(len(rows))), rows.shape[1])
    codes = np.arange(len(rows), dtype=np.int32)
    index.upsert(codes[::2], rows[::2])
    index.swap(index.rebuild())
    index.upsert(codes[1::2], rows[1::2])
    return index.products(codes, np.append(session, np.float32(1)), layout.ends)


def test_the_layout():
    assert LAYOUT.dimension == 321
    assert LAYOUT.session == 320
    assert LAYOUT.slices == (slice(0, 128), slice(128, 192), slice(192, 320), slice(320, 320), slice(320, 321))
    assert (TRAINED.dimension, TRAINED.session, TRAINED.slices[3]) == (353, 352, slice(320, 352))
    assert len(PARTS) == len(LAYOUT.widths) == 5
    for wrong in ({"text": 0}, {"sequence": -1}, {"prior": 2}):
        with pytest.raises(ValueError, match="expected at least 1 of text, graph and behaviour"):
            Layout(**wrong)


def test_blocks_have_length_one_or_none():
    rows = assemble(
        np.array([[3, 0, 4, 0, 0], [0, 0, 0, 0, 0]]),
        None,
        np.array([[0, 0, 0, 1e-20], [2, 0, 0, 0]]),
        None,
        [0, 1],
        layout=SMALL,
    )
    assert rows.dtype == np.float32
    expected = np.zeros((2, 13), np.float32)
    expected[0, [0, 2]] = 0.6, 0.8
    expected[1, [8, 12]] = 1
    assert rows.tolist() == expected.tolist()
    lengths = [np.linalg.norm(drawn(50, 1)[0][:, columns], axis=1) for columns in LAYOUT.slices[:3]]
    assert all(((np.abs(block - 1) < 1e-6) | (block == 0)).all() for block in lengths)


def test_what_does_not_fit_is_refused():
    text = np.ones((2, 5), np.float32)
    with pytest.raises(ValueError, match=r"expected \(2, 3\)"):
        assemble(text, np.ones((2, 4)), None, None, [0, 0], layout=SMALL)
    with pytest.raises(ValueError, match="NaN"):
        assemble(text * np.nan, None, None, None, [0, 0], layout=SMALL)
    for priors in ([0, 1.5], [-0.1, 0]):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            assemble(text, None, None, None, priors, layout=SMALL)
    with pytest.raises(ValueError, match=r"expected \(2, 1\)"):
        assemble(text, None, None, None, [0.5], layout=SMALL)
    for weights in ([1, 2, 3, 4], [[1, 2, 3, 4, 5]] * 3, [1, 2, 3, 4, np.inf]):
        with pytest.raises(ValueError, match="expected one finite weight for each of text, graph, behaviour, sequ"):
            query(np.ones((2, 12)), weights, layout=SMALL)
    with pytest.raises(ValueError, match=r"expected \(n, 12\)"):
        query(np.ones((2, 13)), [1, 1, 1, 1, 1], layout=SMALL)


def test_weights_of_each_session():
    sessions = np.ones((2, 12), np.float32)
    asked = query(sessions, [[1, 2, 3, 9, 4], [0, 0, 0, 0, 0.5]], layout=SMALL)
    assert asked.tolist() == [[1] * 5 + [2] * 3 + [3] * 4 + [4], [0] * 12 + [0.5]]
    assert query(sessions[0], [1, 2, 3, 9, 4], layout=SMALL).tolist() == asked[:1].tolist()


@given(
    st.integers(0, 10_000),
    st.lists(st.floats(-2, 2, width=32), min_size=5, max_size=5),
    st.sampled_from([LAYOUT, TRAINED]),
)
def test_the_weighted_sum_of_the_parts_is_the_score(seed, weights, layout):
    rows, sessions, _ = drawn(7, seed, layout)
    scores = inner(rows, query(sessions[0], weights, layout=layout)[0])
    assert np.abs(parts(rows, sessions[0], layout) @ np.array(weights) - scores).max() < 1e-5


def test_parts_are_the_products_of_the_blocks():
    rows, sessions, _ = drawn(30, 5, TRAINED)
    found = parts(rows, sessions[3], TRAINED)
    for number, columns in enumerate(TRAINED.slices[:4]):
        assert found[:, number] == pytest.approx(
            rows[:, columns].astype(np.float64) @ sessions[3][columns].astype(np.float64), abs=1e-6
        )
    assert found[:, 4].tolist() == rows[:, 352].tolist()


def test_the_parts_of_a_row_do_not_depend_on_the_others():
    rows, sessions, source = drawn(257, 6)
    whole = parts(rows, sessions[0])
    for count in (1, 2, 3, 17, 256):
        chosen = source.choice(257, count, replace=False)
        assert np.array_equal(parts(rows[chosen], sessions[0]), whole[chosen])
    assert parts(rows[:0], sessions[0]).shape == (0, 5)
