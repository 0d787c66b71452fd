from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, NotEnoughReplicasError

from streaming import delivery as module
from streaming import topics
from streaming.delivery import Delivery, validated
from streaming.errors import BrokerError, DeliveryError, InputError
from streaming.records import Item, Tick
from streaming.settings import BrokerSettings, Settings
from tests.streaming.fake_kafka import FakeKafka

SETTINGS = Settings(brokers="nowhere:9092")  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "KafkaProducer", FakeKafka)
    FakeKafka.made, FakeKafka.refuse, FakeKafka.answer = [], None, "now"
    return iter(())


def test_nothing_is_connected_before_the_first_record() -> None:
    delivery = Delivery(SETTINGS)
    assert FakeKafka.made == []
    delivery.send("clicks", b"value", b"key", headers=[("v", b"1")], partition=3, timestamp=7)
    (made,) = FakeKafka.made
    assert made.sent == [
        {
            "topic": "clicks",
            "value": b"value",
            "key": b"key",
            "headers": [("v", b"1")],
            "partition": 3,
            "timestamp_ms": 7,
        }
    ]


@pytest.mark.parametrize("fence", [True, False])
def test_all_copies_confirm_and_the_fence_setting_decides_on_idempotence(fence: bool) -> None:
    Delivery(Settings(broker=BrokerSettings(fence=fence))).send("t", b"v")
    options = FakeKafka.made[0].options
    assert options["acks"] == "all"
    assert options["enable_idempotence"] is fence
    assert options["allow_auto_create_topics"] is False


def test_confirmed_records_are_counted_and_flush_is_content() -> None:
    delivery, heard = Delivery(SETTINGS), []
    for _ in range(3):
        delivery.send("t", b"v", on_delivered=lambda: heard.append(1))
    delivery.flush(0)
    assert (delivery.delivered, delivery.failed, delivery.waiting, len(heard)) == (3, 0, 0, 3)


def test_a_refused_record_is_told_at_once_and_again_at_flush() -> None:
    heard: list[DeliveryError] = []
    delivery = Delivery(SETTINGS, on_error=heard.append)
    FakeKafka.answer = NotEnoughReplicasError("only one of two")
    delivery.send("shop.clicks", b"v", b"s-1")
    assert [(error.topic, error.key) for error in heard] == [("shop.clicks", b"s-1")]
    with pytest.raises(DeliveryError, match=r"1 records were not accepted: topic shop\.clicks, key b's-1'.*only one"):
        delivery.flush(0)
    delivery.flush(0)
    assert (delivery.delivered, delivery.failed) == (0, 1)


def test_of_many_failures_the_first_are_named_and_the_others_counted() -> None:
    delivery = Delivery(SETTINGS)
    FakeKafka.answer = NotEnoughReplicasError()
    for number in range(25):
        delivery.send("t", b"v", b"k%d" % number)
    with pytest.raises(DeliveryError, match="25 records were not accepted: .*k9.*; and 15 more") as caught:
        delivery.flush(0)
    assert caught.value.key == b"k0"


def test_a_broken_on_error_does_not_lose_the_failure(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: DeliveryError) -> None:
        raise ValueError("broken")

    delivery = Delivery(SETTINGS, on_error=broken)
    FakeKafka.answer = NotEnoughReplicasError()
    delivery.send("t", b"v")
    assert "on_error itself failed" in caplog.text
    with pytest.raises(DeliveryError):
        delivery.flush(0)


def test_flush_waits_for_what_was_sent_before_it_and_no_longer() -> None:
    delivery = Delivery(SETTINGS)
    FakeKafka.answer = "later"
    delivery.send("t", b"1")
    first = FakeKafka.made[0].futures[0]
    with pytest.raises(DeliveryError, match=r"1 records are unanswered after 0\.01 s"):
        delivery.flush(0.01)
    flushed = threading.Thread(target=delivery.flush, args=(30,))
    flushed.start()
    while not delivery._changed._waiters:  # type: ignore[attr-defined]
        time.sleep(0.001)
    delivery.send("t", b"2")  # after the flush began
    first.confirm()
    flushed.join(10)
    assert not flushed.is_alive()
    assert delivery.waiting == 1


