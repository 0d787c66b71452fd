"""Each override of Faust's consumer, held against the behaviour that it replaces."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streaming import reading
from streaming.exits import Exit
from streaming.reading import ActivePartitions, FetchThread, HeldConsumer

CLICKS, BROWSES, STATE = "clicks", "browses", "app-sessions-changelog"


class Ended(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Exit]:
    """Codes with which the process would have ended."""
    codes: list[Exit] = []

    def die(code: Exit, why: object) -> None:
        codes.append(code)
        raise Ended(why)

    monkeypatch.setattr(reading, "die", die)
    return codes


class FakeThread:
    """The consumer thread: offsets that are committed, the first ones there are, and what was sought."""

    def __init__(self, committed: dict[TP, int | None], first: dict[TP, int]) -> None:
        self.committed, self.first, self.sought = committed, first, {}

    async def seek_to_committed(self) -> dict[TP, int | None]:
        return self.committed

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return {tp: self.first.get(tp, 0) for tp in tps}

    async def seek_wait(self, offsets: dict[TP, int]) -> None:
        self.sought |= offsets


def consumer(owned: set[int] = frozenset(), assigned: set[TP] = frozenset(), flow: bool = True) -> Any:
    """A consumer without a broker: only what the overrides touch."""
    made = HeldConsumer.__new__(HeldConsumer)
    made.source_topics, made.state_topic = frozenset({CLICKS, BROWSES}), STATE
    made._active_partitions, made._paused_partitions = set(), set()
    made._committed_offset, made._read_offset = defaultdict(lambda: None), defaultdict(lambda: None)
    made._acked, made._pieces = defaultdict(list), defaultdict(deque)
    made._unacked_messages, made._waiting_for_ack = set(), None
    made._buffered_partitions = set()
    made.flow_active = flow
    made.app = SimpleNamespace(
        assignor=SimpleNamespace(assigned_actives=lambda: {TP(STATE, p) for p in owned}), consumer_generation_id=1
    )
    made.assignment = lambda: set(assigned)
    return made


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[set[TP]]:
    """What was resumed for real."""
    seen: list[set[TP]] = []
    monkeypatch.setattr(driver.Consumer, "resume_partitions", lambda self, tps: seen.append(set(tps)))
    return seen


# ---------------------------------------------------------------------------------------- reading right
def fetched(active: Any) -> dict[TP, list[str]]:
    """What aiokafka's own fetcher hands out while the partitions `active` are to be read."""
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._subscriptions = SimpleNamespace(reassignment_in_progress=False, is_assigned=lambda tp: True)
    result = FetchResult.__new__(FetchResult)
    result.getall = lambda limit: ["a record"]
    result.has_more = lambda: True
    fetcher._records = {TP(CLICKS, 0): result}
    return asyncio.run(fetcher.fetched_records(active, timeout=0))


def test_no_active_partition_means_none_and_not_all() -> None:
    assert fetched(set()) == {TP(CLICKS, 0): ["a record"]}  # stock: returned, and dropped by Faust
    assert fetched(ActivePartitions(set())) == {}
    assert fetched(ActivePartitions({TP(CLICKS, 0)})) == {TP(CLICKS, 0): ["a record"]}


def test_fetches_with_the_empty_set_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stock(self: Any, consumer: Any, active: Any, timeout: Any = None, max_records: Any = None) -> Any:
        return active

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", stock)
    active = asyncio.run(FetchThread.__new__(FetchThread)._fetch_records(None, set()))
    assert isinstance(active, ActivePartitions)


def test_a_fetch_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(_fetch_max_wait_ms=1500)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_create_worker_consumer", lambda self, transport: made)
    assert FetchThread.__new__(FetchThread)._create_worker_consumer(None)._fetch_max_wait_ms == reading.FETCH_WAIT_MS


def test_records_are_asked_for_in_the_thread_of_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetched(self: Any, consumer: Any, active: Any, timeout: float, max_records: int) -> Any:
        assert asyncio.get_running_loop() is self.thread_loop
        return {CLICKS: [active, timeout, max_records]}

    monkeypatch.setattr(FetchThread, "_fetch_records", fetched)
    made = FetchThread.__new__(FetchThread)
    made._consumer, made.thread_loop = SimpleNamespace(_max_poll_records=500), asyncio.new_event_loop()
    thread = threading.Thread(target=made.thread_loop.run_forever)
    thread.start()
    try:
        assert asyncio.run(made.getmany({"tp"}, 1.0)) == {CLICKS: [{"tp"}, 1.0, 500]}
    finally:
        made.thread_loop.call_soon_threadsafe(made.thread_loop.stop)
        thread.join()
        made.thread_loop.close()


