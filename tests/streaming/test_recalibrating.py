"""What came of what was said: which events count, for how long, in which order; and an engine that corrects itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from index.calibration import Calibration, Quality
from index.correction import Correction
from streaming import codec
from streaming.engine import Engine
from streaming.gating import HORIZON_MS
from streaming.recalibrating import Recalibration
from streaming.telemetry import Metrics
from tests.stories.small_shop import CATALOGUE, SECOND, Visitor, engine_for, stocked
from tests.stories.test_gate import gate


class Heard(Correction):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, bool]] = []

    def hear(self, said: Sequence[float], came: Sequence[bool]) -> None:
        self.told += list(zip(said, came, strict=True))
        super().hear(said, came)


def listening(noted: int = 100) -> tuple[Recalibration, Heard, Heard]:
    found = Recalibration(noted)
    found.offers, found.predictions = Heard(), Heard()
    return found, found.offers, found.predictions


def test_five_events_and_half_an_hour_are_the_horizon() -> None:
    recalibration, offers, predictions = listening()
    recalibration.said("s", 0, ["tea", "mug"], [0.4, 0.1], 0.45)
    for n, item in enumerate(["pot", "mug", "pot", "pot"]):
        recalibration.met("s", item, n)
    assert (offers.told, len(recalibration)) == ([], 1)
    recalibration.met("s", "pot", 9)
    assert (offers.told, len(recalibration)) == ([(0.4, False), (0.1, True)], 0)
    assert predictions.told == [(0.45, True)]
    recalibration.met("s", "tea", 10)  # too late
    assert len(offers.told) == 2
    recalibration.said("s", 10, ["tea"], [0.3], None)
    recalibration.met("s", "tea", 10 + HORIZON_MS + 1)
    assert offers.told[2:] == [(0.3, False)]
    assert len(predictions.told) == 1


def test_another_session_passes_the_time_and_nothing_else() -> None:
    recalibration, offers, _ = listening()
    recalibration.said("s", 0, ["tea"], [0.4], None)
    for n in range(9):
        recalibration.met("t", "tea", n)
    assert offers.told == []
    recalibration.met("t", "tea", HORIZON_MS)
    assert offers.told == []
    recalibration.met("t", "tea", HORIZON_MS + 1)
    assert offers.told == [(0.4, False)]


def test_what_is_soon_answered_waits_for_what_was_said_before_it() -> None:
    recalibration, offers, _ = listening()
    recalibration.said("slow", 0, ["tea"], [0.2], None)
    recalibration.said("quick", 1, ["tea"], [0.3], None)
    for n in range(5):
        recalibration.met("quick", "tea", 2 + n)
    assert offers.told == []
    recalibration.met("other", "pot", HORIZON_MS + 1)
    assert offers.told == [(0.2, False), (0.3, True)]


def test_no_more_is_noted_than_there_is_room_for() -> None:
    recalibration, offers, _ = listening(noted=2)
    for n in range(5):
        recalibration.said(f"s{n}", n, ["tea"], [n / 10], None)
    assert len(recalibration) == 2
    recalibration.met("t", "tea", HORIZON_MS + 9)
    assert [said for said, _ in offers.told] == [0.0, 0.1]
    recalibration.said("s", HORIZON_MS, ["tea"], [0.9], None)
    assert len(recalibration) == 1


def test_a_worker_says_on_its_pages_what_was_said_and_what_came() -> None:
    metrics, (recalibration, _, _) = Metrics(), listening()
    metrics.recalibrated(None)
    assert "beforehand_chance_seen{" not in metrics.page().decode()
    recalibration.said("s", 0, ["tea", "mug"], [0.4, 0.2], 0.5)
    for n in range(5):
        recalibration.met("s", "tea", n)
    metrics.recalibrated(recalibration)
    told = {
        (name, of): metrics.registry.get_sample_value(f"beforehand_chance_{name}", {"of": of})
        for name in ("said", "seen")
        for of in ("offer", "prediction")
    }
    assert told == {
        ("said", "offer"): pytest.approx(0.3, abs=1e-4),
        ("seen", "offer"): pytest.approx(0.5, abs=1e-4),
        ("said", "prediction"): 0.5,
        ("seen", "prediction"): 1.0,
    }


# ------------------------------------------------------------------------------------------------------ in the engine
def engine(*, recalibrate: bool) -> Engine:
    shop = stocked()
    shop.calibration = Calibration(True, "", -1.0, 1.0, (0.0,) * 4, quality=Quality(1000, 300, 0.0, 0.2, 0.7))
    shop.gate = gate(log_history=0.1)
    rules = {"quiet_ms": 0, "trigger_cooldown_ms": 0, "item_cooldown_ms": 0}
    return engine_for(shop, rules=rules, worker={"recalibrate": recalibrate}, triggers={"offers": 10})


def walks(target: Engine, sessions: int, seed: int = 5) -> list[bytes]:
    """Visitors who look at five things in turn; all that was sent or held back, as bytes."""
    chance, told = np.random.default_rng(seed), []
    for number in range(sessions):
        visitor = Visitor(target, f"s{number}")
        for place, item in enumerate(chance.permutation(list(CATALOGUE))[:5].tolist()):
            decision = visitor.does(number * 60 * SECOND + place * SECOND, "view", item)
            told += [codec.encode(each) for each in (decision.prediction, decision.suppressed) if each is not None]
    return told


def test_an_engine_that_corrects_itself_comes_nearer_to_what_comes() -> None:
    """Of ten things all are offered that were not seen, at .27 and more; a visitor looks at up to four of them."""
    target = engine(recalibrate=True)
    walks(target, 300)
    recalibration = target.recalibration
    assert recalibration is not None
    assert recalibration.offers.outcomes > 5000
    assert recalibration.predictions.outcomes > 500
    before, after = (Visitor(each).does(0, "view", "mug-1").prediction for each in (engine(recalibrate=False), target))
    assert before is not None
    assert after is not None
    assert [offer.item_id for offer in before.items] == [offer.item_id for offer in after.items]
    assert [offer.score for offer in after.items] == pytest.approx(
        [recalibration.offers.apply_one(offer.score) for offer in before.items]
    )
    assert before.chance is not None
    assert after.chance == recalibration.predictions.apply_one(before.chance)
    told, seen = recalibration.offers.said, recalibration.offers.seen
    assert abs(recalibration.offers.apply_one(told) - seen) < abs(told - seen) / 2
    assert not math.isclose(told, seen, abs_tol=0.02)


def test_equal_events_give_equal_bytes_with_it_and_without_it_nothing_is_noted() -> None:
    assert walks(engine(recalibrate=True), 60) == walks(engine(recalibrate=True), 60)
    assert walks(engine(recalibrate=True), 60) != walks(engine(recalibrate=False), 60)
    assert engine(recalibrate=False).recalibration is None


def test_another_model_begins_anew() -> None:
    target = engine(recalibrate=True)
    walks(target, 20)
    before = target.recalibration
    target.serve(target.shop, target.shop.tables.session_encoder())
    assert target.recalibration is not None
    assert target.recalibration is not before
    assert target.recalibration.offers.outcomes == 0
