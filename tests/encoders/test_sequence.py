import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from encoders.errors import EncoderError
from encoders.sequence.gru import GruSessionEncoder, features
from encoders.sequence.lessons import Session
from encoders.sequence.network import Batch, SequenceNetwork
from encoders.sequence.settings import SequenceSettings
from encoders.sequence.space import SequenceSpace, first_axes
from encoders.sequence.training import COOLING, _Run, device_of, fit_sequence
from encoders.session import PooledSessionEncoder

ITEMS = [f"item {n}" for n in range(12)]
SMALL = SequenceSettings(
    text=4, free=6, hidden=8, epochs=12, batch=16, negatives=8, learning_rate=0.02, dropout=0.0, patience=12
)
TEXTS = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
TEXTS /= np.linalg.norm(TEXTS, axis=1, keepdims=True)


def rounds(count=240):
    """Sessions in which each item is followed by the next one of a round."""
    source = np.random.default_rng(0)
    begun = source.integers(0, 12, count).tolist()
    return [Session.of((start + np.arange(5)) % 12, ["view"] * 5, list(range(0, 5000, 1000))) for start in begun]


def network(settings=SMALL, kind="gru"):
    torch.manual_seed(3)
    return SequenceNetwork(first_axes(TEXTS, settings.text), settings, kind).eval()


def test_many_steps_are_to_the_bit_one_after_another_and_change_no_argument():
    encoder = GruSessionEncoder(PooledSessionEncoder(2), network().weights())
    items = np.random.default_rng(5).normal(size=(6, 12)).astype(np.float32)
    before, kinds, gaps = (
        items.copy(),
        ["view", "click", "search", "exit", "purchase", "view"],
        [0, 5, -60_000, 10, 0, 9],
    )
    states = encoder.steps(encoder.start(), items, kinds, gaps)
    state = encoder.start()
    for place, item in enumerate(items):
        state = encoder.step(state, item, kinds[place], gaps[place])
        assert state.tobytes() == states[place].tobytes()
        assert encoder.vector(state).tobytes() == encoder.vectors(states)[place].tobytes()
    assert items.tobytes() == before.tobytes()
    assert not encoder.start().any()
    assert np.linalg.norm(encoder.vectors(states)[:, 2:], axis=1) == pytest.approx(np.ones(6))


def test_it_steps_as_pytorch_does():
    made = network()
    codes = torch.tensor([[3, 7, 7, 1]])
    told = features(["view", "purchase", "exit", "cart_add"], [0, 5_000, 60_000, 10])
    with torch.no_grad():
        batch = Batch(codes, torch.from_numpy(told)[None], torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, 0))
        expected = made(batch)[0].numpy()
        items = made.table(codes[0]).numpy()
    encoder = GruSessionEncoder(PooledSessionEncoder(2), made.weights())
    seen = np.concatenate([np.ones((4, 2), np.float32), items], axis=1)
    states = encoder.steps(encoder.start(), seen, ["view", "purchase", "exit", "cart_add"], [0, 5_000, 60_000, 10])
    assert encoder.vectors(states)[:, 2:] == pytest.approx(expected, abs=1e-5)


def test_an_item_that_the_space_does_not_know_leaves_it_as_it_is():
    encoder = GruSessionEncoder(PooledSessionEncoder(2), network().weights())
    assert not encoder.vector(encoder.start()).any()
    known = np.concatenate([[1, 0], np.full(10, 0.3)]).astype(np.float32)
    once = encoder.step(encoder.start(), known, "view", 0)
    blank = np.array([0, 1, *[0] * 10], np.float32)
    assert encoder.vector(encoder.step(once, blank, "view", 0))[2:].tolist() == encoder.vector(once)[2:].tolist()


