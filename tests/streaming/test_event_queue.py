from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streaming.event_queue import EventQueue, Forget, Received
from streaming.settings import WorkerSettings


def record(offset: int, key: bytes = b"s1", partition: int = 0) -> Any:
    return Received(SimpleNamespace(topic="browses", partition=partition, key=key, offset=offset), 1)


def batches(records: list[Any], count: int, times: int = 1, **settings: Any) -> list[list[int]]:
    async def story() -> list[list[int]]:
        queue = EventQueue(WorkerSettings(**settings))
        for each in records:
            await queue.put(each)
        return [[each.message.offset for each in await queue.collect(times)] for _ in range(count)]

    return asyncio.run(story())


def test_a_lone_event_does_not_wait_and_a_full_queue_makes_full_batches() -> None:
    assert batches([record(n) for n in range(7)], 3, batch_events=3) == [[0, 1, 2], [3, 4, 5], [6]]


def test_whoever_is_crowded_takes_more_at_once() -> None:
    assert batches([record(n) for n in range(7)], 2, times=2, batch_events=3) == [[0, 1, 2, 3, 4, 5], [6]]


def test_a_batch_ends_where_a_session_comes_from_a_second_partition() -> None:
    records = [record(0), record(1), record(5, partition=1), record(2), record(6, b"s2", 1)]
    assert batches(records, 3) == [[0, 1], [5], [2, 6]]


def test_waits_for_company_as_long_as_it_is_told() -> None:
    async def story() -> list[int]:
        queue = EventQueue(WorkerSettings(batch_wait_ms=200))
        await queue.put(record(0))
        asyncio.get_running_loop().call_later(0.02, asyncio.ensure_future, queue.put(record(1)))
        return [each.message.offset for each in await queue.collect()]  # type: ignore[union-attr]

    assert asyncio.run(story()) == [0, 1]


def test_knows_which_partitions_have_something_waiting() -> None:
    async def story() -> list[bool]:
        queue = EventQueue(WorkerSettings())
        await queue.put(record(0), record(1, partition=1))  # same key: held over
        await queue.collect()
        held = [queue.holds("browses", 0), queue.holds("browses", 1), len(queue) == 1]
        await queue.collect()
        return [*held, queue.holds("browses", 1)]

    assert asyncio.run(story()) == [False, True, True, False]


def test_whoever_puts_into_a_full_queue_waits() -> None:
    async def story() -> None:
        queue = EventQueue(WorkerSettings(queue_events=1))
        await queue.put(Forget({}, {}, asyncio.get_running_loop().create_future()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.put(record(0), record(1)), 0.05)
        assert len(queue) == 1
        assert queue.holds("browses", 0)  # what is on its way in counts

    asyncio.run(story())
