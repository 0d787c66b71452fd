import json
import math
import time

import numpy as np
import pytest

from index.calibrating import auc, brier, calibrate, ece, reliability
from index.calibration import Calibration, Quality

MOMENTS, ITEMS = 3000, 10


def sigmoid(odds):
    return 1 / (1 + np.exp(-odds))


def offered(seed, truth, moments=MOMENTS):
    """Scores, context, hits drawn from `truth(z, context)`, and moments."""
    rng = np.random.default_rng(seed)
    context = np.repeat(rng.normal(size=(moments, 3)), ITEMS, axis=0)
    z = rng.gamma(1.5, 0.5, size=moments * ITEMS)
    chance = truth(z, context)
    return z, context, rng.random(len(z)) < chance, np.repeat(np.arange(moments), ITEMS), chance


def logistic(z, context):
    return sigmoid(-3 + 1.2 * z + 0.8 * context[:, 0] - 0.3 * context[:, 1])


def stepped(z, context):
    """No logistic of anything: half of what scores above 1, hardly any below."""
    return np.where(z > 1, 0.5, 0.02)


def test_probabilities_that_follow_a_logistic_are_found():
    z, context, hit, moments, chance = offered(0, logistic)
    calibration = calibrate(z, context, hit, moments, isotonic=False)
    assert calibration.calibrated
    assert calibration.slope == pytest.approx(1.2, abs=0.06)
    assert calibration.slopes == pytest.approx((0.8, -0.3, 0.0), abs=0.06)
    assert calibration.intercept == pytest.approx(-3, abs=0.1)
    assert np.abs(calibration.apply_all(z, context) - chance).mean() < 0.005


def test_out_of_fold_figures_are_those_of_new_data():
    z, context, hit, moments, _ = offered(0, logistic)
    quality = calibrate(z, context, hit, moments).quality
    new_z, new_context, new_hit, *_ = offered(1, logistic)
    probability = calibrate(z, context, hit, moments).apply_all(new_z, new_context)
    assert quality.ece < 0.012
    assert quality.brier == pytest.approx(brier(probability, new_hit), abs=0.005)
    assert quality.auc == pytest.approx(auc(probability, new_hit), abs=0.01)
    assert (quality.n, quality.hits) == (len(z), hit.sum())


def test_an_isotonic_correction_comes_where_a_logistic_does_not_fit_and_only_there():
    z, context, hit, moments, chance = offered(2, stepped)
    plain = calibrate(z, context, hit, moments, isotonic=False)
    corrected = calibrate(z, context, hit, moments)
    assert corrected.knots
    assert corrected.quality.brier < plain.quality.brier - 0.005
    assert np.abs(corrected.apply_all(z, context) - chance).mean() < 0.02
    assert not calibrate(*offered(0, logistic)[:4]).knots


@pytest.mark.parametrize("truth", [logistic, stepped])
@pytest.mark.parametrize("isotonic", [False, True])
def test_more_score_is_never_less_probability(truth, isotonic):
    calibration = calibrate(*offered(4, truth)[:4], isotonic=isotonic)
    probability = calibration.apply(np.linspace(-1, 8, 500), (0.4, -1.0, 2.0))
    assert (np.diff(probability) >= 0).all()
    assert 0 < probability[0] < probability[-1] < 1


def test_scores_that_tell_nothing_give_the_rate_and_keep_their_order():
    z, context, hit, moments, _ = offered(5, lambda z, context: np.full(len(z), 0.15))
    calibration = calibrate(z, context, hit, moments)
    probability = calibration.apply_all(z, context)
    assert calibration.slope > 0
    assert calibration.quality.auc == pytest.approx(0.5, abs=0.02)
    assert calibration.quality.ece < 0.015
    assert np.abs(probability - 0.15).max() < 0.05


def test_scores_that_go_the_wrong_way_are_not_turned_round():
    calibration = calibrate(*offered(6, lambda z, context: sigmoid(-z))[:4], isotonic=False)
    low, high = calibration.apply(np.array([0.1, 3.0]), (0, 0, 0))
    assert low < high < low + 0.01


