import time

import numpy as np
import pytest

from index import rank_metrics
from index.tuning import Samples, tune

PLANTED = np.array([8.0, 4.0, 2.0, 0.0, 1.0, 0.0])


def planted(weights, moments=1500, candidates=60, seed=0, noise=1.0):
    """Moments whose target is drawn by a softmax of the weighted parts; pure chance where all weights are 0."""
    rng = np.random.default_rng(seed)
    parts = rng.random((moments * candidates, len(weights))).astype(np.float32) ** 2
    parts[rng.random(parts.shape) < 0.5] = 0
    score = (parts @ weights).reshape(moments, candidates) + noise * rng.gumbel(size=(moments, candidates))
    return Samples.of(parts, np.arange(moments + 1) * candidates, score.argmax(axis=1))


def figure(samples, weights, objective="ndcg_10"):
    kind, depth = rank_metrics.kind_and_depth(objective)
    everything = np.arange(len(samples))
    return rank_metrics.values(
        samples.parts, samples.starts, samples.relevant, samples.wanted, np.asarray(weights), kind, depth, everything
    )


@pytest.mark.parametrize("objective", ["ndcg_10", "mrr_20"])
def test_planted_weights_are_found_and_noise_gets_none(objective):
    samples = planted(PLANTED)
    tuned = tune(samples, np.ones(6), objective)
    found = tuned.weights / tuned.weights[0] * 8
    assert found[[1, 2]] == pytest.approx([4, 2], rel=0.3)
    assert 0.3 < found[4] < 2
    assert found[[3, 5]].tolist() == [0, 0]
    assert tuned.figure >= figure(samples, PLANTED, objective).mean() - 0.002
    assert tuned.figure > tuned.before
    assert tuned.held_out == pytest.approx(tuned.figure, abs=0.02)


def test_new_moments_like_the_weights_as_much():
    tuned, new = tune(planted(PLANTED), np.ones(6)), planted(PLANTED, seed=1)
    assert figure(new, tuned.weights).mean() >= figure(new, PLANTED).mean() - 0.006


def test_on_pure_noise_no_part_is_worth_more_than_its_error_allows():
    tuned = tune(planted(np.zeros(4)), np.array([1.0, 0, 0, 0]))
    chance = sum(1 / np.log2(1 + rank) for rank in range(1, 11)) / 60
    assert tuned.held_out == pytest.approx(chance, abs=0.02)
    assert np.count_nonzero(tuned.weights) == 1


def test_the_anchor_keeps_its_weight():
    samples = planted(PLANTED, moments=400)
    assert tune(samples, np.full(6, 3.0)).weights[0] == 3
    assert tune(samples, np.full(6, 3.0), anchor=1).weights[1] == 3
    assert tune(samples, np.zeros(6)).weights[0] == 1