# ---------------------------------------------------------------------------------------- holding back
def test_source_partitions_wait_for_the_release(resumed: list[set[TP]]) -> None:
    everything = {TP(CLICKS, 0), TP(BROWSES, 0), TP(STATE, 0)}
    held = consumer(owned={0}, assigned=everything)
    held._revoking = False
    held.resume_partitions(everything)  # as on_recovery_completed does, before the seek and the clearing of the queues
    assert resumed == [{TP(STATE, 0)}]
    assert not held.flowing()
    held.release()  # by a recovery of an older assignment that ends late: what this one begins with is not known yet
    assert not held.flowing()
    held._expected = {TP(CLICKS, 0): 5, TP(BROWSES, 0): 7}
    held.release()
    assert resumed[-1] == {TP(CLICKS, 0), TP(BROWSES, 0)}
    assert held.flowing()


def test_a_revoke_takes_back_what_was_to_be_released(resumed: list[set[TP]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Any, *args: Any) -> None:
        pass

    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", nothing)
    held = consumer(owned={0}, assigned={TP(CLICKS, 0), TP(BROWSES, 0)})
    held._revoking = False
    held.resume_partitions({TP(CLICKS, 0), TP(BROWSES, 0)})
    asyncio.run(held.on_partitions_revoked(set()))
    held.release()
    assert resumed == [set()]


def test_a_new_assignment_holds_again(resumed: list[set[TP]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Any, *args: Any) -> None:
        pass

    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", nothing)
    held = consumer(owned={0}, assigned={TP(CLICKS, 0), TP(BROWSES, 0)})
    held._revoking = held._holding = False
    asyncio.run(held.on_partitions_assigned(set()))
    held.resume_partitions({TP(CLICKS, 0)})
    assert resumed == [set()]


def test_only_partitions_with_all_topics_and_their_state_flow(resumed: list[set[TP]]) -> None:
    assigned = {TP(CLICKS, 0), TP(BROWSES, 0), TP(CLICKS, 1), TP(BROWSES, 1), TP(CLICKS, 2)}
    held = consumer(owned={0, 2}, assigned=assigned)
    held._revoking, held._expected = False, dict.fromkeys(assigned, 0)
    held.resume_partitions(assigned)
    held.release()
    assert resumed[-1] == {
        TP(CLICKS, 0),
        TP(BROWSES, 0),
    }  # 1: the state is elsewhere; 2: browses is elsewhere


# ---------------------------------------------------------------------------------------- gate
class Message(SimpleNamespace):
    """Faust's messages can be put into sets."""

    __hash__ = object.__hash__


def record(offset: int) -> Any:
    rest = dict.fromkeys(("timestamp_type", "key", "value", "checksum", "serialized_key_size", "serialized_value_size"))
    return SimpleNamespace(topic=CLICKS, partition=0, offset=offset, timestamp=1000, headers=(), **rest)


def records(*offsets: int) -> list[Any]:
    return [record(offset) for offset in offsets]


def message(*offsets: int, generation: int = 1) -> Any:
    """Records that go through Faust together."""
    return Message(tp=TP(CLICKS, 0), offset=offsets[-1], generation_id=generation, value=records(*offsets))


def gate(expected: int, *read: Any) -> Any:
    """A consumer that waits for an offset, and Faust's messages that it has read and not finished."""
    made = consumer()
    made._expected, made._done, made._unacked_messages = {TP(CLICKS, 0): expected}, {TP(CLICKS, 0): expected}, set(read)
    return made


def offsets(admitted: Any) -> list[int]:
    return [each.message.offset for each in admitted]


def test_the_gate_lets_each_offset_through_once_and_in_order() -> None:
    held = gate(100)
    read = [message(100, 101), message(101, 102), message(100, 101), message(103)]
    assert [offsets(held.admit(each)) for each in read] == [[100, 101], [102], [], [103]]


def test_a_copy_is_forgotten_and_not_acknowledged() -> None:
    copy = message(6, 7)
    held = gate(8, copy)
    assert not held.admit(copy)
    assert held._unacked_messages == set()
    assert held._acked == {}


def test_what_an_older_assignment_read_is_forgotten_though_it_would_be_next() -> None:
    old = message(8, generation=0)
    held = gate(8, old)
    assert not held.admit(old)
    assert held._unacked_messages == set()
    assert offsets(held.admit(message(8))) == [8]


@pytest.mark.parametrize("read", [(103,), (100, 101, 103)])
def test_a_hole_ends_the_process(ends: list[Exit], read: tuple[int, ...]) -> None:
    with pytest.raises(Ended, match="expected offset 10., got 103"):
        gate(100).admit(message(*read))
    assert ends == [Exit.HOLE]


def test_a_message_of_no_assignment_is_forgotten() -> None:
    assert not consumer().admit(message(5))


def test_what_is_acknowledged_is_committed_and_a_message_is_finished_with_its_last_record() -> None:
    first, second = message(100, 101), message(102)
    held = gate(100, first, second)
    read = held.admit(first) + held.admit(second)
    held.acknowledge(read[:1])
    assert (held._new_offset(TP(CLICKS, 0)), held._unacked_messages) == (101, {first, second})
    held.acknowledge(read[1:2])
    assert held._unacked_messages == {second}
    held.acknowledge(read[2:])
    assert (held._new_offset(TP(CLICKS, 0)), held._unacked_messages) == (103, set())
    assert held._new_offset(TP(CLICKS, 0)) is None  # nothing new


def test_what_is_acknowledged_out_of_order_ends_the_process(ends: list[Exit]) -> None:
    held = gate(100)
    read = held.admit(message(100, 101))
    with pytest.raises(Ended, match="101 is done, expected 100"):
        held.acknowledge(read[1:])
    assert ends == [Exit.HOLE]
    assert held._acked == {}


def test_whoever_waits_until_all_is_done_is_told() -> None:
    async def story() -> None:
        held = gate(100)
        held._waiting_for_ack = asyncio.get_running_loop().create_future()
        held.acknowledge(held.admit(message(100)))
        await asyncio.wait_for(held._waiting_for_ack, 1)

    asyncio.run(story())


def test_a_new_assignment_forgets_what_was_not_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Any, *args: Any) -> None:
        pass

    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", nothing)
    old, recovery = message(100), object()
    held = gate(100, old, recovery)
    read = held.admit(old)
    asyncio.run(held.on_partitions_assigned(set(), 2))
    assert held._unacked_messages == {recovery}
    with pytest.raises(Ended):  # of a round that ends after it: the batcher asks before
        held.acknowledge(read)


# ---------------------------------------------------------------------------------------- seek
def test_seeks_to_the_beginning_where_nothing_is_committed() -> None:
    fresh, zero, known = TP(CLICKS, 0), TP(CLICKS, 1), TP(CLICKS, 2)
    held = consumer(assigned={fresh, zero, known})
    held._thread = FakeThread({fresh: None, zero: 0, known: 40}, {fresh: 5})
    asyncio.run(held.perform_seek())
    assert held._thread.sought == {fresh: 5, zero: 0}
    assert held._expected == held._done == {fresh: 5, zero: 0, known: 40}


def test_goes_on_behind_what_retention_deleted() -> None:
    tp = TP(CLICKS, 0)
    held = consumer(assigned={tp})
    held._thread = FakeThread({tp: 100}, {tp: 150})
    asyncio.run(held.perform_seek())
    assert held._thread.sought == {tp: 150}
    assert held._expected == {tp: 150}
    assert held.lost_to_retention == 50
    held._acked[tp] = [150, 151]
    assert held._new_offset(tp) == 152  # commits go on: Faust would wait for 100 to 149


def test_a_seek_that_ends_in_another_assignment_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Any, *args: Any) -> None:
        pass

    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", nothing)
    tp = TP(CLICKS, 0)
    held = consumer(owned={0}, assigned={tp})
    held._revoking = False

    class Slow(FakeThread):
        async def earliest_offsets(self, *tps: Any) -> Any:
            await held.on_partitions_assigned({tp}, 2)
            return await super().earliest_offsets(*tps)

    held._thread = Slow({tp: 100}, {})
    asyncio.run(held.perform_seek())
    assert held.admit(message(100)) == []
    held.release()
    assert not held.flowing()
    held._thread = FakeThread({tp: 100}, {})
    asyncio.run(held.perform_seek())
    assert held._expected == {tp: 100}


def test_ignores_a_late_seek() -> None:
    tp = TP(CLICKS, 0)
    held = consumer(assigned={tp}, flow=False)
    held._thread = FakeThread({tp: 100}, {})
    held._read_offset[tp] = 150
    asyncio.run(held.perform_seek())
    assert held._read_offset[tp] == 150


def test_counts_what_is_unread_and_what_is_uncommitted() -> None:
    held = consumer()
    held._expected = {TP(CLICKS, 0): 10, TP(CLICKS, 1): 5}
    held.highwater = lambda tp: {TP(CLICKS, 0): 14, TP(CLICKS, 1): None}[tp]
    held._acked[TP(CLICKS, 0)] = [8, 9]
    held._acked[TP(STATE, 0)] = [1]
    assert held.unread() == {(CLICKS, 0): 4}
    assert held.uncommitted() == 2
