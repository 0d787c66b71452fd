"""What a worker tells of its decisions, by the labels that a dashboard asks for."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streaming.decisions import Decision, Due
from streaming.intake import Event, Source
from streaming.records import Became, IndexVersion, Outcome, Prediction, SessionClosed, Suppressed, Transition
from streaming.telemetry import Metrics

SENT = 1_700_000_000_000


def prediction(**fields: Any) -> Prediction:
    given: dict[str, Any] = {"trigger": "next_item", "level": "full", "made_at": SENT + 40} | fields
    return Prediction(
        prediction_id="0" * 32,
        session_id="s",
        items=[],
        model="m",
        index=IndexVersion(snapshot="i"),
        arm="treatment",
        event_time=SENT,
        expires_at=SENT + 1,
        **given,
    )


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Value by name and the labels' values, in the labels' order of name."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }


def event(timestamp: int = SENT) -> Event:
    return Event(Source(1, 0, 0, timestamp), "s", None, "view", SENT, "tea")


def test_decisions_are_counted_by_trigger_rule_and_level() -> None:
    metrics = Metrics()
    held = Suppressed(prediction=prediction(level="popular", trigger="exit_intent"), rule="quiet", detail="d")
    metrics.worked(
        4,
        [
            Decision(event(), prediction=prediction()),
            Decision(event(), prediction=prediction(level="graph")),
            Decision(event(), suppressed=held, taught=Transition(0, "a", "b", "view")),
            Decision(Due("s", 5), silent="closed"),
        ],
    )
    found = samples(metrics)
    assert found["beforehand_predictions_total", "full", "next_item"] == 1
    assert found["beforehand_predictions_total", "graph", "next_item"] == 1
    assert found["beforehand_suppressed_total", "popular", "quiet", "exit_intent"] == 1
    assert found["beforehand_silent_total", "closed"] == 1
    assert found[("beforehand_lessons_total",)] == 1
    assert found[("beforehand_batches_total",)] == 1
    assert found[("beforehand_batch_events_sum",)] == 4


def test_the_delay_is_from_the_record_to_the_prediction() -> None:
    metrics = Metrics()
    metrics.worked(
        1,
        [
            Decision(event(), prediction=prediction()),
            Decision(event(SENT + 99), prediction=prediction()),  # the clocks differ
            Decision(event(-1), prediction=prediction()),  # the record has no time
            Decision(Due("s", 5), prediction=prediction(trigger="cart_idle")),
            Decision(event(), silent="no_trigger"),
        ],
    )
    found = samples(metrics)
    assert found[("beforehand_decision_delay_seconds_count",)] == 2
    assert abs(found[("beforehand_decision_delay_seconds_sum",)] - 0.04) < 1e-9


def test_what_became_of_predictions_is_counted_as_sessions_end() -> None:
    metrics = Metrics()
    closed = SessionClosed(
        session_id="s",
        events={},
        digest=0,
        first_time=SENT,
        last_time=SENT,
        became=Became(),
        predictions=[
            Outcome("1" * 32, "cold_start", viewed=3, purchased=1),
            Outcome("2" * 32, "cold_start", held=True, clicked=2),
        ],
    )
    metrics.worked(0, [Decision(Due("s", 5), silent="closed", closed=closed)])
    found = samples(metrics)
    assert found["beforehand_taken_up_total", "treatment", "view", "cold_start"] == 3
    assert found["beforehand_taken_up_total", "treatment", "purchase", "cold_start"] == 1
    assert found["beforehand_taken_up_total", "holdout", "click", "cold_start"] == 2
    assert found[("beforehand_sessions_closed_total",)] == 1


def test_the_page_has_what_a_process_costs() -> None:
    found = samples(Metrics())
    assert found[("process_resident_memory_bytes",)] > 1e6
    assert found[("process_cpu_seconds_total",)] > 0
