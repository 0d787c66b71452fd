import gc
import json
import weakref
from dataclasses import replace

import numpy as np
import pytest

from encoders.adapter import FILES, read_adapter
from encoders.bert import BertTextEncoder
from encoders.cache import CachedTextEncoder
from encoders.errors import EncoderError
from encoders.finetune import Pair, TuneSettings, tune_text, tuning
from encoders.finetune.training import Trainer, not_wrong
from encoders.text import load_text_encoder
from tests.tiny_bert import tiny_adapter, tiny_bert

FAST = TuneSettings(
    batch=16, epochs=20, held_out=40, checks=1, patience=20, learning_rate=0.02, dropout=0.0, duplicate=2.0
)


def pairs_that_differ_by_a_rule(count, seed=0):
    """`red n` goes with `blue n+20`, n below 8: no word in common, so that only learning tells."""
    numbers = np.random.default_rng(seed).integers(8, size=count)
    return [Pair(f"red {n} mug", f"blue {n + 20} kettle", "next", time) for time, n in enumerate(numbers.tolist())]


TEXTS = {str(n): f"red {n} mug" for n in range(20)} | {str(n + 20): f"blue {n + 20} kettle" for n in range(20)}


@pytest.fixture
def everything_may_be_held_out(monkeypatch):
    """The eight distinct pairs are in training and held out alike, so that some look is a better one."""
    monkeypatch.setattr(
        tuning, "_parted", lambda pairs, its: (list(pairs), list(dict.fromkeys(p._replace(time=0) for p in pairs)))
    )


def tuned(tiny, out, pairs, settings=FAST, **more):
    return tune_text(TEXTS, pairs, base=str(tiny), out=out, settings=settings, device="cpu", **more)


@pytest.mark.usefixtures("everything_may_be_held_out")
def test_what_goes_together_is_learned(tiny, tmp_path):
    pairs = pairs_that_differ_by_a_rule(300)
    learned = tuned(tiny, tmp_path / "rule", pairs)
    assert learned.metrics["accuracy_before"] == 1 / 8
    assert learned.metrics["accuracy"] >= 5 / 8


def test_pairs_at_random_end_where_they_began(tiny, tmp_path):
    chance = np.random.default_rng(1)
    rows = chance.integers(20, size=(600, 2)).tolist()
    pairs = [Pair(f"red {a} mug", f"blue {b + 20} kettle", "next", time) for time, (a, b) in enumerate(rows)]
    found = tuned(tiny, tmp_path / "noise", pairs, TuneSettings(batch=16, held_out=60, checks=2))
    assert abs(found.metrics["recall_10"] - found.metrics["recall_10_before"]) < 0.3
    assert found.metrics["accuracy"] < 0.2


@pytest.mark.usefixtures("everything_may_be_held_out")
def test_an_adapter_is_whole_repeatable_and_another_model(tiny, tmp_path):
    pairs, its = pairs_that_differ_by_a_rule(200), replace(FAST, epochs=5, dropout=0.1)
    notes = []
    one = tuned(tiny, tmp_path / "one", pairs, its, note=lambda *told: notes.append(told))
    two = tuned(tiny, tmp_path / "two", pairs, its)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted([*FILES, "manifest.json"])
    assert one.manifest.files == two.manifest.files
    assert read_adapter(tmp_path / "one") == one.manifest
    assert str(tiny) not in (tmp_path / "one" / FILES[0]).read_text()
    assert notes[-1] == ("pairs", notes[-1][2], notes[-1][2])
    assert [path.name for path in tmp_path.glob(".*")] == []
    base = BertTextEncoder(str(tiny), device="cpu")
    encoder = BertTextEncoder(str(tiny), device="cpu", adapter=tmp_path / "one")
    assert encoder.digest != base.digest
    assert np.abs(encoder.encode(["red mug"]) - base.encode(["red mug"])).max() > 1e-4


def test_held_out_pairs_are_the_newest_and_none_is_trained_on(tiny, tmp_path, monkeypatch):
    seen = []
    train = Trainer.train
    monkeypatch.setattr(
        Trainer,
        "train",
        lambda self, texts, pairs, held, *rest: seen.append((pairs, held)) or train(self, texts, pairs, held, *rest),
    )
    pairs = pairs_that_differ_by_a_rule(150)
    new = [Pair(f"blue {n} mug", f"red {n} kettle", "next", 1000 + n) for n in range(40)]
    tuned(tiny, tmp_path / "out", [*new, *pairs], TuneSettings(batch=32, held_out=30))
    training, held = seen[0]
    assert held == new[-30:]
    assert not {pair[:2] for pair in held} & {pair[:2] for pair in training}


def test_stopped_it_goes_on_and_ends_as_if_it_had_not_been(tiny, tmp_path):
    pairs = pairs_that_differ_by_a_rule(200) + [
        Pair(f"blue {n} mug", f"red {n} kettle", "next", 1000 + n) for n in range(40)
    ]
    its = TuneSettings(batch=16, held_out=40, checks=4)
    whole = tuned(tiny, tmp_path / "whole", pairs, its)

    def stop(stage, done, _total):
        if stage == "pairs" and done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tiny, tmp_path / "part", pairs, its, note=stop)
    assert not (tmp_path / "part").exists()
    assert (tmp_path / ".part.checkpoint").is_dir()
    steps = []
    again = tuned(
        tiny, tmp_path / "part", pairs, its, note=lambda *told: steps.append(told[1]) if told[0] == "pairs" else None
    )
    assert 1 < steps[0] < 9
    assert again.manifest.files == whole.manifest.files