@pytest.mark.parametrize("teacher", ["none", "bert"])
def test_it_learns_what_comes_next(teacher):
    space, curves, _ = fit_sequence(ITEMS, TEXTS, rounds(), replace(SMALL, teacher=teacher))
    assert space is not None
    assert [curve.network for curve in curves] == (["bert", "gru"] if teacher == "bert" else ["gru"])
    assert curves[-1].ndcg_10[-1] > 0.8
    assert all(max(curve.ndcg_10) > curve.ndcg_10[0] + 0.1 for curve in curves)
    assert all(curve.loss[-1] < curve.loss[0] for curve in curves)
    items = space.vectors(ITEMS, TEXTS)
    encoder = space.encoder(1)
    right = 0
    for start in range(12):
        seen = np.concatenate([np.ones((3, 1), np.float32), items[(start + np.arange(3)) % 12]], axis=1)
        states = encoder.steps(encoder.start(), seen, ["view"] * 3, [0, 1000, 1000])
        right += int(np.argmax(items @ encoder.vectors(states)[-1][1:])) == (start + 3) % 12
    assert right >= 10


def test_equal_pasts_give_equal_networks_and_a_training_that_was_stopped_goes_on(tmp_path):
    whole, _, _ = fit_sequence(ITEMS, TEXTS, rounds(), SMALL)
    again, _, _ = fit_sequence(ITEMS, TEXTS, rounds(), SMALL, checkpoints=tmp_path / "whole")
    stopped = []

    class Stop(Exception):
        pass

    def stop(done, total):
        stopped.append((done, total))
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        fit_sequence(ITEMS, TEXTS, rounds(), SMALL, checkpoints=tmp_path / "stopped", note=stop)
    resumed, curves, _ = fit_sequence(ITEMS, TEXTS, rounds(), SMALL, checkpoints=tmp_path / "stopped")
    assert stopped[-1] == (5, 12)
    assert whole.digest == again.digest == resumed.digest
    assert len(curves[0].loss) == 12
    (left,) = (tmp_path / "stopped").glob("*.safetensors")
    left.write_bytes(left.read_bytes()[:100])
    with pytest.raises(EncoderError, match="delete it and train again"):
        fit_sequence(ITEMS, TEXTS, rounds(), SMALL, checkpoints=tmp_path / "stopped")


