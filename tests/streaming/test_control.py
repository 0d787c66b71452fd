from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streaming.control import Orders
from streaming.errors import InputError
from streaming.event_queue import Forget
from streaming.privacy import Pseudonyms
from streaming.records import Control, Receipt

SENT = 1_700_000_000_000


class Bench:
    """Orders with everything around them replaced by lists."""

    def __init__(self) -> None:
        self.rules: list[tuple[str, float]] = []
        self.models: list[Path] = []
        self.forgets: list[Forget] = []
        self.receipts: list[Receipt] = []
        self.engine = self.queue = self
        self.orders = Orders(
            "w0",
            self,  # type: ignore[arg-type]
            Pseudonyms("a secret of the tests, long enough"),
            in_model_thread=self.in_model_thread,
            switch_model=self.switch_model,
            send=self.send,
        )

    def set_rule(self, name: str, value: float) -> None:
        if name != "quiet_ms":
            raise InputError(f"rule {name!r} does not exist")
        self.rules.append((name, value))

    def switch_model(self, folder: Path) -> None:
        if folder.name == "broken":
            raise InputError(f"model {folder}: not whole")
        self.models.append(folder)

    async def put(self, forget: Forget) -> None:
        self.forgets.append(forget)
        forget.done.set_result(2)

    async def in_model_thread(self, work: Any, *args: Any) -> Any:
        return work(*args)

    async def send(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)

    def carry_out(self, **order: Any) -> Receipt:
        async def story() -> None:
            await self.orders.reassigned()
            await self.orders.carry_out(Control(control_id="c1", **order), SENT)

        asyncio.run(story())
        return self.receipts[-1]


def test_sets_a_rule_and_says_so() -> None:
    bench = Bench()
    receipt = bench.carry_out(action="set_rule", rule="quiet_ms", value=500)
    assert (receipt.control_id, receipt.done, receipt.worker, receipt.why) == ("c1", True, "w0", "quiet_ms = 500")
    assert bench.rules == [("quiet_ms", 500)]


def test_switches_the_model() -> None:
    bench = Bench()
    assert bench.carry_out(action="switch_model", model="models/b").done
    assert bench.models == [Path("models/b")]


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"action": "set_rule", "rule": "no_such", "value": 1}, "rule 'no_such' does not exist"),
        ({"action": "set_rule", "rule": "quiet_ms"}, "set_rule needs `rule` and `value`"),
        ({"action": "switch_model"}, "switch_model needs `model`"),
        ({"action": "switch_model", "model": "broken"}, "model broken: not whole"),
        ({"action": "forget"}, "forget needs `session_id` or `user_id`, one of them"),
        ({"action": "forget", "session_id": "a", "user_id": "b"}, "forget needs `session_id` or `user_id`"),
    ],
)
def test_refuses_with_a_reason(order: dict[str, Any], why: str) -> None:
    receipt = Bench().carry_out(**order)
    assert not receipt.done
    assert why in receipt.why


def test_forgets_by_pseudonym_as_of_when_the_order_was_sent() -> None:
    bench = Bench()
    names = Pseudonyms("a secret of the tests, long enough")
    assert bench.carry_out(action="forget", user_id="anna").why == "2 sessions forgotten here"
    assert (bench.forgets[0].sessions, bench.forgets[0].users) == ({}, {names("anna"): SENT})
    bench.carry_out(action="forget", session_id="s1")
    assert bench.forgets[-1].sessions == {names("s1"): SENT}


def test_what_came_from_another_worker_is_forgotten_again() -> None:
    bench = Bench()
    bench.carry_out(action="forget", user_id="anna")
    bench.carry_out(action="forget", session_id="s1")
    bench.forgets.clear()
    asyncio.run(bench.orders.reassigned())
    (again,) = bench.forgets
    assert (len(again.sessions), len(again.users)) == (1, 1)


def test_forgetting_waits_until_there_are_partitions_to_look_at() -> None:
    async def story() -> list[bool]:
        bench = Bench()
        order = Control(control_id="c1", action="forget", session_id="s1")
        task = asyncio.ensure_future(bench.orders.carry_out(order, SENT))
        await asyncio.sleep(0.01)
        before = task.done()
        await bench.orders.reassigned()
        await task
        return [before, task.done()]

    assert asyncio.run(story()) == [False, True]
