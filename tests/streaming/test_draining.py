"""Faust's loop from the broker to the streams, as `streaming.reading` has it, held against what it replaces."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streaming import reading
from streaming.reading import HeldConsumer
from tests.streaming.test_reading import CLICKS, STATE, consumer, records


class Drained:
    """A consumer whose drain loop runs over what was fetched, once."""

    def __init__(self, fetched: Any, room: bool = True) -> None:
        self.delivered: list[Any] = []
        self.waited: list[Any] = []
        held = self.consumer = consumer()
        stopped = asyncio.Event()
        held._stopped = held._shutdown = stopped
        queue = SimpleNamespace(full=lambda: not room, qsize=lambda: 0)

        async def callback(message: Any) -> None:
            self.delivered.append([each.offset for each in message.value])

        async def next_records(timeout: float) -> Any:
            stopped.set()
            return fetched, {TP(CLICKS, 0)}

        async def wait_first(coroutine: Any, other: Any) -> None:
            other.close()
            await coroutine
            self.waited.append(self.delivered[-1])

        async def sleep(seconds: float) -> None:
            pass

        held.callback, held._wait_next_records, held.wait_first, held.sleep = callback, next_records, wait_first, sleep
        held.suspend_flow = SimpleNamespace(wait=lambda: sleep(0))
        held._get_active_partitions = lambda: {TP(CLICKS, 0)}
        held.consumer_stopped_errors = ()
        held.app.flow_control = SimpleNamespace(is_active=lambda: True)
        held.app.producer = SimpleNamespace(buffer=SimpleNamespace(size=0, max_messages=10))
        held.app.topics = SimpleNamespace(
            _tp_index={TP(CLICKS, 0): [SimpleNamespace(queue=queue)]},
            _tp_to_callback={TP(CLICKS, 0): callback},
            _topic_name_index=defaultdict(list),
        )
        held.transport = SimpleNamespace(app=SimpleNamespace(should_stop=False))
        asyncio.run(held._drain_messages(SimpleNamespace(_stopped=asyncio.Event())))


@pytest.fixture
def _should_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldConsumer, "should_stop", False, raising=False)


@pytest.mark.usefixtures("_should_stop")
@pytest.mark.parametrize("room", [True, False])
def test_drains_straight_while_there_is_room(monkeypatch: pytest.MonkeyPatch, room: bool) -> None:
    monkeypatch.setattr(reading, "PIECE", 2)
    drained = Drained({TP(CLICKS, 0): records(3, 4, 5)}, room)
    assert drained.delivered == [[3, 4], [5]]
    assert drained.waited == ([] if room else [[3, 4], [5]])
    assert drained.consumer._read_offset[TP(CLICKS, 0)] == 5


@pytest.mark.usefixtures("_should_stop")
def test_drops_what_was_fetched_of_partitions_that_are_not_read() -> None:
    assert Drained({TP(CLICKS, 1): records(3), TP(CLICKS, 0): records(4)}).delivered == [[4]]


def test_what_is_recovered_goes_through_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    held = consumer()
    monkeypatch.setattr(HeldConsumer, "_to_message", lambda self, tp, record: record)
    tp = TP(STATE, 0)
    assert [each.offset for _, each in held._messages({tp: records(1, 2)}, {tp})] == [1, 2]


def test_nothing_goes_through_once_the_assignment_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 1)
    held, tp, let = consumer(), TP(CLICKS, 0), []
    for _, each in held._messages({tp: records(1, 2)}, {tp}):
        let.append(each.offset)
        held.app.consumer_generation_id += 1
    assert let == [1]


@pytest.mark.parametrize(("waiting", "enough"), [(reading.PIECES_AHEAD - 1, False), (reading.PIECES_AHEAD, True)])
def test_fetches_no_more_while_agents_have_enough(waiting: int, enough: bool) -> None:
    held = consumer()
    full, channel = (SimpleNamespace(queue=SimpleNamespace(qsize=lambda size=size: size)) for size in (10**6, waiting))
    held.app.topics = SimpleNamespace(_topic_name_index=defaultdict(list, {STATE: [full], CLICKS: [channel]}))
    assert held._enough_waits() is enough
