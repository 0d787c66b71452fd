from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from streaming import codec, topics
from streaming.broadcast import Broadcast
from streaming.codec import DecodeError
from streaming.records import Control, Fact, Facts, Item, Learned, Record, Transition
from streaming.settings import Settings
from streaming.telemetry import Metrics


class Bench:
    """A broadcast reader whose shop is a list of what was brought in."""

    def __init__(self, **worker: Any) -> None:
        self.log: list[Any] = []
        self.refused: list[tuple[int, str]] = []
        self.items: dict[str, Any] = {}
        self.broadcast = Broadcast(
            Settings(no_pseudonyms=True, worker=worker),
            Metrics(),
            client={},
            shop=lambda: self,  # type: ignore[arg-type, return-value]
            in_model_thread=self.in_model_thread,
            control=self.control,
            refused=self.refuse,
        )

    def upsert(self, items: list[Item]) -> None:
        self.log.append(("upsert", [item.item_id for item in items]))

    def remove(self, item_ids: list[str]) -> None:
        self.log.append(("remove", item_ids))

    def upsert_facts(self, facts: Facts) -> None:
        self.log.append(("facts", facts.head))

    def remove_facts(self, head: str) -> None:
        self.log.append(("no facts", head))

    def learn(self, lesson: Learned) -> None:
        self.log.append(("learn", [taught.offset for taught in lesson.transitions]))

    async def control(self, order: Control, sent: int) -> None:
        self.log.append(("control", order.control_id, sent))

    async def refuse(self, record: Any, problem: DecodeError) -> None:
        self.refused.append((record.offset, problem.reason))

    async def in_model_thread(self, work: Any, *args: Any) -> Any:
        return work(*args)

    def apply(self, topic: topics.Topic, *records: tuple[bytes | None, Record | bytes | None]) -> list[Any]:
        made = [
            SimpleNamespace(key=key, value=codec.encode(value) if isinstance(value, Record) else value, offset=n)
            for n, (key, value) in enumerate(records)
        ]
        for record in made:
            record.timestamp = 77
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
    assert Bench().apply(topics.LEARNED, (None, lesson)) == [("learn", [4])]
    assert Bench(learn=False).apply(topics.LEARNED, (None, lesson)) == []


def test_orders_go_to_control_with_the_time_they_were_sent() -> None:
    bench = Bench()
    order = Control(control_id="c1", action="set_rule", rule="quiet_ms", value=1)
    assert bench.apply(topics.CONTROL, (b"c1", order), (b"c2", b"")) == [("control", "c1", 77)]
    assert bench.refused == [(1, "empty")]
