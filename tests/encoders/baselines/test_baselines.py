"""Networks find what is there to be found and nothing in noise; equal seeds give equal weights; time ends training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from encoders.baselines.light_gcn import GraphModel, GraphSettings, fit_graph
from encoders.baselines.losses import expected, sampled_softmax
from encoders.baselines.sequence_networks import SequenceModel, SequenceSettings, fit_sequences
from encoders.baselines.sequences import Sequences, batches, padded
from encoders.baselines.stopping import Course, ndcg

RINGS, LONG = 10, 6
SASREC = SequenceSettings(
    dimension=32, blocks=1, dropout=0.1, longest=8, tokens=128, uniform=32, shared=16, epochs=8, learning_rate=1e-2
)
GRU = replace(SASREC, network="gru4rec")
GRAPH = GraphSettings(dimension=16, batch=512, uniform=32, shared=16, epochs=10)


def _walks(count: int, seed: int = 0) -> Sequences:
    """Each sequence walks five items of one of ten rings of six, in order."""
    chance = np.random.default_rng(seed)
    rows = [
        [ring * LONG + (begin + place) % LONG for place in range(5)]
        for ring, begin in chance.integers((RINGS, LONG), size=(count, 2)).tolist()
    ]
    return _sequences(rows)


def _noise(count: int) -> Sequences:
    return _sequences(np.random.default_rng(0).integers(RINGS * LONG, size=(count, 5)).tolist())


def _sequences(rows: list[list[int]], items: int = RINGS * LONG, *, repeats: bool = True) -> Sequences:
    keys = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return Sequences.of(keys, np.concatenate([np.array(row, np.int64) for row in rows]), items, repeats=repeats)


@pytest.mark.parametrize("settings", [SASREC, GRU], ids=["sasrec", "gru4rec"])
def test_what_comes_next_is_learned_and_noise_is_not(settings: SequenceSettings) -> None:
    model, course = fit_sequences(_walks(300), settings)
    asked = _walks(50, seed=9)
    scores = model.scores([walk[:4] for walk in asked])
    assert [int(best) for best in scores.argmax(axis=1)] == [int(walk[4]) for walk in asked]
    assert max(course.ranked) > 0.95
    _, lost = fit_sequences(_noise(600), replace(settings, epochs=2))
    assert max(lost.ranked) < 0.15  # by chance .076 of 60 items


def test_a_graph_knows_what_goes_together_in_whatever_order() -> None:
    model, _ = fit_graph(_walks(400), GRAPH)
    for walk in list(_walks(20, seed=9)):
        ring = walk[0] // LONG
        assert set(model.scores([walk[:3]])[0].argsort()[-LONG:] // LONG) == {ring}
        forwards, backwards = model.scores([walk[:3], walk[:3][::-1].copy()])
        assert forwards == pytest.approx(backwards, abs=1e-5)


def test_many_histories_at_once_are_each_what_it_is_alone() -> None:
    """Rows of other lengths fill up behind, where nothing before can see it."""
    histories = [np.array([1, 2, 3]), np.array([7]), np.array([4, 5, 6, 7, 8, 9, 10, 11, 12, 13])]
    for settings in (replace(SASREC, epochs=1), replace(GRU, epochs=1)):
        model, _ = fit_sequences(_walks(100), settings)
        together = model.scores(histories)
        for row, history in zip(together, histories, strict=True):
            assert row == pytest.approx(model.scores([history])[0], abs=1e-4)
    graph, _ = fit_graph(_walks(100), replace(GRAPH, epochs=1))
    assert graph.scores(histories)[1] == pytest.approx(graph.scores(histories[1:2])[0], abs=1e-5)


def test_what_was_never_seen_is_never_named() -> None:
    rows = [[0, 1, 2], [1, 2, 0], [2, 0, 1]] * 20
    for model, _ in (
        fit_sequences(_sequences(rows, 5), replace(SASREC, epochs=1)),
        fit_graph(_sequences(rows, 5), replace(GRAPH, epochs=1)),
    ):
        assert np.isfinite(model.scores([np.array([0, 1])])[0]).tolist() == [True, True, True, False, False]
        assert np.isfinite(model.scores([np.array([4])])[0][:3]).all()  # a history of what is unknown is no error


def test_equal_seeds_give_equal_weights_and_files_give_them_back() -> None:
    settings = replace(SASREC, epochs=2)
    one, again, other = (
        fit_sequences(_walks(100), each)[0].weights() for each in (settings, settings, replace(settings, seed=1))
    )
    assert all((one[name] == again[name]).all() for name in one)
    assert (one["items.weight"] != other["items.weight"]).any()
    asked = [np.array([1, 2])]
    back = SequenceModel.of(one, RINGS * LONG, settings)
    assert (back.scores(asked) == SequenceModel.of(again, RINGS * LONG, settings).scores(asked)).all()
    with pytest.raises((KeyError, RuntimeError)):
        SequenceModel.of(one, RINGS * LONG, replace(settings, dimension=16))
    graph, _ = fit_graph(_walks(100), replace(GRAPH, epochs=1))
    assert (GraphModel.of(graph.weights()).scores(asked) == graph.scores(asked)).all()


def test_training_ends_when_nothing_gets_better_or_its_time_is_up() -> None:
    _, waited = fit_sequences(_noise(200), replace(SASREC, epochs=60, waits=2))
    assert waited.ended == "no better"
    assert len(waited.ranked) == waited.best + 2
    _, hurried = fit_sequences(_walks(200), replace(SASREC, minutes=1e-6))
    assert (hurried.ended, len(hurried.ranked)) == ("budget", 1)
    _, counted = fit_sequences(_walks(200), replace(SASREC, epochs=2, waits=5))
    assert counted.ended == "epochs"
    assert Course.from_dict(counted.to_dict()).to_dict() == counted.to_dict()


def test_what_is_set_aside_is_the_last_item_and_is_not_learned() -> None:
    sequences = _walks(300)
    parted = sequences.parted(0)
    assert len(parted.targets) == 30
    assert len(parted.rest.items) == len(sequences.items) - 30
    whole = {tuple(walk.tolist()) for walk in sequences}
    asked = zip(parted.histories, parted.targets.tolist(), strict=True)
    assert {(*history.tolist(), target) for history, target in asked} <= whole
    unlike = _sequences([[1, 2, 1]] * 20, repeats=False)
    assert len(unlike.parted(0).targets) == 0  # the last item stood in the history


def test_batches_hold_every_step_once() -> None:
    rows = [list(range(length)) for length in (1, 2, 7, 23)]
    found = [
        (int(before), int(after))
        for pieces in batches(_sequences(rows), 5, 12, np.random.default_rng(0))
        for piece in pieces
        for before, after in pairwise(piece)
    ]
    assert sorted(found) == sorted((n, n + 1) for row in rows for n in row[:-1])


def test_padding_keeps_the_newest() -> None:
    rows, sizes = padded([np.array([1, 2, 3]), np.array([4])], 2, 9)
    assert (rows.tolist(), sizes.tolist()) == ([[2, 3], [4, 9]], [2, 1])


def test_ties_and_the_unknown_gain_nothing() -> None:
    parted = _sequences([[0, 1]] * 10, 4).parted(0)

    def flat(histories: object) -> np.ndarray:
        return np.zeros((len(parted.targets), 4), np.float32)

    def blind(histories: object) -> np.ndarray:
        return np.full((len(parted.targets), 4), -np.inf, np.float32)

    assert ndcg(flat, parted, repeats=True) == pytest.approx(1 / np.log2(5))  # the last of four
    assert ndcg(blind, parted, repeats=True) == pytest.approx(1 / np.log2(5))


@pytest.mark.parametrize(
    "wrong", [lambda: SequenceSettings(heads=3), lambda: SequenceSettings(dropout=1), lambda: GraphSettings(layers=0)]
)
def test_settings_that_make_no_network_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected sizes"):
        wrong()  # type: ignore[operator]
    with pytest.raises(ValueError, match="expected 0 to 1"):
        Sequences(np.array([2]), np.array([1]), 2, False)


def test_the_loss_is_that_of_a_softmax_with_the_wrong_items_corrected() -> None:
    chance = torch.Generator().manual_seed(0)
    states, table = (torch.randn(rows, 8, generator=chance, requires_grad=True) for rows in (30, 12))
    targets = torch.randint(12, (30,), generator=chance)
    wrong = torch.randint(12, (20,), generator=chance)  # many stand in it twice, and most rows have their own in it
    drawn = expected(np.arange(12), 16, 4)
    logits = (states @ table[wrong].T - drawn[wrong]).masked_fill(wrong == targets[:, None], -torch.inf)
    right = (states * table[targets]).sum(1, keepdim=True)
    plain = torch.nn.functional.cross_entropy(torch.cat([right, logits], 1), torch.zeros_like(targets))
    loss = sampled_softmax(states, targets, table, wrong, drawn)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), abs=1e-5)
    for one, other in zip(
        torch.autograd.grad(loss, (states, table)), torch.autograd.grad(plain, (states, table)), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-6)


def test_all_items_drawn_give_the_whole_softmax_in_the_mean() -> None:
    """What is drawn stands for what is not."""
    chance = torch.Generator().manual_seed(1)
    states, table = (torch.randn(rows, 4, generator=chance) for rows in (1, 40))
    targets = torch.tensor([3])
    whole = float(torch.logsumexp(states @ table.T, 1) - (states @ table[3])[0])
    counts = np.arange(1, 41)
    drawn = expected(counts, 2000, 2000)
    share = torch.from_numpy(counts / counts.sum())
    own = torch.multinomial(share, 2000, replacement=True, generator=chance)
    wrong = torch.cat([torch.randint(40, (2000,), generator=chance), own])
    assert float(sampled_softmax(states, targets, table, wrong, drawn)) == pytest.approx(whole, abs=0.05)