def test_answers_out_of_order_do_not_end_a_flush_too_early() -> None:
    delivery = Delivery(SETTINGS)
    FakeKafka.answer = "later"
    delivery.send("t", b"1")
    delivery.send("t", b"2")
    first, second = FakeKafka.made[0].futures
    second.confirm()
    with pytest.raises(DeliveryError, match="1 records are unanswered"):
        delivery.flush(0.01)
    first.confirm()
    delivery.flush(0)


def test_a_record_above_2_mib_never_leaves() -> None:
    with pytest.raises(InputError, match=f"expected at most {topics.MAX_RECORD_BYTES}"):
        Delivery(SETTINGS).send("t", b"x" * 10_000_000)
    assert FakeKafka.made == []


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (MessageSizeTooLargeError("too large"), InputError),
        (ValueError("Unrecognized partition 9"), InputError),
        (KafkaTimeoutError("no metadata"), BrokerError),
    ],
)
def test_what_the_client_refuses_is_ours_and_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, error: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise cause

    monkeypatch.setattr(FakeKafka, "send", refuse)
    delivery = Delivery(SETTINGS)
    with pytest.raises(error, match=re.escape(str(cause))):
        delivery.send("t", b"v")
    assert delivery.waiting == 0
    delivery.flush(0)


def test_a_broker_that_is_down_is_asked_once_a_second_not_by_every_thread() -> None:
    FakeKafka.refuse = KafkaTimeoutError("nobody there")
    delivery = Delivery(SETTINGS)
    with pytest.raises(BrokerError, match=r"no answer from nowhere:9092 .*BEFOREHAND_BROKERS") as first:
        delivery.send("t", b"v")
    with pytest.raises(BrokerError) as second:
        delivery.send("t", b"v")
    assert second.value is first.value
    delivery._refused = (0.0, first.value)  # a second later
    FakeKafka.refuse = None
    delivery.send("t", b"v")
    assert delivery.delivered == 1


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 10)
    FakeKafka.answer = "later"
    delivery = Delivery(SETTINGS, block_s=0.01)
    delivery.send("t", b"x" * 8)
    with pytest.raises(BrokerError, match="1 records of 8 bytes wait"):
        delivery.send("t", b"x" * 8)
    FakeKafka.made[0].futures[0].confirm()
    delivery.send("t", b"x" * 8)
    assert delivery.waiting == 1


def test_close_flushes_parts_and_refuses_more() -> None:
    delivery = Delivery(SETTINGS)
    FakeKafka.answer = NotEnoughReplicasError()
    delivery.send("t", b"v")
    with pytest.raises(DeliveryError):
        delivery.close()
    assert FakeKafka.made[0].closed_with == 1
    delivery.close()
    with pytest.raises(InputError, match="after close"):
        delivery.send("t", b"v")


def test_a_child_starts_with_nothing_and_leaves_the_parents_connection_alone() -> None:
    """What the hook after a fork does; tests/end_to_end/test_clients.py forks."""
    delivery = Delivery(SETTINGS)
    FakeKafka.answer = "later"
    delivery.send("t", b"of the parent")
    parents = FakeKafka.made[0]
    delivery._changed.acquire()  # another thread of the parent held it at the moment of the fork
    delivery._forget_parent()
    FakeKafka.answer = "now"
    delivery.send("t", b"of the child")
    delivery.close()
    assert parents._closed, "kafka-python's hook at exit and destructor do nothing to what is closed"
    assert parents.closed_with is None
    assert [record["value"] for record in FakeKafka.made[1].sent] == [b"of the child"]
    assert (delivery.delivered, delivery.waiting) == (1, 0)


@pytest.mark.parametrize(
    "record",
    [
        Tick(time=5),
        Item(item_id="", title="t"),
        Item(item_id="i", title=7),  # type: ignore[arg-type]
        Item(item_id="i", title="t", price=float("nan")),
        Item(item_id="i", title="t", description="\ud800"),
        Item(item_id="i", title="t", attributes={"a": object()}),  # type: ignore[dict-item]
        Item(item_id="i", title="t", stock=2**70),
        Item(item_id="i", title="t", attributes={"a": "x" * topics.MAX_VALUE_BYTES}),
    ],
)
def test_what_a_reader_would_refuse_is_refused_here(record: Item | Tick) -> None:
    with pytest.raises(InputError):
        validated(record)
