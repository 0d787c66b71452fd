import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file
from scipy import sparse

from encoders.behaviour import BehaviourSettings, BehaviourVectors
from encoders.behaviour_svd import fit_behaviour, from_pairs, meetings
from encoders.errors import EncoderError

GROUPS, SIZE = 4, 10


def sessions(count=400, noise=False, seed=0):
    """Sessions of four events, each within one of four groups of ten items; with noise, over all items."""
    source = np.random.default_rng(seed)
    group = source.integers(GROUPS, size=count)[:, None]
    items = source.integers(SIZE, size=(count, 4)) + SIZE * (
        source.integers(GROUPS, size=(count, 4)) if noise else group
    )
    return np.repeat(np.arange(count), 4).astype(np.int32), items.ravel().astype(np.int32)


def fitted(dimension=8, **how):
    ids = [f"i{number}" for number in range(GROUPS * SIZE + 2)]
    weights = meetings(*sessions(**how), len(ids), 3)
    return fit_behaviour(ids, weights, BehaviourSettings(dimension=dimension, shift=1.0))


def gap(vectors):
    """Mean cosine within a group, less that between groups."""
    group = np.arange(GROUPS * SIZE) // SIZE
    cosines = vectors.matrix[: GROUPS * SIZE] @ vectors.matrix[: GROUPS * SIZE].T
    same = (group[:, None] == group) & ~np.eye(len(group), dtype=bool)
    return cosines[same].mean() - cosines[group[:, None] != group].mean()


def test_items_of_like_company_are_near_and_of_noise_are_not():
    assert gap(fitted()) > 0.5
    assert abs(gap(fitted(noise=True))) < 0.1


def test_items_that_never_met_but_keep_the_same_company_are_near():
    """tea and coffee stand beside milk and sugar, never in one session; nails and screws likewise."""
    ids = ["tea", "coffee", "milk", "sugar", "nails", "screws", "hammer", "saw"]
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3), (4, 6), (4, 7), (5, 6), (5, 7)]
    session = np.repeat(np.arange(len(pairs)), 2).astype(np.int32)
    weights = meetings(session, np.array(pairs, dtype=np.int32).ravel(), len(ids), 1)
    assert weights[0, 1] == 0
    vectors = fit_behaviour(ids, weights, BehaviourSettings(dimension=4, shift=1.0))
    tea, coffee, nails = vectors.vectors(["tea", "coffee", "nails"])
    assert tea @ coffee > 0.9
    assert abs(tea @ nails) < 0.1


def test_vectors_have_length_one_and_what_was_never_seen_is_zero():
    vectors = fitted()
    found = vectors.vectors(["i3", "stranger", "i40", "i0"])
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 0, 1], abs=1e-5)
    assert (found[3] == vectors.matrix[0]).all()
    assert vectors.vectors([]).shape == (0, 8)


def test_a_pair_weighs_one_over_its_distance_once_a_session():
    #            a  b  c        a  b  a  b     another session, interleaved
    session = np.array([0, 0, 1, 0, 1, 1, 1], dtype=np.int32)
    items = np.array([0, 1, 0, 2, 1, 0, 1], dtype=np.int32)
    expected = np.array([[0, 2, 0.5, 0], [2, 0, 1, 0], [0.5, 1, 0, 0], [0, 0, 0, 0]])
    assert meetings(session, items, 4, 5).toarray() == pytest.approx(expected, abs=1e-6)
    expected[[0, 2], [2, 0]] = 0  # two places apart
    assert meetings(session, items, 4, 1).toarray() == pytest.approx(expected, abs=1e-6)
    assert meetings(session[:0], items[:0], 4, 5).nnz == 0


def test_a_table_of_pairs_gives_the_same_vectors():
    session, items = sessions()
    weights = meetings(session, items, 40, 3)
    row, column = weights.nonzero()
    pairs = pl.DataFrame({"before": row, "after": column, "weight": np.asarray(weights[row, column]).ravel()})
    ids = [f"i{number}" for number in range(40)]
    from_table = fit_behaviour(ids, from_pairs(pairs.sample(fraction=1, shuffle=True, seed=1), 40))
    assert from_table.digest == fit_behaviour(ids, weights).digest


def test_surprise_is_the_shifted_logarithm_of_how_much_oftener_than_chance():
    """One pair of four items: p(a, b) = 1/4 of all, each item 1/4; four times as often as chance."""
    weights = sparse.csr_matrix(([1.0, 1.0], ([0, 2], [1, 3])), shape=(4, 4))
    for shift, known in ((3.9, True), (4.1, False)):
        settings = BehaviourSettings(dimension=4, shift=shift, smoothing=1.0)
        assert fit_behaviour(list("abcd"), weights, settings).matrix.any() == known


def test_more_dimensions_than_items_and_no_items_at_all():
    few = fit_behaviour(["a", "b"], sparse.csr_matrix([[0.0, 1.0], [1.0, 0.0]]), BehaviourSettings(shift=1.0))
    assert few.matrix.shape == (2, 128)
    assert np.linalg.norm(few.matrix, axis=1) == pytest.approx([1, 1])
    assert not fit_behaviour(["a"], sparse.csr_matrix((1, 1))).matrix.any()


def test_equal_input_gives_equal_numbers():
    assert fitted().digest == fitted().digest != fitted(seed=1).digest


def test_saved_and_loaded(tmp_path):
    vectors = fitted()
    vectors.save(tmp_path / "b.safetensors")
    loaded = BehaviourVectors.load(tmp_path / "b.safetensors")
    assert (loaded.digest, loaded.item_ids) == (vectors.digest, vectors.item_ids)


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "b.safetensors"
    with pytest.raises(EncoderError, match="no file of behaviour vectors"):
        BehaviourVectors.load(path)
    save_file({"matrix": np.zeros((1, 2), dtype=np.float32), "item_ids": np.zeros(3, dtype=np.uint8)}, path)
    with pytest.raises(EncoderError, match="no file of behaviour vectors"):
        BehaviourVectors.load(path)
    ends = np.array([2], dtype=np.int64)
    save_file({"matrix": np.zeros((1, 2), np.float32), "item_ids": np.zeros(3, np.uint8), "item_id_ends": ends}, path)
    with pytest.raises(EncoderError, match="expected ends that rise to the last byte"):
        BehaviourVectors.load(path)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one of each an event"):
        meetings(np.zeros(2, dtype=np.int32), np.zeros(3, dtype=np.int32), 4, 1)
    with pytest.raises(ValueError, match="squared"):
        fit_behaviour(["a"], sparse.csr_matrix((2, 2)))
    with pytest.raises(ValueError, match="expected each once"):
        BehaviourVectors(["a", "a"], np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="one row an item"):
        BehaviourVectors(["a"], np.zeros((2, 3), dtype=np.float32))
    for wrong in ({"window": 0}, {"shift": 0.0}, {"smoothing": 1.5}, {"exponent": -1.0}, {"dimension": 0}):
        with pytest.raises(ValueError, match="expected dimension and window"):
            BehaviourSettings(**wrong)
