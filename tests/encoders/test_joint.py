"""Text and facts trained along with the clicks: what an item that nobody had is taken for."""

from dataclasses import replace

import numpy as np
import pytest

from encoders.errors import EncoderError
from encoders.graph.facts import GOES_WITH, Fact
from encoders.sequence.joint import Triples
from encoders.sequence.lessons import Session
from encoders.sequence.settings import SequenceSettings
from encoders.sequence.space import SequenceSpace
from encoders.sequence.training import fit_sequence
from encoders.sequence.unmet import Unmet

COUNT, FAMILIES = 48, 4
"""Items; item n is of family n % FAMILIES, and the last of each family is one that nobody had."""
ITEMS = [f"item {n}" for n in range(COUNT)]
FAMILY = np.arange(COUNT) % FAMILIES
COLD = np.arange(COUNT - FAMILIES, COUNT)
JOINT = SequenceSettings(
    text=4, free=8, hidden=8, epochs=15, batch=16, negatives=16, learning_rate=0.02, dropout=0.0, patience=15,
    joint="yes", text_weight=0.5, graph_weight=0.5,
)  # fmt: skip
NOISE = np.random.default_rng(2).normal(size=(COUNT, 12)).astype(np.float32)
FACTS = [[Fact(item, "brand", f"brand {family}")] for item, family in zip(ITEMS, FAMILY.tolist(), strict=True)]
NO_FACTS = [[] for _ in ITEMS]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def worded():
    """Texts whose axes beyond the first four say the family: what is frozen says nothing of it."""
    texts = NOISE.copy()
    texts[:, 8:] = 4 * np.eye(FAMILIES)[FAMILY]
    return unit(texts).astype(np.float32)


def visits(count=400):
    """Sessions within one family each, of the items that are had."""
    source = np.random.default_rng(0)
    found = []
    for _ in range(count):
        family = int(source.integers(FAMILIES))
        codes = source.choice(np.arange(family, COUNT - FAMILIES, FAMILIES), 4, replace=False)
        found.append(Session.of(codes, ["view"] * 4, [0, 1000, 2000, 3000]))
    return found


def nearest_family(space, texts, facts):
    """Of each item that nobody had, the family of the items that its free numbers are nearest to."""
    free = space.vectors(ITEMS, texts, facts)[:, space.text :]
    scores = free[COLD] @ unit(free[: COUNT - FAMILIES] + 1e-9).T  # (cold, met)
    return [
        int(np.argmax([scores[row, FAMILY[: COUNT - FAMILIES] == each].mean() for each in range(4)]))
        for row in range(4)
    ]


@pytest.mark.parametrize("by", ["text", "facts"])
def test_an_item_that_nobody_had_is_near_its_family_by_its_text_or_by_its_facts(by):
    texts, facts = (worded(), NO_FACTS) if by == "text" else (unit(NOISE), FACTS)
    space, curves, asked = fit_sequence(ITEMS, texts, visits(), JOINT, facts=facts)
    assert nearest_family(space, texts, facts) == FAMILY[COLD].tolist()
    assert space.unmet.shares[0 if by == "text" else 1] > 0.3
    assert len(asked) == 40
    assert min(abs(asked.mean() - told) for told in curves[0].ndcg_10) < 1e-6
    assert set(space.item_ids) == set(ITEMS[: COUNT - FAMILIES])


def test_facts_of_others_say_nothing():
    order = np.random.default_rng(5).permutation(COUNT)
    mixed = [[Fact(item, "brand", FACTS[other][0].tail)] for item, other in zip(ITEMS, order.tolist(), strict=True)]
    space, _, _ = fit_sequence(ITEMS, unit(NOISE), visits(), JOINT, facts=mixed)
    own, _, _ = fit_sequence(ITEMS, unit(NOISE), visits(), JOINT, facts=FACTS)
    assert space.unmet.shares[1] < own.unmet.shares[1] / 2


def test_without_it_an_item_that_nobody_had_has_its_words_alone_and_clicks_are_drawn_alike():
    plain = replace(JOINT, joint="no")
    space, _, _ = fit_sequence(ITEMS, worded(), visits(), plain, facts=FACTS)
    same, _, _ = fit_sequence(ITEMS, worded(), visits(), plain)
    off, _, _ = fit_sequence(ITEMS, worded(), visits(), replace(JOINT, text_weight=0.0, graph_weight=0.0), facts=FACTS)
    assert space.digest == same.digest
    assert space.unmet is None
    assert off.free.tobytes() == space.free.tobytes()
    assert all(one.tobytes() == other.tobytes() for one, other in zip(off.weights, space.weights, strict=True))


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path):
    short = replace(JOINT, epochs=4)

    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        fit_sequence(ITEMS, worded(), visits(), short, facts=FACTS, checkpoints=tmp_path, note=stop)
    whole, _, asked = fit_sequence(ITEMS, worded(), visits(), short, facts=FACTS)
    resumed, _, again = fit_sequence(ITEMS, worded(), visits(), short, facts=FACTS, checkpoints=tmp_path)
    assert whole.digest == resumed.digest
    assert asked.tolist() == again.tolist()
    fit_sequence(ITEMS, worded(), visits(), short, facts=[*FACTS[:-1], []], checkpoints=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1  # a fact of an item that nobody had is not learned from
    fit_sequence(ITEMS, worded(), visits(), short, facts=[[], *FACTS[1:]], checkpoints=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_what_is_saved_is_loaded_and_one_item_is_as_among_others(tmp_path):
    space, _, _ = fit_sequence(ITEMS, worded(), visits(), replace(JOINT, epochs=2), facts=FACTS)
    space.save(tmp_path / "space")
    loaded = SequenceSpace.load(tmp_path / "space")
    assert loaded.digest == space.digest
    all_of_them = loaded.vectors(ITEMS, worded(), FACTS)
    for place in (0, COUNT - 1):
        one = loaded.vectors(ITEMS[place : place + 1], worded()[place : place + 1], FACTS[place : place + 1])
        assert one.tobytes() == all_of_them[place].tobytes()
    assert not loaded.unmet.free(np.zeros((1, 12), np.float32), [[]]).any()
    assert loaded.unmet.free(worded()[:1], [[]]).any()
    tensors = {name: tensor for name, tensor in space.unmet.tensors().items() if name != "joint.shares"}
    with pytest.raises(KeyError):
        Unmet.of(tensors)
    (tmp_path / "cut").write_bytes((tmp_path / "space").read_bytes()[:-9])
    with pytest.raises(EncoderError, match="train the model anew"):
        SequenceSpace.load(tmp_path / "cut")


def test_what_is_a_triple():
    facts = [
        [Fact("a", "brand", "Alpine"), Fact("a", "Brand", "alpine"), Fact("a", GOES_WITH, "b")],
        [Fact("b", "brand", "Alpine"), Fact("b", "colour", "red")],
        [Fact("c", "colour", "red"), Fact("c", "brand", "Alpine")],
    ]
    some = Triples.of(facts[:2])
    assert list(zip(some.heads.tolist(), some.tails.tolist(), strict=True)) == [(0, 0), (1, 0)]
    every = Triples.of(facts)
    assert len(every.keys) == every.kinds == 2
    assert every.weights == pytest.approx([0, np.log(1.5)])
    assert not len(Triples.of([[], []]).heads)


@pytest.mark.parametrize("wrong", [{"text_weight": -1.0}, {"graph_weight": -0.1}])
def test_weights_below_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 0"):
        SequenceSettings(**wrong)