def test_masked_words_and_the_budget(tiny, tmp_path):
    pairs = pairs_that_differ_by_a_rule(200) + [
        Pair(f"blue {n} mug", f"red {n} kettle", "next", 1000 + n) for n in range(40)
    ]
    stages = []
    tuned(
        tiny,
        tmp_path / "out",
        pairs,
        TuneSettings(batch=16, masked_epochs=2),
        note=lambda stage, *_: stages.append(stage),
    )
    assert stages.count("masked") == 2 * 3
    hours = iter(range(0, 10**9, 3600))
    found = tuned(tiny, tmp_path / "cut", pairs, FAST, budget_s=60, clock=lambda: float(next(hours)))
    assert found.metrics["steps"] == 0


def test_what_belongs_to_it_is_no_wrong_answer():
    batch = [Pair("a", "x", "next", 1), Pair("b", "y", "next", 2), Pair("y", "z", "next", 3)]
    guide = {
        "x": np.array([1, 0], np.float32),
        "y": np.array([0, 1], np.float32),
        "z": np.array([0.999, 0.04], np.float32),
    }
    known = {(pair.anchor, pair.positive) for pair in batch} | {("a", "y")}
    assert not_wrong(batch, guide, known, 0.9).tolist() == [
        [False, True, True],  # y is known of a; z says what x says
        [False, False, False],
        [True, True, False],  # x says what z says; y is the anchor
    ]


@pytest.mark.usefixtures("everything_may_be_held_out")
def test_an_encoder_with_an_adapter_serves_beside_the_other(tiny, tmp_path):
    folder = tuned(tiny, tmp_path / "out", pairs_that_differ_by_a_rule(200), replace(FAST, epochs=5)).folder
    vectors = {}
    for name, adapter in (("old", None), ("new", folder)):
        inner = load_text_encoder(str(tiny), "cpu", precision="int8", adapter=adapter, exports=tmp_path / "kept")
        with CachedTextEncoder(inner, tmp_path / "kept") as encoder:
            vectors[name] = encoder.encode(["red mug"])
    assert (vectors["old"] != vectors["new"]).any()
    assert len(list((tmp_path / "kept").glob("*.int8"))) == len(list((tmp_path / "kept").glob("*.sqlite"))) == 2


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    pairs = pairs_that_differ_by_a_rule(150) + [
        Pair(f"blue {n} mug", f"red {n} kettle", "next", 1000 + n) for n in range(40)
    ]
    return tuned(tiny, tmp_path_factory.mktemp("made") / "adapter", pairs, TuneSettings(batch=64, held_out=30)).folder


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / FILES[1]).write_bytes(b"cut"), "it is damaged, tune the texts anew"),
        (lambda folder: (folder / FILES[1]).unlink(), "no adapter folder"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 9}'), "format 9, expected 1"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "expected 1"),
        (lambda folder: _told(folder, base="0" * 16), "tuned on text model 0000000000000000, expected"),
    ],
)
def test_an_adapter_that_is_not_right_is_refused(tiny, adapter, tmp_path, harm, told):
    for path in adapter.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    harm(tmp_path)
    with pytest.raises(EncoderError, match=told):
        BertTextEncoder(str(tiny), device="cpu", adapter=tmp_path)


def _told(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_too_few_pairs_and_a_place_that_is_taken_are_refused(tiny, tmp_path):
    with pytest.raises(EncoderError, match="99 pairs that visitors made, expected at least 100"):
        tuned(tiny, tmp_path / "out", pairs_that_differ_by_a_rule(99))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(EncoderError, match="it is left as it is"):
        tuned(tiny, tmp_path / "mine", pairs_that_differ_by_a_rule(200))
    assert (tmp_path / "mine" / "file").read_text() == "mine"


@pytest.mark.parametrize("wrong", [{"batch": 1}, {"temperature": 0}, {"rank": 0}, {"dropout": 1.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        TuneSettings(**wrong)


def test_two_adapters_of_a_base_hold_once_what_neither_changes_and_each_encodes_as_alone(tiny, tmp_path):
    folders = [tiny_adapter(tmp_path / str(seed), tiny, seed) for seed in (1, 2)]
    texts = ["red mug", "blue kettle 7", "mug 3 red"]
    alone = [BertTextEncoder(str(tiny), device="cpu", adapter=folder) for folder in (*folders, None)]
    one = BertTextEncoder(str(tiny), device="cpu", adapter=folders[0])
    two = load_text_encoder(str(tiny), "cpu", adapter=folders[1], beside=one)
    base = BertTextEncoder(str(tiny), device="cpu", beside=two)
    for encoder, expected in zip((one, two, base), alone, strict=True):
        assert encoder.digest == expected.digest
        assert encoder.encode(texts).tobytes() == expected.encode(texts).tobytes()
    mine, other = dict(one.network.named_parameters()), dict(two.network.named_parameters())
    apart = sorted(name.split(".")[-2] for name in mine if mine[name] is not other[name])
    assert apart == ["query", "value"]
    assert all(weight is base.network.get_parameter(name) for name, weight in other.items() if mine[name] is weight)
    assert BertTextEncoder(str(tiny_bert(tmp_path / "bert")), device="cpu", beside=one).network is not base.network


def test_an_encoder_that_is_let_go_takes_its_own_weights_along(tiny, tmp_path):
    one = BertTextEncoder(str(tiny), device="cpu")
    two = BertTextEncoder(str(tiny), device="cpu", adapter=tiny_adapter(tmp_path / "two", tiny), beside=one)
    two.encode(["red mug"])
    known = dict(one.network.named_parameters())
    own = [weakref.ref(weight) for name, weight in two.network.named_parameters() if weight is not known[name]]
    assert len(own) == 2
    gc.disable()  # a worker freezes what it has loaded: no collector would find a ring of references
    try:
        del two
        assert [weight() for weight in own] == [None, None]
    finally:
        gc.enable()
