import numpy as np
import pytest
from safetensors.numpy import save_file

from encoders.errors import EncoderError
from encoders.whitening import Whitening


def cone(count, width=40, seed=0):
    """Unit vectors around one direction, of axes that vary unequally: what a BERT gives."""
    source = np.random.default_rng(seed)
    vectors = source.normal(size=(count, width)) * np.linspace(2, 0.1, width) + 1.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def mean_cosine(vectors):
    cosines = vectors @ vectors.T
    return cosines[~np.eye(len(vectors), dtype=bool)].mean()


def test_random_pairs_are_near_before_and_not_after():
    vectors = cone(2000)
    whitened = Whitening.fit(vectors, 20).apply(vectors)
    assert mean_cosine(vectors[:300]) > 0.3
    assert abs(mean_cosine(whitened[:300])) < 0.01
    assert whitened.shape == (2000, 20)
    assert whitened.dtype == np.float32
    assert np.linalg.norm(whitened, axis=1) == pytest.approx(np.ones(2000), abs=1e-5)


def test_axes_have_unit_variance_and_do_not_depend_on_each_other():
    vectors = cone(20_000)
    whitening = Whitening.fit(vectors, 10)
    turned = (vectors - whitening.mean) @ whitening.matrix
    assert np.cov(turned.T) == pytest.approx(np.eye(10), abs=0.02)
    assert turned.mean(axis=0) == pytest.approx(np.zeros(10), abs=1e-3)


def test_the_first_axis_is_the_one_that_varies_most():
    whitening = Whitening.fit(cone(5000), 1)
    assert np.abs(whitening.matrix[:, 0]).argmax() <= 2


@pytest.mark.parametrize("count", [2, 3, 10, 39])
def test_fewer_vectors_than_dimensions_keep_the_dimension_and_what_they_mean(count):
    """Two groups with a little noise, which whitening without shrinking would blow up to their size."""
    source = np.random.default_rng(1)
    centres = np.eye(40)[[0, 1]] * 3
    vectors = (centres[np.arange(count) % 2] + source.normal(size=(count, 40)) * 0.05).astype(np.float32)
    whitening = Whitening.fit(vectors, 30)
    assert whitening.dimension == 30
    new = (centres[[0, 0, 1]] + source.normal(size=(3, 40)) * 0.05).astype(np.float32)
    one, same, other = whitening.apply(new)
    assert np.isfinite(whitening.matrix).all()
    assert one @ same > one @ other + 0.3


def test_what_no_sample_has_shown_is_kept():
    vectors = np.zeros((50, 40), dtype=np.float32)
    vectors[:, :3] = np.random.default_rng(0).normal(size=(50, 3))
    unseen = np.eye(40, dtype=np.float32)[[10, 11]]
    one, two = Whitening.fit(vectors, 40).apply(unseen)
    assert one @ two < 0.5


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_vectors_give_the_identity(count):
    vectors = cone(5)
    whitening = Whitening.fit(vectors[:count], 20)
    assert whitening.dimension == 40
    assert whitening.apply(vectors) == pytest.approx(vectors, abs=1e-6)


def test_one_vector_many_times_gives_the_identity():
    vectors = np.tile(cone(1), (30, 1))
    assert Whitening.fit(vectors, 20).apply(vectors) == pytest.approx(vectors, abs=1e-6)


def test_more_dimensions_than_there_are():
    assert Whitening.fit(cone(500), 128).dimension == 40


def test_unknown_stays_unknown_and_a_batch_equals_single():
    vectors = cone(100)
    whitening = Whitening.fit(vectors, 16)
    vectors[3] = 0
    together = whitening.apply(vectors)
    assert not together[3].any()
    alone = np.concatenate([whitening.apply(vector[None]) for vector in vectors])
    assert together == pytest.approx(alone, abs=1e-5)
    assert whitening.apply(vectors[:0]).shape == (0, 16)


def test_saved_and_loaded(tmp_path):
    whitening = Whitening.fit(cone(100), 16)
    whitening.save(tmp_path / "w.safetensors")
    loaded = Whitening.load(tmp_path / "w.safetensors")
    assert loaded.digest == whitening.digest != Whitening.identity(16).digest
    assert (loaded.apply(cone(5)) == whitening.apply(cone(5))).all()


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(EncoderError, match="not a whitening file"):
        Whitening.load(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(EncoderError, match="not a whitening file"):
        Whitening.load(path)
    save_file({"mean": np.zeros(3, dtype=np.float32)}, path)
    with pytest.raises(EncoderError, match="not a whitening file"):
        Whitening.load(path)


def test_wrong_vectors_are_refused():
    bad = cone(10)
    bad[2, 2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        Whitening.fit(bad)
    with pytest.raises(ValueError, match=r"expected \(n, d\)"):
        Whitening.fit(bad[0])
    with pytest.raises(ValueError, match=r"expected \(n, 40\)"):
        Whitening.identity(40).apply(np.zeros((2, 30), dtype=np.float32))
    with pytest.raises(ValueError, match="mean"):
        Whitening(np.zeros(3, dtype=np.float32), np.eye(4, dtype=np.float32))
