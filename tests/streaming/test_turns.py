"""A round pays for one fetch: who waits for whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streaming.turns import Turns


class Node:
    """A broker that answers each fetch at once, with records or without."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.has = True

    async def fetch(self, assignment: Any, node_id: int, request: Any) -> bool:
        self.sent.append(node_id)
        return self.has


def turns(node: Node, in_rounds: bool = True, patience_s: float = 60) -> tuple[Turns, Any]:
    made = Turns(lambda: in_rounds, patience_s)
    return made, lambda node_id=1: asyncio.ensure_future(made.taken(node.fetch)(None, node_id, None))


async def some_time() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_fetch_after_one_that_brought_something_waits_for_the_round() -> None:
    async def story() -> None:
        node = Node()
        turn, fetch = turns(node)
        assert await fetch() is True
        waiting = [fetch(1), fetch(2)]
        await some_time()
        assert node.sent == [1]
        turn.give()
        assert await asyncio.gather(*waiting) == [True, True]
        third = fetch()
        await some_time()
        assert len(node.sent) == 3  # what these brought will be given back by a round of its own
        third.cancel()
        assert await third is False  # as aiokafka's own: it awaits what it has cancelled
        turn.give()
        await fetch()

    asyncio.run(asyncio.wait_for(story(), 5))


def test_a_fetch_that_brought_nothing_is_followed_by_the_next() -> None:
    async def story() -> None:
        node = Node()
        _, fetch = turns(node)
        node.has = False
        await fetch()
        await fetch()

    asyncio.run(asyncio.wait_for(story(), 5))


@pytest.mark.parametrize(("in_rounds", "patience_s"), [(False, 60), (True, 0.02)])
def test_fetches_need_no_round_while_there_are_none_nor_for_long(in_rounds: bool, patience_s: float) -> None:
    async def story() -> None:
        node = Node()
        _, fetch = turns(node, in_rounds, patience_s)
        for _ in range(3):
            await fetch()

    asyncio.run(asyncio.wait_for(story(), 5))


def test_a_turn_is_given_from_another_thread() -> None:
    async def story() -> None:
        turn, fetch = turns(Node())
        await fetch()
        waiting = fetch()
        await some_time()
        await asyncio.to_thread(turn.give)
        await waiting

    asyncio.run(asyncio.wait_for(story(), 5))