@pytest.mark.parametrize(
    ("hits", "count", "why"),
    [
        (0, 1000, "0 hits among 1000 items"),
        (1000, 1000, "1000 hits among 1000 items"),
        (1, 1, "1 hits among 1 items"),
        (0, 0, "0 hits among 0 items"),
    ],
)
def test_what_cannot_be_fitted_says_so_and_ranks_as_before(hits, count, why):
    z = np.linspace(0, 1, count)
    calibration = calibrate(z, np.zeros((count, 2)), np.arange(count) < hits, np.arange(count))
    assert not calibration.calibrated
    assert why in calibration.why
    assert calibration.quality is None
    asked = np.array([-1.0, 0.0, 0.5, 1.0, 30.0])
    assert calibration.apply(asked, (1.0, 2.0)).tolist() == pytest.approx(
        [0, 0, 1 - math.exp(-0.5), 1 - math.exp(-1), 1]
    )


def test_moments_that_are_too_few_to_hold_some_out():
    z = np.linspace(0, 1, 100)
    calibration = calibrate(z, np.zeros((100, 0)), z > 0.5, np.zeros(100, int))
    assert "1 moments, expected 5" in calibration.why


def test_context_that_tells_all_apart_does_not_run_away():
    z, context, hit, moments, _ = offered(7, logistic, moments=500)
    calibration = calibrate(z, np.column_stack([context, hit]), hit, moments)
    assert np.isfinite(calibration.apply(np.array([1.0]), (0, 0, 0, 1))).all()
    assert all(abs(slope) < 100 for slope in calibration.slopes)


def test_a_feature_that_never_changes_says_nothing():
    z, context, hit, moments, _ = offered(8, logistic)
    calibration = calibrate(z, np.column_stack([context, np.full(len(z), 7.0)]), hit, moments)
    assert calibration.slopes[3] == 0


def test_equal_input_gives_equal_bytes_and_json_brings_it_back():
    given = offered(9, stepped)
    first, second = (calibrate(*given[:4]) for _ in range(2))
    text = json.dumps(first.to_dict())
    assert text == json.dumps(second.to_dict())
    back = Calibration.from_dict(json.loads(text))
    assert back.to_dict() == first.to_dict()
    assert isinstance(back.quality, Quality)
    assert back.apply_all(given[0], given[1]).tobytes() == first.apply_all(given[0], given[1]).tobytes()
    nothing = Calibration.none("no hit")
    assert Calibration.from_dict(json.loads(json.dumps(nothing.to_dict()))).to_dict() == nothing.to_dict()


def test_one_moment_and_many_get_the_same():
    z, context, hit, moments, _ = offered(10, logistic)
    calibration = calibrate(z, context, hit, moments)
    for said in (tuple(context[0].tolist()), context[0]):
        one = calibration.apply(z[:ITEMS], said)
        assert one == pytest.approx(calibration.apply_all(z, context)[:ITEMS], abs=1e-12)
    with pytest.raises(ValueError, match="context of 2 features, expected 3"):
        calibration.apply(z[:ITEMS], (0.0, 1.0))


@pytest.mark.parametrize(
    "change",
    [
        {"slope": -1.0},
        {"slope": "much"},
        {"intercept": math.nan},
        {"knots": [[0.0, 0.5], [1.0, 0.4]]},
        {"knots": [[1.0, 0.4], [0.0, 0.5]]},
        {"slopes": None},
        {"quality": {"n": 1}},
    ],
)
def test_a_damaged_manifest_is_refused(change):
    told = calibrate(*offered(11, stepped, moments=500)[:4]).to_dict()
    with pytest.raises(ValueError, match="expected"):
        Calibration.from_dict(told | change)


def test_input_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"expected \(n,\), \(n, C\)"):
        calibrate(np.zeros(3), np.zeros((2, 1)), np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        calibrate(np.full(3, np.nan), np.zeros((3, 1)), np.zeros(3), np.zeros(3))


def test_measures_on_numbers_that_are_known():
    said, came = [0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1]
    assert ece(said, came, bins=2) == pytest.approx((0.4 + 0.1) / 2)
    assert brier(said, came) == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert auc(said, came) == pytest.approx((2 * 1 + 1 * 0.5) / 3)
    assert auc([0.5], [1]) == 0.5
    assert (ece([], []), brier([], []), reliability([], [])) == (0.0, 0.0, [])
    assert [entry.n for entry in reliability(np.linspace(0, 1, 31), np.zeros(31))] == [3] + [2] * 14


def test_ten_items_cost_microseconds():
    calibration = calibrate(*offered(12, stepped)[:4])
    z, context = np.linspace(0, 2, 10), (0.1, 0.2, 0.3)
    best = math.inf
    for _ in range(20):
        start = time.process_time()
        for _ in range(500):
            calibration.apply(z, context)
        best = min(best, (time.process_time() - start) / 500)
    assert best < 20e-6  # 4 us measured; room for a slow machine
