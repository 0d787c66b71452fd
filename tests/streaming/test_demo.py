"""The demo's parts, and the whole on the local broker with an encoder that needs no model."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from streaming.demo import environment_of
from streaming.demo_live import described
from streaming.demo_past import FROM, past_of
from streaming.demo_report import DemoReport
from streaming.demo_worker import Tally
from streaming.errors import InputError
from streaming.foretold import Foretold
from streaming.records import IndexVersion, Offer, Prediction, Reason
from streaming.settings import Settings
from streaming.shop import ShopInfo
from streaming.telemetry import Metrics

REPORT = DemoReport(
    events_in=2000,
    decided=2000,
    predictions_out=300,
    suppressed={"quiet": 200},
    silent={"unchanged": 1500},
    dead_letters=0,
    latencies_ms=(4.0, 9.0, 20.0),
    first_prediction_s=31.5,
    foretold=Foretold(n=192, sessions=184, hit_rate=0.34, hit_rate_popularity=0.29, low=0.01, high=0.09),
    events_per_s=300.0,
    behind_ms_max=2.0,
    stages_s={"import": 5.0},
)


def shop() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ten old sessions buy tea, five of them mugs; then one that is open over FROM, and new ones."""
    rows = [(f"old{n}", FROM - 86_400_000 + n, "tea") for n in range(10)]
    rows += [(f"old{n}", FROM - 86_300_000 + n, "mug") for n in range(5)]
    rows += [("open", FROM - 1000, "jam"), ("open", FROM, "tea")]
    rows += [("new", FROM + 1000 + n, item) for n, item in enumerate(("tea", "jam", "unlisted"))]
    events = pl.DataFrame(rows, schema=["session_id", "time", "item_id"], orient="row")
    items = pl.DataFrame({"item_id": ["jam", "mug", "new", "tea"], "title": ["Jam", "Mug", "New", "Tea"]})
    return events.with_columns(kind=pl.lit("purchase")).sort("time"), items


def test_nothing_of_the_past_is_chosen_by_what_came_later() -> None:
    events, items = shop()
    past = past_of(ShopInfo(), events, items, 3, catalogue=2)
    assert past.catalogue["item_id"].to_list() == ["tea", "mug"]  # by sales before FROM; jam sells more after it
    assert past.history["time"].max() < FROM
    later_than_known = events.with_columns(
        item_id=pl.when(pl.col("time") >= FROM).then(pl.lit("new")).otherwise("item_id")
    )
    assert past_of(ShopInfo(), later_than_known, items, 3, catalogue=2).catalogue.equals(past.catalogue)


def test_only_sessions_that_began_later_are_replayed_and_bring_the_titles_that_are_not_known() -> None:
    events, items = shop()
    replayed = past_of(ShopInfo(), events, items, 3, catalogue=2).events
    assert replayed["session_id"].unique().to_list() == ["new"]
    assert replayed["event_id"].to_list() == ["demo-0", "demo-1", "demo-2"]
    assert replayed["title"].to_list() == [None, "Jam", None]
    with pytest.raises(InputError, match="expected at most the 3 there are"):
        past_of(ShopInfo(), events, items, 4)


def test_the_json_has_the_contracts_fields() -> None:
    told = json.loads(json.dumps(REPORT.as_json()))
    contract = (
        "events_in predictions_out suppressed silent dead_letters p50_ms p90_ms p99_ms first_prediction_s"
        " hit_rate hit_rate_popularity n interval versions machine"
    )
    assert set(contract.split()) <= set(told)
    assert (told["p90_ms"], told["interval"], told["suppressed"]) == (9.0, [0.01, 0.09], {"quiet": 200})
    assert told["machine"]["cores"] >= 1
    assert told["versions"]["python"].startswith("3.")


def test_it_fails_where_events_are_undecided_or_popularity_is_as_good() -> None:
    assert REPORT.troubles == []
    assert "2,000 events went in and 1,999 were decided" in replace(REPORT, decided=1999).troubles[0]
    assert "does not beat" in replace(REPORT, foretold=replace(REPORT.foretold, hit_rate=0.29)).troubles[0]
    assert "dead letters" in replace(REPORT, dead_letters=1).troubles[0]
    assert "no prediction" in replace(REPORT, predictions_out=0).troubles[0]


def test_the_table_tells_what_people_want_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    REPORT.show(Console(width=200, highlight=False))
    shown = capsys.readouterr().out
    for part in (
        "2,000 at 300/s, 2,000 decided",
        "200: quiet 200",
        "p90 9.0 ms",
        "0.340: of 192 predictions in 184 baskets",
        "+0.010 to +0.090",
    ):
        assert part in shown


def test_a_prediction_is_shown_with_its_best_items_and_a_reason() -> None:
    reason = Reason(code="near", sentence="Close to Tea, which you bought.", items=["t"])
    offers = [Offer("a", 0.5, []), Offer("b", 0.25, [reason]), Offer("c", 1.0, []), Offer("d", 0.1, [])]
    prediction = Prediction(
        prediction_id="p",
        session_id="0123456789",
        trigger="next_item",
        items=offers,
        model="m",
        index=IndexVersion("s"),
        level="full",
        arm="treatment",
        event_time=FROM,
        made_at=0,
        expires_at=0,
    )
    lines = described(prediction, {"a": "A" * 50, "b": "Mug"}).plain.splitlines()
    assert lines[0] == "2017-11-01 00:00:00  visitor 012345  next_item"
    assert lines[1] == f"    {'A' * 33}… .50  ·  Mug .25  ·  item c 1.00"
    assert lines[2] == "    Mug: Close to Tea, which you bought."


def test_the_workers_counters_are_read_from_its_page() -> None:
    metrics = Metrics()
    metrics.predictions.labels("cold_start", "full").inc(3)
    metrics.predictions.labels("cart_idle", "full").inc(1)
    metrics.suppressed.labels("quiet", "next_item", "full").inc(2)
    metrics.silent.labels("unchanged").inc(5)
    metrics.silent.labels("closed").inc(7)
    metrics.dead_letters.labels("bad_id").inc(1)
    tally = Tally(metrics.page().decode())
    assert (tally.predictions, tally.suppressed, tally.silent, tally.dead_letters) == (
        4,
        {"quiet": 2},
        {"unchanged": 5},
        1,
    )
    assert tally.decided == 3 + 2 + 5 + 1  # without what ticks led to: an idle cart, closed sessions


def test_the_workers_environment_gives_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "brokers": "h:1,i:2",
        "secret": "s" * 16,
        "broker": {"fence": False},
        "worker": {"port": 0, "clock": "record"},
    }
    for name, value in environment_of(given).items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    assert settings.brokers == ("h:1", "i:2")
    assert (settings.broker.fence, settings.worker.port, settings.worker.clock) == (False, 0, "record")
