"""A precision that an operator asks for: what the gate holds back, and models that cannot keep it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from index.calibration import Quality
from index.gate import Gate, Threshold
from index.logistic import Logistic
from streaming import gating, reranking
from streaming.engine import Engine
from streaming.errors import InputError
from streaming.gating import CONTEXT, FEATURES, features
from streaming.items import Shop
from streaming.sessions import KINDS, Step
from tests.stories.small_shop import MINUTE, SECOND, Visitor, engine_for, fitted, offers, rule, stocked

TEN = {"offers": 10, "shift_cosine": -1.0}


def gate(**slopes: float) -> Gate:
    """One that asks these features alone, and keeps 30 % from a chance of .4 on and 50 % from .6 on."""
    return Gate(
        Logistic(
            names=FEATURES,
            slopes=tuple(slopes.get(name, 0.0) for name in FEATURES),
            least=(-100.0,) * len(FEATURES),
            most=(100.0,) * len(FEATURES),
            quality=Quality(1000, 300, 0.0, 0.2, 0.8),
        ),
        (Threshold(0.3, 0.4, 0.8), Threshold(0.5, 0.6, 0.3)),
    )


def guarded(shop: Shop, told: Gate, **rules: Any) -> Engine:
    shop.gate = told
    return engine_for(shop, rules=rules, triggers=TEN)


def test_a_prediction_says_its_chance_and_one_under_the_threshold_is_held_back() -> None:
    """Who comes back to an item is sure to take something up; others are not."""
    engine = guarded(stocked(), gate(repeats=5.0, log_history=-1.0), min_precision=0.25)
    visitor = Visitor(engine)
    held = visitor.does(0, "view", "mug-1")
    assert rule(held) == "unsure"
    assert held.suppressed is not None
    chance = held.suppressed.prediction.chance
    assert chance == pytest.approx(1 / 3)  # log-odds of -log 2
    assert held.suppressed.detail == "a chance of 0.3333, under 0.4000 for 0.3"
    sent = visitor.does(SECOND, "view", "mug-1")  # at once, for nothing was sent
    assert sent.prediction is not None
    assert sent.prediction.chance == pytest.approx(1 / (1 + math.exp(-5 + math.log(3))))
    assert visitor.state is not None
    assert visitor.state.said.sent == 1


def test_without_an_asked_precision_everything_passes_and_says_its_chance_all_the_same() -> None:
    visitor = Visitor(guarded(stocked(), gate(log_history=-9.0)))
    first = visitor.does(0, "view", "mug-1").prediction
    assert first is not None
    assert first.chance == pytest.approx(1 / (1 + 2**9))
    plain = Visitor(engine_for()).does(0, "view", "mug-1").prediction
    assert plain is not None
    assert plain.chance is None


def test_the_hold_out_comes_after_it() -> None:
    engine = guarded(stocked(), gate(repeats=5.0, log_history=-1.0), min_precision=0.3, holdout_percent=100)
    visitor = Visitor(engine)
    assert rule(visitor.does(0, "view", "mug-1")) == "unsure"
    assert rule(visitor.does(MINUTE, "view", "mug-1")) == "holdout"


def test_an_operator_changes_it_while_it_runs() -> None:
    engine = guarded(stocked(), gate(repeats=5.0, log_history=-1.0))
    visitor = Visitor(engine)
    engine.set_rule("min_precision", 0.3)
    assert rule(visitor.does(0, "view", "mug-1")) == "unsure"
    engine.set_rule("min_precision", 0)
    assert offers(visitor.does(MINUTE, "view", "hat-1"))


@pytest.mark.parametrize(
    ("told", "triggers", "asked", "why"),
    [
        (Gate.none("9 hits among 80 moments"), TEN, 0.3, "no gate (9 hits among 80 moments)"),
        (gate(), TEN, 0.6, "expected at most 0.5"),
        (gate(), {"offers": 3}, 0.3, "3 offers a prediction, expected 10 or more"),
    ],
)
def test_a_precision_that_cannot_be_kept_is_refused_with_the_remedy_and_changes_nothing(
    told: Gate, triggers: dict[str, Any], asked: float, why: str
) -> None:
    shop = stocked()
    shop.gate = told
    with pytest.raises(InputError) as at_start:
        engine_for(shop, rules={"min_precision": asked}, triggers=triggers)
    engine = engine_for(shop, triggers=triggers)
    with pytest.raises(InputError) as while_running:
        engine.set_rule("min_precision", asked)
    assert str(at_start.value) == str(while_running.value)
    assert why in str(at_start.value)
    assert "BEFOREHAND_RULES__MIN_PRECISION to 0" in str(at_start.value)
    assert engine.rules.min_precision == 0
    assert offers(Visitor(engine).does(0, "view", "mug-1"))


def test_a_model_without_a_gate_is_not_served_where_a_precision_is_asked_for() -> None:
    engine = guarded(stocked(), gate(repeats=5.0, log_history=-1.0), min_precision=0.3)
    before, other = engine.shop, stocked()
    with pytest.raises(InputError, match="no gate"):
        engine.suited(other)
    with pytest.raises(InputError, match="no gate"):
        engine.serve(other, other.tables.session_encoder())
    assert engine.shop is before
    assert rule(Visitor(engine).does(0, "view", "mug-1")) == "unsure"


def test_what_the_gate_is_asked_with() -> None:
    history = [
        Step(time, n, KINDS.index(kind), subject)
        for n, (time, kind, subject) in enumerate(
            [(0, "view", "tea"), (1000, "search", "jar"), (1000 * (math.e - 1), "purchase", "tea")]  # type: ignore[list-item]
        )
    ]
    parts, context = tuple(n / 10 for n in range(len(gating.PARTS))), (0.1, 0.2, 0.3, 0.4)
    told = dict(zip(FEATURES, features([0.5, 0.25, 0.25], [3.0, 2.5, 1.0], parts, context, history), strict=True))
    assert told["first"] == 0
    assert told["any"] == pytest.approx(math.log((1 - 0.5 * 0.75 * 0.75) / (0.5 * 0.75 * 0.75)))
    assert (told["second_behind"], told["fifth_behind"]) == (0.5, 2.0)
    assert told["entropy"] == pytest.approx(1.5 * math.log(2))
    assert [told[f"first_{part}"] for part in gating.PARTS] == list(parts)
    assert [told[name] for name in CONTEXT] == list(context)
    assert (told["log_gap"], told["acted"], told["searched"], told["repeats"]) == (
        pytest.approx(math.log(math.e - 1)), 1, 0, 1
    )  # fmt: skip
    assert gating.PARTS == reranking.PARTS


def test_sure_and_hopeless_offers_and_an_empty_history_give_finite_features() -> None:
    parts = (0.0,) * len(gating.PARTS)
    for scores in ([0.0], [1.0], [1.0] * 20, [0.0] * 3, [1e-300, 0.0]):
        told = features(scores, [0.0] * len(scores), parts, (0.0,) * len(CONTEXT), [])
        assert len(told) == len(FEATURES)
        assert all(map(math.isfinite, told))


def test_in_a_shop_with_a_past_more_than_one_part_has_a_say() -> None:
    told = Visitor(guarded(fitted(), gate(first_counts=1.0, first_text=1.0))).does(0, "view", "mug-1").prediction
    assert told is not None
    assert told.chance is not None
    assert told.chance > 0.6
