from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from streaming import broadcast, codec, topics
from streaming.broadcast import Broadcast
from streaming.changes import Change
from streaming.codec import DecodeError
from streaming.items import Shop
from streaming.records import Control, Fact, Facts, Item, Learned, Record, Transition
from streaming.settings import Settings
from streaming.telemetry import Metrics
from tests.streaming.reasoned import offer, reason, steps
from tests.streaming.small_past import PAST, row, stocked, walk


class Bench:
    """A broadcast reader whose shop is a list of what was brought in, or the one that is given."""

    def __init__(self, triggers: dict[str, Any] | None = None, shop: Shop | None = None, **worker: Any) -> None:
        self.log: list[Any] = []
        self.refused: list[tuple[int, str]] = []
        self.items: dict[str, Any] = {}
        self.positions: dict[int, int] = {}
        self.broadcast = Broadcast(
            Settings(no_pseudonyms=True, worker=worker, triggers=triggers or {}),
            Metrics(),
            client={},
            shop=lambda: shop or self,  # type: ignore[arg-type, return-value]
            in_model_thread=self.in_model_thread,
            noticed=self.notice,
            control=self.control,
            refused=self.refuse,
        )

    def upsert(self, items: list[Item]) -> None:
        self.log.append(("upsert", [item.item_id for item in items]))
        self.items |= {item.item_id: item for item in items}

    def remove(self, item_ids: list[str]) -> None:
        self.log.append(("remove", item_ids))
        for item_id in item_ids:
            self.items.pop(item_id, None)

    def upsert_facts(self, facts: Facts) -> None:
        self.log.append(("facts", facts.head))

    def remove_facts(self, head: str) -> None:
        self.log.append(("no facts", head))

    def learn(self, lesson: Learned) -> None:
        self.log.append(("learn", [taught.offset for taught in lesson.transitions]))

    async def control(self, order: Control, sent: int) -> None:
        self.log.append(("control", order.control_id, sent))

    async def notice(self, changes: Sequence[Change]) -> None:
        self.log.append(("noticed", [(each.item_id, each.trigger, each.offset, each.old_price) for each in changes]))

    async def refuse(self, record: Any, problem: DecodeError) -> None:
        self.refused.append((record.offset, problem.reason))

    async def in_model_thread(self, work: Any, *args: Any) -> Any:
        return work(*args)

    def apply(
        self, topic: topics.Topic, *records: tuple[bytes | None, Record | bytes | None], sent: int = 77
    ) -> list[Any]:
        made = [
            SimpleNamespace(key=key, value=codec.encode(value) if isinstance(value, Record) else value, offset=n)
            for n, (key, value) in enumerate(records)
        ]
        for record in made:
            record.timestamp, record.partition = sent, 0
        asyncio.run(self.broadcast._apply(topic, made))
        return self.log


def shoe(item_id: str) -> Item:
    return Item(item_id=item_id, title="a shoe")


def test_of_several_records_of_an_item_the_last_counts() -> None:
    log = Bench().apply(
        topics.CATALOGUE, (b"a", shoe("a")), (b"b", shoe("b")), (b"a", None), (b"c", None), (b"c", shoe("c"))
    )
    assert log == [("upsert", ["b", "c"]), ("remove", ["a"])]


def test_what_cannot_be_read_is_refused_and_the_rest_applied() -> None:
    bench = Bench()
    log = bench.apply(topics.CATALOGUE, (b"a", b"\xc1"), (b"x", shoe("y")), (b"\xff", shoe("z")), (b"b", shoe("b")))
    assert log == [("upsert", ["b"])]
    assert [offset for offset, _ in bench.refused] == [0, 1, 2]


def test_facts_come_and_go_by_head() -> None:
    facts = Facts(head="a", facts=[Fact(relation="brand", tail="Acme")])
    assert Bench().apply(topics.KNOWLEDGE, (b"a", facts), (b"a", None)) == [("facts", "a"), ("no facts", "a")]


def test_learns_unless_counts_are_frozen() -> None:
    lesson = Learned(topic="clicks", partition=0, transitions=[Transition(4, "a", "b", "view")])
    bench, frozen = Bench(), Bench(learn=False)
    assert bench.apply(topics.LEARNED, (None, lesson), (None, lesson)) == [("learn", [4]), ("learn", [4])]
    assert bench.positions == {0: 2}
    assert frozen.apply(topics.LEARNED, (None, lesson)) == []
    assert frozen.positions == {}


