import numpy as np
import pytest

from encoders.graph.choosing import WEIGHTS, Validation, choose, judge, mean_reciprocal_rank
from encoders.graph.facts import catalogue_facts
from encoders.graph.kge import KgeSettings
from encoders.graph.svd import SvdSettings

ITEMS = [f"i{number}" for number in range(60)]
AXES = np.eye(4, dtype=np.float32)


def by_brand():
    """Twelve brands of five items; what comes next is another item of the brand."""
    facts = {item: catalogue_facts(item, f"b{number // 5}") for number, item in enumerate(ITEMS)}
    starts = np.arange(0, 60, 5)
    histories = [np.array([start, start + 1, start + 2, start + 3], dtype=np.int32) for start in starts]
    return facts, Validation(histories, (starts + 4).astype(np.int32))


def test_what_ranks_best_is_chosen_and_beats_its_control():
    facts, validation = by_brand()
    candidates = [SvdSettings(dimension=4), SvdSettings(dimension=12), KgeSettings(dimension=12, epochs=2, negatives=4)]
    choice = choose(ITEMS, facts, [], validation, candidates)
    assert choice.vectors.method == choice.trials[0].method == "svd"
    assert choice.vectors.dimension == 12
    best = choice.trials[0]
    assert best.alone == best.fused == 1.0
    assert best.control_alone < 0.4
    assert [trial.fused for trial in choice.trials] == sorted([trial.fused for trial in choice.trials], reverse=True)
    assert len(choice.trials) == 3


def test_beside_base_scores_that_know_all_the_graph_gets_no_weight():
    _, validation = by_brand()
    truth = np.eye(60, dtype=np.float32)[validation.targets]
    noise = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    trial = judge("noise", noise, validation._replace(base=lambda start, end: truth[start:end]))
    assert (trial.weight, trial.fused, trial.control_fused) == (0.0, 1.0, 1.0)
    assert trial.alone < 0.5


def test_beside_base_scores_that_know_nothing_the_graph_gets_weight():
    facts, validation = by_brand()
    nothing = np.zeros((12, 60), dtype=np.float32)
    choice = choose(
        ITEMS, facts, [], validation._replace(base=lambda start, end: nothing[start:end]), [SvdSettings(dimension=12)]
    )
    trial = choice.trials[0]
    assert trial.weight == WEIGHTS[1]
    assert trial.fused == 1.0
    assert trial.control_fused < 0.4


def test_ranks_are_among_all_items_ties_in_the_middle_and_seen_ones_aside():
    vectors = AXES[[0, 0, 0, 1, 2]]
    histories, targets = [np.array([0])], np.array([1], dtype=np.int32)
    assert mean_reciprocal_rank(vectors, Validation(histories, targets), (1.0,))[1.0] == 1 / 1.5  # ties with 2
    repeats = Validation(histories, targets, repeats=True)
    assert mean_reciprocal_rank(vectors, repeats, (1.0,))[1.0] == 1 / 2  # and with 0, which is seen
    again = Validation([np.array([0, 3])], np.array([3], dtype=np.int32), repeats=True)
    assert mean_reciprocal_rank(vectors, again, (1.0,))[1.0] == 1  # newest first: .6 against 1


def test_many_sessions_go_by_in_blocks(monkeypatch):
    _, validation = by_brand()
    vectors = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    base = np.random.default_rng(2).random(size=(12, 60)).astype(np.float32)
    validation = validation._replace(base=lambda start, end: base[start:end])
    whole = mean_reciprocal_rank(vectors, validation)
    monkeypatch.setattr("encoders.graph.choosing._CELLS", 60 * 5)
    assert mean_reciprocal_rank(vectors, validation) == pytest.approx(whole)


def test_no_sessions_leave_the_first():
    facts, _ = by_brand()
    nothing = Validation([], np.empty(0, dtype=np.int32))
    choice = choose(ITEMS, facts, [], nothing, [SvdSettings(dimension=4), SvdSettings(dimension=8)])
    assert choice.vectors.dimension == 4
    assert choice.trials[0].alone == 0.0
