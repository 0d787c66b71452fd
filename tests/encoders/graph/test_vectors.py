"""Vectors from facts: one suite for all that fits them, on a shop whose right answers are known."""

import random
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from encoders.errors import EncoderError
from encoders.graph.facts import GOES_WITH, Fact, catalogue_facts
from encoders.graph.kge import KgeSettings, fit_kge
from encoders.graph.svd import SvdSettings, fit_svd
from encoders.graph.vectors import GraphVectors, feature, shuffled

BRANDS, CATEGORIES = 8, 6


def shop(noise=False):
    """96 items, two of each brand in each category; with noise, of any brand and category."""
    source = random.Random(0)
    facts = {}
    for number in range(2 * BRANDS * CATEGORIES):
        brand, category = number % BRANDS, number // BRANDS % CATEGORIES
        if noise:
            brand, category = source.randrange(BRANDS), source.randrange(CATEGORIES)
        facts[f"i{number}"] = catalogue_facts(f"i{number}", f"b{brand}", f"c{category}")
    return facts


def svd(facts, others=()):
    return fit_svd(facts, SvdSettings(dimension=16))


def kge(facts, others=()):
    return fit_kge(facts, others, KgeSettings(dimension=16, epochs=30, batch=64, negatives=8))


@pytest.fixture(scope="module", params=[svd, kge], ids=["svd", "kge"])
def fit(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(fit):
    return fit(shop())


def cosine(fitted, one, other):
    return float(fitted.vector(one) @ fitted.vector(other))


def new(brand=None, category=None, item="new"):
    return catalogue_facts(item, brand, category)


def test_a_new_item_is_near_what_it_has_in_common_with(fitted):
    """New items of every brand in every category: on the whole near those of either, nearest to those of both."""
    places = [(number % BRANDS, number // BRANDS % CATEGORIES) for number in range(2 * BRANDS * CATEGORIES)]
    met = fitted.vectors(list(shop().values()))
    fresh = fitted.vectors([new(f"b{brand}", f"c{category}") for brand, category in places])
    near = met @ fresh.T  # (items, new items)
    of_brand, of_category = (np.array(its)[:, None] == its for its in zip(*places, strict=True))
    strangers = near[~of_brand & ~of_category].mean()
    assert near[of_brand & of_category].min() > 0.99
    assert near[of_brand & ~of_category].mean() > strangers + 0.3
    assert near[~of_brand & of_category].mean() > strangers + 0.3


def test_vectors_have_length_one_and_a_batch_equals_single(fitted):
    facts = [*shop().values(), new("b3"), new("never met"), []]
    vectors = fitted.vectors(facts)
    assert vectors.shape == (99, 16)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[:-2], axis=1) == pytest.approx(np.ones(97), abs=1e-5)
    assert not vectors[-2:].any()
    assert all((fitted.vector(its) == row).all() for its, row in zip(facts, vectors, strict=True))
    assert fitted.vectors([]).shape == (0, 16)


def test_the_order_of_facts_does_not_matter_nor_that_one_stands_twice(fitted):
    facts = [*new("b1", "c1"), Fact("new", GOES_WITH, "i4")]
    assert (fitted.vector(facts) == fitted.vector([*facts[::-1], facts[0]])).all()


def test_a_fact_more_changes_the_vector_at_once(fitted):
    item = new("b1", "c1")
    moved = [*item, Fact("new", "category", "c4")]
    there = new(None, "c4")
    assert cosine(fitted, moved, there) > cosine(fitted, item, there) + 0.2


def test_equal_facts_equal_numbers(fit, fitted):
    again = fit(dict(reversed(shop().items())))
    assert again.digest == fitted.digest
    assert fit(shop(noise=True)).digest != fitted.digest


def test_saved_and_loaded(fitted, tmp_path):
    fitted.save(tmp_path / "graph.safetensors")
    loaded = GraphVectors.load(tmp_path / "graph.safetensors")
    assert (loaded.digest, loaded.method) == (fitted.digest, fitted.method)
    assert (loaded.vector(new("b1")) == fitted.vector(new("b1"))).all()
    assert loaded.vector(new("b1")).any()


def test_nothing_known_gives_vectors_of_nothing(fit):
    for facts in ({}, {"a": [], "b": []}):
        fitted = fit(facts)
        assert not fitted.vector(new("b1")).any()
        assert fitted.dimension == 16


def test_items_that_go_together_are_near(fit):
    """Twenty chains of three items, with facts both ways; items of two chains have nothing in common.

    That those with the same neighbour are near follows from how facts are scored. That those beside each other are does
    not: to a product two opposites fit as well, if the relation turns. It holds because relations begin as ones.
    """
    facts = {}
    for chain in range(20):
        a, b, c = (f"{name}{chain}" for name in "abc")
        pairs = {a: [b], b: [a, c], c: [b]}
        facts |= {item: [Fact(item, GOES_WITH, other) for other in others] for item, others in pairs.items()}
    fitted = fit(facts)
    of_item = {item: fitted.vector(its) for item, its in facts.items()}
    for one, other in ("ab", "ac"):  # beside each other, and with the same neighbour
        near = [of_item[f"{one}{chain}"] @ of_item[f"{other}{chain}"] for chain in range(20)]
        far = [of_item[f"{one}{chain}"] @ of_item[f"{other}{(chain + 1) % 20}"] for chain in range(20)]
        assert np.mean(near) > np.mean(far) + 0.7


def test_svd_is_the_projection_of_the_weighted_matrix():
    """Without a cut, with exponent 1, cosines are those of the weighted rows themselves."""
    facts = shop(noise=True)
    fitted = fit_svd(facts, SvdSettings(dimension=32, exponent=1.0))
    items = sorted(facts)
    keys = sorted({feature(fact) for its in facts.values() for fact in its})
    rows = np.array([[key in {feature(fact) for fact in facts[item]} for key in keys] for item in items], dtype=float)
    rows *= np.log(len(items) / rows.sum(axis=0))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = fitted.vectors([facts[item] for item in items])
    assert vectors @ vectors.T == pytest.approx(rows @ rows.T, abs=1e-4)


def test_a_relation_of_weight_nothing_adds_nothing():
    facts = shop()
    fitted = fit_svd(facts, SvdSettings(dimension=16, weights={"brand": 0.0}))
    assert not fitted.vector(new("b1")).any()
    assert cosine(fitted, new("b1", "c1"), new("b2", "c1")) == pytest.approx(1, abs=1e-5)


def test_facts_of_entities_teach_the_embedding():
    """Brands of one owner come near each other, though no item has both."""
    others = [Fact(f"brand:b{number}", "owned_by", f"owner{number % 2}") for number in range(BRANDS)]
    facts = {f"i{number}": new(f"b{number}", item=f"i{number}") for number in range(BRANDS)}
    settings = KgeSettings(dimension=16, epochs=200, batch=16, negatives=8)
    fitted, bare = fit_kge(facts, others, settings), fit_kge(facts, (), settings)

    def gap(vectors):
        of_brand = [vectors.vector(new(f"b{number}")) for number in range(BRANDS)]
        same = [of_brand[a] @ of_brand[b] for a in range(BRANDS) for b in range(a) if (a - b) % 2 == 0]
        apart = [of_brand[a] @ of_brand[b] for a in range(BRANDS) for b in range(a) if (a - b) % 2]
        return np.mean(same) - np.mean(apart)

    assert gap(fitted) > gap(bare) + 0.3


def test_training_is_bounded_whatever_the_epochs():
    """192 facts in batches of 32: six steps an epoch."""
    once, cut, more = (
        fit_kge(shop(), (), KgeSettings(dimension=8, batch=32, negatives=4, epochs=epochs, most=most))
        for epochs, most in ((1, 1000), (50, 192), (50, 224))
    )
    assert cut.digest == once.digest != more.digest


def test_who_only_serves_loads_neither_torch_nor_its_extension():
    asked = "import sys, encoders.graph.choosing; print(sorted({'torch', 'torch_geometric'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_training_leaves_torch_as_it_was():
    import torch  # noqa: PLC0415  only this test asks it

    before = torch.get_num_threads(), torch.random.get_rng_state()
    kge(shop())
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_the_control_has_the_same_vectors_on_other_items():
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    vectors[[3, 9]] = 0
    mixed = shuffled(vectors, 1)
    assert not mixed[[3, 9]].any()
    assert sorted(map(tuple, mixed)) == sorted(map(tuple, vectors))
    assert (mixed == vectors).all(axis=1).sum() < 8
    assert (mixed == shuffled(vectors, 1)).all()
    assert (mixed != shuffled(vectors, 2)).any()


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "graph.safetensors"
    with pytest.raises(EncoderError, match="no file of graph vectors"):
        GraphVectors.load(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(EncoderError, match="no file of graph vectors"):
        GraphVectors.load(path)
    save_file({"rows": np.zeros((1, 2), dtype=np.float32)}, path)
    with pytest.raises(EncoderError, match="no file of graph vectors"):
        GraphVectors.load(path)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one row a key"):
        GraphVectors("svd", ["a"], np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="expected each once"):
        GraphVectors("svd", ["a", "a"], np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="negatives of at least 1"):
        KgeSettings(negatives=0)