def test_equal_input_gives_equal_bytes():
    first, second = (tune(planted(PLANTED, moments=300), np.ones(6)) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert (first.trace, first.gains, first.looks) == (second.trace, second.gains, second.looks)


def test_the_trace_leads_to_the_figure():
    tuned = tune(planted(PLANTED, moments=300), np.ones(6))
    figures = [step.figure for step in tuned.trace]
    assert figures == sorted(figures)
    assert figures[-1] == pytest.approx(tuned.figure, abs=0.003)  # weights are rounded at the end
    assert tuned.looks > 100


def test_moments_without_a_target_count_as_missed():
    samples = planted(PLANTED, moments=400)
    target = np.full(400, -1)
    nothing = Samples.of(samples.parts, samples.starts, target)
    tuned = tune(nothing, np.arange(6.0))
    assert (tuned.weights.tolist(), tuned.figure, tuned.trace) == ([0, 1, 2, 3, 4, 5], 0, ())
    half = samples.relevant.reshape(400, 60).argmax(axis=1)
    half[::2] = -1
    given = Samples.of(samples.parts, samples.starts, half, folds=(np.arange(400) // 2 % 2).astype(np.uint8))
    assert tune(given, np.ones(6)).figure == pytest.approx(figure(samples, PLANTED)[1::2].sum() / 400, abs=0.02)


def test_no_moments_at_all_leave_the_weights():
    empty = Samples.of(np.zeros((0, 2), np.float32), np.zeros(1, np.int64), np.zeros(0, np.int64))
    assert tune(empty, np.array([1.0, 2.0])).weights.tolist() == [1, 2]


def test_metrics_on_ranks_that_are_known():
    parts = np.array([3, 2, 1, 0, 5, 5, 5, 1, 9, 8, 7], np.float32)[:, None]
    samples = Samples.of(parts, np.array([0, 4, 8, 11]), np.array([1, 0, -1]))
    one = np.ones(1)
    assert figure(samples, one, "mrr_10").tolist() == [1 / 2, 1 / 2, 0]  # second; one of three that tie; not there
    assert figure(samples, one, "ndcg_10") == pytest.approx([1 / np.log2(3), 1 / np.log2(3), 0])
    assert figure(samples, one, "hr_1").tolist() == [0, 0, 0]
    assert figure(samples, one, "hr_2").tolist() == [1, 1, 0]


def test_metrics_of_several_targets():
    parts = np.array([4, 3, 2, 1], np.float32)[:, None]
    samples = Samples.of(parts, np.array([0, 4]), np.array([2]), more=[[0, 2]], missed=np.array([1]))
    assert samples.wanted.tolist() == [3]
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert figure(samples, np.ones(1))[0] == pytest.approx((1 + 1 / np.log2(4)) / ideal)
    assert figure(samples, np.ones(1), "mrr_10")[0] == 1


def test_a_look_along_a_grid_is_a_look_at_each():
    samples = planted(PLANTED, moments=50)
    grid, chosen = np.array([0.0, 0.5, 4.0]), np.arange(50)
    columns = np.ascontiguousarray(samples.parts.T)
    for objective in ("ndcg_10", "mrr_20", "hr_10"):
        kind, depth = rank_metrics.kind_and_depth(objective)
        sums = rank_metrics.along(
            columns, samples.starts, samples.relevant, samples.wanted, PLANTED, 1, grid, kind, depth, chosen
        )
        for weight, found in zip(grid, sums, strict=True):
            weights = np.where(np.arange(6) == 1, weight, PLANTED)
            assert found == pytest.approx(figure(samples, weights, objective).sum(), abs=1e-9)


def test_the_slope_of_the_choice_loss_is_its_slope():
    samples = planted(PLANTED, moments=30)
    chosen, slope, ignored = np.arange(30), np.zeros(6), np.zeros(6)

    def loss(weights, slope):
        return rank_metrics.choice_loss(samples.parts, samples.starts, samples.relevant, weights, chosen, slope)

    at = np.array([1.0, 2, 3, 1, 0, 2])
    loss(at, slope)
    for part in range(6):
        step = np.eye(6)[part] * 1e-5
        assert slope[part] == pytest.approx((loss(at + step, ignored) - loss(at - step, ignored)) / 2e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": np.ones(5)}, "expected 6 numbers"),
        ({"start": -np.ones(6)}, "expected 6 numbers"),
        ({"start": np.full(6, np.inf)}, "expected 6 numbers"),
        ({"objective": "map_10"}, "expected ndcg, mrr or hr"),
        ({"objective": "ndcg"}, "expected ndcg, mrr or hr"),
    ],
)
def test_what_cannot_be_tuned_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        tune(planted(PLANTED, moments=20), **{"start": np.ones(6)} | change)


@pytest.mark.parametrize(
    ("parts", "starts", "target", "message"),
    [
        (np.ones((3, 2)), [0, 3], [3], "outside"),
        (np.ones((3, 2)), [0, 3], [-2], "outside"),
        (np.ones((3, 2)), [0, 2], [0], "expected 0 to 3"),
        (np.ones((3, 2)), [0, 2, 1, 3], [0, 0, 0], "never falling"),
        (np.ones(3), [0, 3], [0], "expected"),
        (np.full((3, 2), np.nan), [0, 3], [0], "not finite"),
    ],
)
def test_samples_that_do_not_fit_are_refused(parts, starts, target, message):
    with pytest.raises(ValueError, match=message):
        Samples.of(parts, np.array(starts), np.array(target))


def test_folds_are_halves():
    samples = planted(PLANTED, moments=20)
    given = Samples.of(samples.parts, samples.starts, np.zeros(20, int), folds=np.full(20, 2))
    with pytest.raises(ValueError, match="expected 0 or 1"):
        tune(given, np.ones(6))


def test_three_thousand_moments_of_three_hundred_candidates_take_seconds():
    samples = planted(PLANTED, moments=3000, candidates=300)
    tune(planted(PLANTED, moments=20), np.ones(6))  # compiles
    start = time.process_time()
    tune(samples, np.ones(6))
    assert time.process_time() - start < 30
