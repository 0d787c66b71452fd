from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streaming import codec, topics
from streaming import delivery as delivering
from streaming.errors import InputError
from streaming.intake import MAX_AHEAD_MS, Event, Intake, Source
from streaming.privacy import Pseudonyms
from streaming.producer import EventProducer
from streaming.records import BROWSE_KINDS, CLICK_KINDS, EventRecord
from streaming.settings import Settings
from tests.streaming.fake_kafka import FakeKafka

NOW = 1_700_000_000_000


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Iterator[EventProducer]:
    monkeypatch.setattr(delivering, "KafkaProducer", FakeKafka)
    FakeKafka.made, FakeKafka.refuse, FakeKafka.answer = [], None, "now"
    with EventProducer(Settings(), now=lambda: NOW) as made:
        yield made


def sent() -> list[dict[str, Any]]:
    return [record for made in FakeKafka.made for record in made.sent]


@pytest.mark.parametrize("kind", sorted(CLICK_KINDS | BROWSE_KINDS))
def test_each_kind_goes_to_its_topic_keyed_by_session_as_the_intake_wants_it(
    producer: EventProducer, kind: Any
) -> None:
    producer.send(kind=kind, session_id="s-é", item_id="i", query="rose cream")
    (record,) = sent()
    topic = topics.CLICKS if kind in CLICK_KINDS else topics.BROWSES
    assert record["topic"] == f"beforehand.{topic.name}"
    assert record["partition"] is None
    source = Source(topics.SOURCES.index(topic), 0, 0, NOW)
    event = Intake(Pseudonyms(None), "beforehand.").accept(source, record["key"], record["value"], record["headers"])
    assert isinstance(event, Event)
    assert (event.session, event.kind, event.time) == ("s-é", kind, NOW)


def test_every_field_arrives(producer: EventProducer) -> None:
    fields: dict[str, Any] = {
        "kind": "cart_add",
        "session_id": "s",
        "time": NOW - 5,
        "user_id": "u",
        "item_id": "i",
        "query": "q",
        "title": "t",
        "quantity": 2,
        "price": 9.5,
        "currency": "EUR",
        "dwell_ms": 7,
        "prediction_id": "p",
        "event_id": "e",
        "consent": False,
        "utc_offset_min": -60,
    }
    assert set(fields) == set(EventRecord.__struct_fields__)
    producer.send(**fields)
    assert codec.decode(sent()[0]["value"], EventRecord) == EventRecord(**fields)
    assert producer.delivered == 1
    assert producer.failed == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kind": "look"}, "kind"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "a\nb"}, "session_id"),
        ({"session_id": "é" * 129}, "session_id"),
        ({"session_id": "\ud800"}, "surrogate"),
        ({"item_id": None}, "item_id"),
        ({"item_id": 17}, "item_id"),
        ({"item_id": "x" * 1_000_000}, "item_id"),
        ({"kind": "search"}, "query"),
        ({"price": float("nan")}, "price"),
        ({"price": -1.0}, "price"),
        ({"price": float("inf")}, "price"),
        ({"currency": "EURO"}, "currency"),
        ({"time": 5}, "time"),
        ({"time": 1 << 70}, "cannot be encoded"),
        ({"time": NOW + MAX_AHEAD_MS + 1}, "in the future"),
        ({"title": "x" * 10_000_000}, "title"),
        ({"quantity": 1.5}, "quantity"),
        ({"consent": object()}, "cannot be encoded"),
    ],
)
def test_what_no_worker_would_take_is_an_error_at_the_call(
    producer: EventProducer, wrong: dict[str, Any], named: str
) -> None:
    event: dict[str, Any] = {"kind": "view", "session_id": "s", "item_id": "i"}
    with pytest.raises(InputError, match=named):
        producer.send(**(event | wrong))
    assert sent() == []


def test_a_visitor_s_clock_may_run_ahead_by_what_the_intake_allows(producer: EventProducer) -> None:
    producer.send(kind="view", session_id="s", item_id="i", time=NOW + MAX_AHEAD_MS)
    assert len(sent()) == 1


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_TOPICS__PREFIX", "shop.")
    monkeypatch.setattr(delivering, "KafkaProducer", FakeKafka)
    FakeKafka.made, FakeKafka.refuse, FakeKafka.answer = [], None, "now"
    with EventProducer() as producer:
        producer.send(kind="exit", session_id="s")
    assert sent()[0]["topic"] == "shop.browses"
