from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest

from streaming import codec
from streaming import delivery as delivering
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.publisher import Publisher
from streaming.records import Control, Fact, Facts, Item, Record, Tick
from streaming.settings import Settings
from tests.streaming.fake_kafka import FakeKafka

ITEM = Item(item_id="B00N1", title="Rose hand cream", price=7.5)
FACTS = Facts(head="B00N1", facts=[Fact(relation="brand", tail="Rosa")])
FORGET = Control(control_id="c1", action="forget", user_id="u")


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr(delivering, "KafkaProducer", FakeKafka)
    FakeKafka.made, FakeKafka.refuse, FakeKafka.answer = [], None, "now"
    with Publisher(Settings()) as made:
        yield made


def sent() -> list[tuple[str, bytes | None, bytes | None, int | None]]:
    rows = FakeKafka.made[0].sent if FakeKafka.made else []
    return [(row["topic"], row["key"], row["value"], row["partition"]) for row in rows]


def test_each_record_stands_on_its_topic_under_its_key(shop: Publisher) -> None:
    shop.put_item(ITEM)
    shop.remove_item("B00N0")
    shop.put_facts(FACTS)
    shop.remove_facts("B00N0")
    shop.put_control(FORGET)
    shop.tick(1_700_000_000_000, 3)
    shop.flush()
    assert sent() == [
        ("beforehand.catalogue", b"B00N1", codec.encode(ITEM), None),
        ("beforehand.catalogue", b"B00N0", None, None),
        ("beforehand.knowledge", b"B00N1", codec.encode(FACTS), None),
        ("beforehand.knowledge", b"B00N0", None, None),
        ("beforehand.control", b"c1", codec.encode(FORGET), None),
        ("beforehand.ticks", None, codec.encode(Tick(time=1_700_000_000_000)), 3),
    ]
    assert shop.delivery.delivered == 6


@pytest.mark.parametrize(
    "item", [Item(item_id="a\x00b", title="t"), Item(item_id="é" * 129, title="t"), Item(item_id="i", title="")]
)
def test_what_no_worker_would_take_is_refused(shop: Publisher, item: Record) -> None:
    assert isinstance(item, Item)
    with pytest.raises(InputError):
        shop.put_item(item)
    with pytest.raises(InputError):
        shop.remove_item("")
    assert sent() == []


def test_items_of_a_table_leave_out_what_is_empty() -> None:
    frame = pl.DataFrame(
        {
            "item_id": ["a", "b"],
            "title": ["Lamp", "Boot"],
            "price": [1.5, None],
            "attributes": ['{"colour": "red"}', None],
            "available": [False, None],
            "_row": [1, 2],
        }
    )
    assert list(items_of(frame)) == [
        Item(item_id="a", title="Lamp", price=1.5, attributes={"colour": "red"}, available=False),
        Item(item_id="b", title="Boot"),
    ]
