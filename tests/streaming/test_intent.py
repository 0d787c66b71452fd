"""What a visitor is about to do: where the answer is known, where nothing can be known, and what is served of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from index.calibration import Quality
from index.logistic import Logistic
from streaming import intent_fitting
from streaming.intake import Event, Source
from streaming.intent import FEATURES, HEADS, features, heads_of, intent_of
from streaming.intent_fitting import fit_intents
from streaming.sessions import FRESH, SessionState, advance
from tests.stories.small_shop import MINUTE, SECOND, START, Visitor, engine_for, rule, stocked

IDLE = 30 * MINUTE
COLUMNS = {"session_id": pl.String, "kind": pl.String, "item_id": pl.String, "time": pl.Int64}

Visit = Sequence[tuple[str, str | None, int]]
"""Kind, item, ms since the visit began."""


def log_of(visits: Sequence[Visit], apart: int = MINUTE) -> pl.DataFrame:
    rows = [
        (f"s{number}", kind, item, START + number * apart + at)
        for number, visit in enumerate(visits)
        for kind, item, at in visit
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("time", maintain_order=True)


def shoppers(count: int, seed: int = 3) -> list[Visit]:
    """Half of them put something into the cart at once, and buy it in nine of ten cases; the others never do. Who
    searches stays for three more pages, who does not leaves."""
    chance = np.random.default_rng(seed)
    visits: list[Visit] = []
    for _ in range(count):
        visit: list[tuple[str, str | None, int]] = [("view", "mug-1", 0)]
        if chance.random() < 0.5:
            visit.append(("cart_add", "mug-1", 10 * SECOND))
            if chance.random() < 0.9:
                visit += [("view", "mug-2", 20 * SECOND), ("purchase", "mug-1", 30 * SECOND)]
        visits.append(visit)
    return visits


def model(**slopes: float) -> Logistic:
    """One that asks these features alone."""
    wide = (1e3,) * len(FEATURES)
    return Logistic(
        FEATURES,
        0.0,
        tuple(slopes.get(name, 0.0) for name in FEATURES),
        tuple(-each for each in wide),
        wide,
        Quality(1000, 500, 0.0, 0.2, 0.8),
    )


def walked(*events: tuple[str, str | None, int], **more: Any) -> SessionState:
    state = FRESH
    for place, (kind, item, at) in enumerate(events):
        topic = 0 if kind in ("click", "cart_add", "cart_remove", "purchase") else 1
        query = "a jar" if kind == "search" else None
        event = Event(Source(topic, 0, place, 0), "s", None, kind, START + at, item, query=query, **more)
        state = advance(state, event)
    return state


def asked(state: SessionState, kind: str) -> dict[str, float]:
    return dict(zip(FEATURES, features(state, kind), strict=True))


# ------------------------------------------------------------------------------------------------------- what is asked
def test_what_the_heads_are_asked_with() -> None:
    first = asked(walked(("view", "tea", 0)), "view")
    assert (first["first"], first["log_views"], first["log_since_start"], first["log_gap"]) == (1, math.log(2), 0, 0)
    assert (first["distinct"], first["again"], first["cart"], first["bought"]) == (1, 0, 0, 0)
    state = walked(
        ("view", "tea", 0), ("search", None, 9 * SECOND), ("cart_add", "tea", 19 * SECOND), ("view", "tea", 99 * SECOND)
    )
    told = asked(state, "view")
    assert (told["log_views"], told["log_deeds"], told["first"]) == pytest.approx((math.log(3), math.log(3), 0))
    assert (told["log_since_start"], told["log_gap"]) == pytest.approx((math.log(100), math.log(81)))
    assert told["log_mean_gap"] == pytest.approx(math.log(34))
    assert (told["cart"], told["log_cart"], told["bought"]) == (1, math.log(2), 0)
    assert (told["distinct"], told["again"]) == (0.5, 1)
    assert [told[kind] for kind in ("click", "search", "cart_add", "purchase", "exit")] == [0] * 5
    bought = asked(walked(("cart_add", "tea", 0), ("purchase", "tea", SECOND)), "purchase")
    assert (bought["cart"], bought["bought"], bought["purchase"]) == (0, 1, 1)


def test_the_hour_goes_round() -> None:
    told = [asked(walked(("view", "tea", hours * 60 * MINUTE)), "view") for hours in (0, 6, 24)]
    assert (told[2]["hour_sin"], told[2]["hour_cos"]) == pytest.approx((told[0]["hour_sin"], told[0]["hour_cos"]))
    assert told[0]["hour_sin"] * told[1]["hour_sin"] + told[0]["hour_cos"] * told[1]["hour_cos"] == pytest.approx(0)


def test_nothing_known_gives_finite_features() -> None:
    assert all(map(math.isfinite, features(FRESH, "exit")))


# ----------------------------------------------------------------------------------------------------- what is learned
def test_who_has_a_cart_will_buy_and_who_has_not_will_not() -> None:
    heads = fit_intents(log_of(shoppers(1500)), IDLE)
    purchase = heads["purchase"]
    assert purchase.quality is not None
    assert purchase.quality.auc > 0.8
    assert purchase.quality.ece < 0.03
    with_cart = walked(("view", "mug-1", 0), ("cart_add", "mug-1", 10 * SECOND))
    bought = walked(("view", "mug-1", 0), ("cart_add", "mug-1", 10 * SECOND), ("purchase", "mug-1", 30 * SECOND))
    said = [
        intent_of(heads, state, kind)
        for state, kind in ((with_cart, "cart_add"), (walked(("view", "mug-1", 0)), "view"), (bought, "purchase"))
    ]
    assert [None if told is None or told.purchase is None else round(told.purchase, 1) for told in said] == [
        0.9, pytest.approx(0.45, abs=0.06), 0.0
    ]  # fmt: skip
    leaving = [told.leaving for told in said if told is not None and told.leaving is not None]
    assert leaving[2] > 0.95  # nobody does anything after having bought
    assert leaving[0] == pytest.approx(0.1, abs=0.05)


def test_a_log_without_purchases_gives_no_such_head_and_says_why() -> None:
    visits: list[Visit] = [[("view", f"mug-{n % 3}", n * SECOND) for n in range(1 + k % 4)] for k in range(400)]
    heads = fit_intents(log_of(visits), IDLE)
    assert heads["purchase"].why.startswith("no purchase among ")
    assert heads["leaving"].fitted
    told = intent_of(heads, walked(("view", "mug-1", 0)), "view")
    assert told is not None
    assert told.purchase is None
    assert told.leaving is not None


@pytest.mark.parametrize(
    ("log", "idle", "why"),
    [
        (log_of(shoppers(500)), 0, "sessions never end"),
        (log_of(shoppers(9)), IDLE, "no session of the log is over"),
        (log_of([]), IDLE, "no session of the log is over"),
        (log_of(shoppers(60)), IDLE, "hits among"),
    ],
)
def test_of_too_little_no_head_is_made(log: pl.DataFrame, idle: int, why: str) -> None:
    heads = fit_intents(log, idle)
    assert tuple(heads) == HEADS
    assert all(why in head.why for head in heads.values())
    assert intent_of(heads, walked(("view", "mug-1", 0)), "view") is None


def test_a_session_that_may_go_on_and_one_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    visits: list[Visit] = [[("view", "mug-1", 0), ("view", "mug-2", SECOND)] for _ in range(200)]
    last = START + 199 * MINUTE + SECOND
    heads = fit_intents(log_of(visits), IDLE)
    over = sum(START + n * MINUTE + SECOND + IDLE <= last for n in range(200))
    assert heads["leaving"].quality is not None
    assert (heads["leaving"].quality.n, heads["leaving"].quality.hits) == (2 * over, over)
    bot: Visit = [("view", "mug-1", n) for n in range(50)]
    monkeypatch.setattr(intent_fitting, "LONGEST", 20)
    told = fit_intents(log_of([bot, *visits]), IDLE)["leaving"].quality
    assert told is not None
    assert told.n == 2 * over
    monkeypatch.setattr(intent_fitting, "EVENTS", 240)
    told = fit_intents(log_of(visits), IDLE)["leaving"].quality
    assert told is not None
    assert told.n == 240


def test_a_visitor_who_comes_back_makes_two_visits_and_an_exit_is_no_going_on() -> None:
    visit: Visit = [
        ("view", "mug-1", 0),
        ("exit", None, SECOND),
        ("view", "mug-2", 2 * IDLE),
        ("view", "mug-3", 2 * IDLE + 9),
    ]
    later: Visit = [("view", "mug-1", 9 * IDLE)]
    told = fit_intents(log_of([*[visit] * 300, later], apart=1), IDLE)["leaving"].quality
    assert told is not None
    assert (told.n, told.hits) == (1200, 900)  # the first view, its exit, and the last view


# ------------------------------------------------------------------------------------------------------ what is served
def test_heads_are_kept_as_json_and_come_back_the_same() -> None:
    heads = fit_intents(log_of(shoppers(600)), IDLE) | {"purchase": Logistic.none("why")}
    assert heads_of(json.loads(json.dumps({name: head.to_dict() for name, head in heads.items()}))) == heads
    assert heads_of({}) == {}
    with pytest.raises(ValueError, match="logistic model"):
        heads_of({"leaving": {"slopes": []}})


def test_a_prediction_says_what_the_visitor_is_about_to_do() -> None:
    shop = stocked()
    shop.intents = {"purchase": model(cart=3.0), "leaving": Logistic.none("too few")}
    visitor = Visitor(engine_for(shop))
    first = visitor.does(0, "view", "mug-1").prediction
    assert first is not None
    assert first.intent is not None
    assert (first.intent.purchase, first.intent.leaving) == (0.5, None)
    later = visitor.does(MINUTE, "cart_add", "hat-1").prediction
    assert later is not None
    assert later.intent is not None
    assert later.intent.purchase == pytest.approx(1 / (1 + math.exp(-3)))
    idle = visitor.ticks(6 * MINUTE).suppressed
    assert idle is not None
    assert (idle.prediction.trigger, idle.prediction.intent) == (
        "cart_idle",
        None,
    )  # what is said is of a moment at which something was done
    plain = Visitor(engine_for()).does(0, "view", "mug-1").prediction
    assert plain is not None
    assert plain.intent is None


def test_a_visitor_who_is_likely_to_leave_is_told_once_where_there_is_a_cart_or_two_views() -> None:
    shop = stocked()
    shop.intents = {"leaving": model(log_views=2.0, cart=9.0)}  # .8 after one view, .9 after two

    def triggers(*events: tuple[str, str], **settings: float) -> list[str | None]:
        visitor = Visitor(engine_for(shop, rules={"quiet_ms": 0}, triggers={"shift_cosine": -1.0, **settings}))
        made = [visitor.does(n * MINUTE, kind, item) for n, (kind, item) in enumerate(events)]
        return [each.prediction and each.prediction.trigger for each in made]

    views = (("view", "mug-1"), ("view", "hat-1"), ("view", "saw-1"))
    assert triggers(*views) == ["cold_start", "exit_intent", "next_item"]
    assert triggers(*views, exit_views=3) == ["cold_start", "next_item", "exit_intent"]
    assert triggers(*views, exit_leaving=0.95) == ["cold_start", "next_item", "next_item"]
    assert triggers(*views, exit_leaving=1.0) == ["cold_start", "next_item", "next_item"]
    assert triggers(("view", "mug-1"), ("cart_add", "hat-1"), exit_views=9) == ["cold_start", "exit_intent"]
    shop.intents = {}
    assert triggers(*views) == ["cold_start", "next_item", "next_item"]


def test_an_exit_is_one_whatever_the_head_says() -> None:
    shop = stocked()
    shop.intents = {"leaving": model(exit=-50.0)}
    visitor = Visitor(engine_for(shop))
    visitor.does(0, "view", "mug-1")
    visitor.does(SECOND, "view", "hat-1")
    decision = visitor.does(2 * SECOND, "exit")
    assert rule(decision) == "quiet"
    assert decision.suppressed is not None
    assert decision.suppressed.prediction.trigger == "exit_intent"
