"""What the product says of its chances when it is evaluated: the same as a worker, held against what came."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from encoders.text import DummyTextEncoder
from index.correction import Correction
from streaming.evaluation.answers import ask_and_teach
from streaming.evaluation.evaluation import Entry, ask_all
from streaming.evaluation.forecasts import coming, foretold, sessions_of
from streaming.evaluation.log import Log
from streaming.evaluation.moments import Split
from streaming.evaluation.product import Product, Workshop
from streaming.evaluation.protocols import temporal
from streaming.holdout import MOMENTS
from streaming.past import past_of, table_settings
from streaming.recalibrating import Recalibration
from streaming.shop import ShopInfo
from tests.stories.small_shop import Visitor, engine_for
from tests.streaming.evaluation.logs import START

ITEMS = [f"i{number:02d}" for number in range(40)]
SESSIONS = 1500
HOUR = 3600


@pytest.fixture(scope="module")
def replay() -> tuple[Log, Split, Workshop]:
    """Visitors who go on to the next item or to any, in the last third of the log oftener to any: what was likely
    before is not so any more."""
    chance, rows = np.random.default_rng(3), []
    for number in range(SESSIONS):
        item, faithful = int(chance.integers(len(ITEMS))), 0.75 if number < SESSIONS * 2 / 3 else 0.35
        for place in range(1 + int(chance.integers(9))):
            rows.append((f"s{number}", START + (number * HOUR + place * 30) * 1000, ITEMS[item]))
            item = (item + 1) % len(ITEMS) if chance.random() < faithful else int(chance.integers(len(ITEMS)))
    frame = pl.DataFrame(rows, schema=["session_id", "time", "item_id"], orient="row").with_columns(
        kind=pl.lit("view"),
        user_id=pl.col("session_id"),
        split=pl.when(pl.col("time") < START + SESSIONS * 2 // 3 * HOUR * 1000)
        .then(pl.lit("train"))
        .otherwise(pl.lit("test")),
    )
    items = pl.DataFrame({"item_id": ITEMS, "title": [f"thing {item}" for item in ITEMS]})
    facts = pl.DataFrame(schema={"head": pl.String, "relation": pl.String, "tail": pl.String})
    log = Log.of(frame, items, facts, ShopInfo())
    texts = DummyTextEncoder()
    past = past_of(log.events, log.items, log.facts, log.info, texts)
    return log, temporal(log, repeats=False), Workshop(texts, table_settings(log.info), None, MOMENTS, past)


def test_what_is_judged_is_what_a_worker_says(replay: tuple[Log, Split, Workshop]) -> None:
    _, split, workshop = replay
    product = Product(workshop)
    product.fit(split.part)
    shop = workshop.shop_of(split.part, anew=False)
    engine = engine_for(shop, triggers={"offers": 10})
    asked = [moment for moment in split.moments if len(moment.items) == 1][:30]
    for moment in asked:
        ranked = product.rank(moment, 40)
        (item,) = split.part.catalogue.ids(moment.items)
        told = Visitor(engine, f"visitor {moment.session}").does(0, "view", item).prediction
        assert told is not None
        assert ranked.acts == pytest.approx(told.chance)
        assert ranked.probabilities is not None
        scores = dict(zip(split.part.catalogue.ids(ranked.codes), ranked.probabilities.tolist(), strict=True))
        assert [offer.score for offer in told.items] == pytest.approx([scores[offer.item_id] for offer in told.items])
    assert len({round(product.rank(moment, 40).acts or 0, 6) for moment in asked}) > 5


def test_a_recalibration_makes_good_what_drift_made_wrong(replay: tuple[Log, Split, Workshop]) -> None:
    log, split, workshop = replay
    errors = {}
    for workshop.recalibrate in (False, True):
        told = ask_all(split, [Entry(Product(workshop, teach=True), "product", teach=True)])
        found = foretold(told, coming(log, split), sessions_of(split)).calibrated
        errors[workshop.recalibrate] = {name: each.ece for name, each in found.items()}
        lists = told[0].answers.lists
        assert found["a prediction"].n == len(split.moments) + len(split.endings)
    assert set(errors[True]) == {"an offer", "the first offer", "a prediction"}
    for name, error in errors[True].items():
        assert error < errors[False][name] * 0.7, name
    plain = ask_all(split, [Entry(Product(workshop, teach=True), "product", teach=True)])
    assert (plain[0].answers.lists == lists).all()  # the order is nobody's business


def test_what_was_before_a_moment_and_is_learned_after_it_is_no_answer_to_it(
    replay: tuple[Log, Split, Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a day is asked about whole before any of it is learned."""
    log, split, workshop = replay
    said: list[tuple[str, int, frozenset[Hashable]]] = []
    came: list[bool] = []

    class Noting(Recalibration):
        def said(
            self, session: str, time: int, items: Sequence[Hashable], scores: Sequence[float], chance: float | None
        ) -> None:
            said.append((session, time, frozenset(items)))
            super().said(session, time, items, scores, chance)

    def heard(correction: Correction, chances: Sequence[float], hits: Sequence[bool]) -> None:
        came.extend(hits if len(chances) == 1 else [])

    monkeypatch.setattr(workshop, "recalibrate", True)
    monkeypatch.setattr("streaming.evaluation.product.Recalibration", Noting)
    monkeypatch.setattr(Correction, "hear", heard)
    product = Product(workshop, teach=True)
    product.fit(split.part)
    ask_and_teach(product, replace(split, by_day=True))
    moments = zip(split.moments, coming(log, split), strict=True)
    soon = {(str(moment.session), moment.time): items for moment, items in moments}
    assert len(came) > 500
    assert came == [bool(items & soon[session, time]) for session, time, items in said[: len(came)]]


def test_a_frozen_product_is_not_corrected(
    replay: tuple[Log, Split, Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, split, workshop = replay
    monkeypatch.setattr(workshop, "recalibrate", True)
    monkeypatch.setattr(Correction, "hear", lambda *_: pytest.fail("nobody is to hear of it"))
    frozen = Product(workshop)
    frozen.fit(split.part)
    ask_and_teach(frozen, split)