def test_two_threads_that_add_up_the_same_gradients_give_equal_networks_twice():
    """Large enough for torch to share the work out; popular items, so that threads meet at the same rows."""
    source, many = np.random.default_rng(1), 6000
    sessions = [Session.of(source.zipf(1.3, 8) % many, ["view"] * 8, list(range(0, 8000, 1000))) for _ in range(1280)]
    settings = replace(SMALL, text=0, free=64, batch=128, negatives=2000, epochs=1)
    names, texts = [f"item {n}" for n in range(many)], np.zeros((many, 1), np.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        spaces = [fit_sequence(names, texts, sessions, settings)[0] for _ in range(3)]
    finally:
        torch.set_num_threads(threads)
    assert len({space.digest for space in spaces}) == 1


@pytest.mark.parametrize("count", [1, 7, 300])
def test_its_loss_and_what_follows_are_torchs_to_the_bit(count):
    settings = SequenceSettings(text=4, free=6, hidden=8)
    texts = np.random.default_rng(2).normal(size=(300, 4)).astype(np.float32)
    torch.manual_seed(4)
    net = SequenceNetwork(first_axes(texts, 4), settings, "gru")
    found = functional.normalize(torch.randn(count, 10), dim=1).requires_grad_()
    targets = torch.randint(300, (count,))
    negatives = torch.cat([torch.randint(300, (400,)), targets[:1], targets[:1]])  # what came is among them, and twice
    ours = net.loss(found, targets, negatives)
    ours.backward()
    told = [found.grad, net.table.free.grad, net.sharpness.grad]
    found.grad = net.table.free.grad = net.sharpness.grad = None
    scale = net.scale()
    right = (found * net.table(targets)).sum(dim=1, keepdim=True) * scale
    wrong = found @ net.table(negatives).T * scale + math.log(300 / len(negatives))
    wrong = wrong.masked_fill(negatives == targets[:, None], -1e9)
    plain = functional.cross_entropy(torch.cat([right, wrong], dim=1), torch.zeros_like(targets))
    plain.backward()
    assert torch.equal(ours, plain)
    for one, other in zip(told, [found.grad, net.table.free.grad, net.sharpness.grad], strict=True):
        assert torch.equal(one, other)
        assert one.any()


def test_of_an_item_that_no_session_had_nothing_is_learned():
    """Not even what does not come: else what is new would lie where no session looks."""
    alone, _, _ = fit_sequence(ITEMS, TEXTS, rounds(), SMALL)
    beside, _, _ = fit_sequence([*ITEMS, "new"], np.concatenate([TEXTS, TEXTS[:1]]), rounds(), SMALL)
    assert beside.digest == alone.digest
    assert beside.vectors(["new"], TEXTS[:1])[0, : SMALL.text] == pytest.approx(first_axes(TEXTS[:1], SMALL.text)[0])


def test_it_stops_where_nothing_is_gained_and_when_its_time_is_over():
    _, curves, _ = fit_sequence(ITEMS, TEXTS, rounds(), replace(SMALL, learning_rate=1e-9, epochs=50, patience=2))
    assert len(curves[0].loss) <= 5 + COOLING
    _, curves, _ = fit_sequence(ITEMS, TEXTS, rounds(), replace(SMALL, budget_s=1e-9))
    assert len(curves[0].loss) == 1


@pytest.mark.parametrize(("gain", "taken"), [(0.01, "last"), (0.5, "best")])
def test_the_last_epoch_is_taken_unless_another_was_surely_better(
    gain: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sessions set aside say of the epochs is made up; the weights tell which was taken."""
    chance = np.random.default_rng(0)
    told = [base + chance.normal(0, 0.05, 60).astype(np.float32) for base in (0.2, 0.3 + gain, 0.3)]
    answers = iter([*told, *told])
    weights = []

    def examined(run: _Run) -> np.ndarray:
        weights.append(run._network.table.free.detach().numpy().tobytes())
        return next(answers)

    monkeypatch.setattr(_Run, "examined", examined)
    fit_sequence(ITEMS, TEXTS, rounds(), replace(SMALL, epochs=3))
    assert weights[-1] == weights[1 if taken == "best" else 2]


def test_items_without_words_are_learned_too_and_too_little_is_not_learned_from():
    space, curves, _ = fit_sequence(ITEMS, np.zeros((12, 5), np.float32), rounds(), SMALL)
    assert (space.text, space.dimension) == (0, 10)
    assert curves[0].ndcg_10[-1] > 0.8
    assert fit_sequence(ITEMS, TEXTS, rounds(9), SMALL)[:2] == (None, [])
    same = [Session.of(np.zeros(3, np.int64), ["view"] * 3, [0, 1000, 2000])] * 40
    assert fit_sequence(ITEMS, TEXTS, same, SMALL)[:2] == (None, [])


def test_what_is_saved_is_loaded_and_what_is_damaged_is_named(tmp_path):
    space = SequenceSpace(ITEMS[:3], np.eye(3, 6, dtype=np.float32), 4, network().weights())
    space.save(tmp_path / "space")
    loaded = SequenceSpace.load(tmp_path / "space")
    assert loaded.digest == space.digest
    assert loaded.vectors(ITEMS, TEXTS).tobytes() == space.vectors(ITEMS, TEXTS).tobytes()
    (tmp_path / "space").write_bytes((tmp_path / "space").read_bytes()[:-50])
    with pytest.raises(EncoderError, match="train the model anew"):
        SequenceSpace.load(tmp_path / "space")
    with pytest.raises(ValueError, match="do not fit"):
        SequenceSpace(ITEMS[:3], np.eye(2, 6, dtype=np.float32), 4, network().weights())


def test_an_item_that_was_never_seen_has_its_words_alone():
    space = SequenceSpace(["known"], np.full((1, 6), 2, np.float32), 4, network().weights())
    known, new = space.vectors(["known", "new"], TEXTS[:2])
    assert np.linalg.norm([known, new], axis=1) == pytest.approx([1, 1])
    assert new[:4] == pytest.approx(first_axes(TEXTS[1:2], 4)[0])
    assert not new[4:].any()
    assert not space.vectors(["nothing"], np.zeros((1, 5), np.float32)).any()


@pytest.mark.parametrize("wrong", [{"free": 0}, {"dropout": 1.0}, {"learning_rate": 0}, {"batch": 0}, {"text": -1}])
def test_settings_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        SequenceSettings(**wrong)


def test_a_gpu_that_is_not_there_is_named():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert device_of("auto") == device_of("cpu") == "cpu"
    with pytest.raises(EncoderError, match="sees no GPU"):
        device_of("cuda")