@pytest.mark.parametrize(
    ("topic", "count", "known", "paused"),
    [
        ("learned", 1, True, True),
        ("learned", 64, True, False),
        ("learned", 1, False, False),
        ("control", 1, True, False),
    ],
)
def test_what_is_learned_gathers_for_a_while_once_all_of_it_is_read(
    monkeypatch: pytest.MonkeyPatch, topic: str, count: int, known: bool, paused: bool
) -> None:
    monkeypatch.setattr(broadcast, "LEARN_PAUSE_S", 0.01)
    made = Bench().broadcast
    here = {TopicPartition(name, number) for name in made._topics for number in range(2)}
    learned = {tp for tp in here if made._topics[tp.topic] is topics.LEARNED}
    told: list[tuple[str, set[TopicPartition]]] = []
    fetched: list[dict[TopicPartition, list[Any]]] = [
        {tp: [None] * count for tp in here if (made._topics[tp.topic].name, tp.partition) == (topic, 0)}
    ]

    class Consumer(SimpleNamespace):
        async def start(self) -> None: ...
        async def stop(self) -> None: ...

        async def getmany(self, **_: Any) -> Any:
            told.append(("read", set()))
            if not fetched:
                await asyncio.sleep(0.1)
                raise EOFError
            return fetched.pop()

    consumer = Consumer(
        assignment=lambda: here,
        pause=lambda *tps: told.append(("pause", set(tps))),
        resume=lambda *tps: told.append(("resume", set(tps))),
    )

    async def nothing(*_: Any) -> Any:
        told.append(("apply", set()))
        return {}

    async def backlog(_: Any) -> Any:
        return {} if known else dict.fromkeys(here, 1)

    async def position(_: Any) -> int:
        return 0

    consumer.position = position
    monkeypatch.setattr(broadcast, "AIOKafkaConsumer", lambda **_: consumer)
    monkeypatch.setattr(made, "_assign", backlog)
    monkeypatch.setattr(made, "_apply", nothing)
    if known:
        made.caught_up.set()
    with pytest.raises(EOFError):
        asyncio.run(made.run())
    expected = [("read", set()), ("pause", learned), ("apply", set()), ("read", set()), ("resume", learned)]
    assert told == (expected if paused else [each for each in expected if each[0] in ("read", "apply")])


def test_orders_go_to_control_with_the_time_they_were_sent() -> None:
    bench = Bench()
    order = Control(control_id="c1", action="set_rule", rule="quiet_ms", value=1)
    assert bench.apply(topics.CONTROL, (b"c1", order), (b"c2", b"")) == [("control", "c1", 77)]
    assert bench.refused == [(1, "empty")]


def price(value: float, **fields: Any) -> Item:
    return Item(item_id="a", title="a shoe", price=value, currency="EUR", **fields)


def test_what_visitors_wait_for_is_told_once_the_shop_has_it_however_the_records_are_cut() -> None:
    records: list[tuple[bytes, Item | None]] = [
        (b"a", price(10)),
        (b"a", price(9)),
        (b"a", price(9, stock=0)),
        (b"a", price(8, stock=2)),
        (b"a", None),
        (b"a", price(7)),
    ]
    expected = [("a", "price_drop", 1, 10.0), ("a", "back_in_stock", 3, 9.0), ("a", "back_in_stock", 5, 8.0)]
    now = time.time_ns() // 1_000_000
    bench = Bench()
    bench.apply(topics.CATALOGUE, *records, sent=now)
    assert bench.log == [("upsert", ["a"]), ("noticed", expected)]
    one_by_one = Bench()
    for number, record in enumerate(records):
        made = [(b"x", b"\xc1")] * number  # so that it stands at the same offset
        one_by_one.apply(topics.CATALOGUE, *made, record, sent=now)
    assert [told for kind, *rest in one_by_one.log if kind == "noticed" for told in rest[0]] == expected


def test_changes_of_long_ago_are_no_news() -> None:
    old = time.time_ns() // 1_000_000 - 601_000
    log = Bench().apply(topics.CATALOGUE, (b"a", price(10)), (b"a", price(5)), sent=old)
    assert log == [("upsert", ["a"])]


def test_a_price_drop_is_what_the_setting_says() -> None:
    now = time.time_ns() // 1_000_000
    bench = Bench(triggers={"price_drop_percent": 50})
    assert bench.apply(topics.CATALOGUE, (b"a", price(10)), (b"a", price(6)), sent=now)[1:] == []
    assert bench.apply(topics.CATALOGUE, (b"a", price(3)), sent=now)[-1] == ("noticed", [("a", "price_drop", 0, 6.0)])


def test_facts_reach_reasons_and_vectors_while_running_and_leave_them_again() -> None:
    shop = stocked(*PAST)
    bench, before, version = Bench(shop=shop), row(shop, "rug"), shop.version
    candidate, history = offer(shop, "rug", graph=0.5), steps(("view", "mug"))
    assert reason(shop, candidate, history) is None
    told = Facts(head="rug", facts=[Fact(relation="brand", tail="kiln")])
    bench.apply(topics.KNOWLEDGE, (b"rug", told))
    found = reason(shop, candidate, history)
    assert found is not None
    assert found.facts == [["rug", "brand", "kiln"], ["mug", "brand", "Kiln"]]
    graph = shop.layout.slices[1]
    assert row(shop, "rug")[graph] @ row(shop, "mug")[graph] > before[graph] @ row(shop, "mug")[graph] + 0.1
    assert shop.version > version
    bench.apply(topics.KNOWLEDGE, (b"rug", None))
    assert reason(shop, candidate, history) is None
    assert row(shop, "rug").tobytes() == before.tobytes()
    bench.apply(topics.CATALOGUE, (b"rug", Item(item_id="rug", title="Wool rug", brand="Kiln")))
    found = reason(shop, candidate, history)
    assert found is not None
    assert found.facts[0] == ["rug", "brand", "Kiln"]


def test_lessons_reach_reasons_once_two_visitors_made_a_pair() -> None:
    shop = stocked(*PAST)
    bench = Bench(shop=shop)
    candidate, history = offer(shop, "rug", pair="tea", counts=0.5), steps(("view", "tea"))
    for session, expected in ((1, None), (2, "together")):
        for _ in range(2):  # a batch that is sent again teaches nothing
            bench.apply(topics.LEARNED, (None, walk("tea", "rug", session=session, visitor=session)))
        found = reason(shop, candidate, history)
        assert (None if found is None else found.code) == expected
