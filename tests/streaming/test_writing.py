"""Each override of Faust's producer and table, held against the behaviour that it replaces."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import errors
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.transaction_manager import PidAndEpoch
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import TopicPartition
from faust.tables.table import Table
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streaming import writing
from streaming.errors import BrokerError
from streaming.exits import Exit
from streaming.outputs import Outgoing
from streaming.topics import FENCE_KEY, OUTBOX_KEY
from streaming.writing import FencedProducer, FencedTable, LocalState, PartitionEpochs, Transport

STATE = "app-sessions-changelog"
MINE, OUTPUT = TopicPartition(STATE, 3), TopicPartition("predictions", 3)


class Ended(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Exit]:
    """Codes with which the process would have ended."""
    codes: list[Exit] = []

    def die(code: Exit, why: object) -> None:
        codes.append(code)
        raise Ended(why)

    monkeypatch.setattr(writing, "die", die)
    return codes


def producer(epochs: PartitionEpochs | None = None) -> Any:
    """A producer without a broker: only what the overrides touch."""
    made = FencedProducer.__new__(FencedProducer)
    made.state_topic, made.epochs = STATE, epochs
    made.app = SimpleNamespace(conf=SimpleNamespace(id="app"))
    return made


async def manager() -> PartitionEpochs:
    epochs = PartitionEpochs(STATE)
    epochs.set_pid_and_epoch(10, 0)
    return epochs


def identity_of(epochs: PartitionEpochs, tp: TopicPartition) -> tuple[int, int, int]:
    """Sequence, id and epoch, asked in the order in which aiokafka asks them."""
    sequence = epochs.sequence_number(tp)
    return sequence, epochs.producer_id, epochs.producer_epoch


def test_state_partitions_carry_the_epoch_of_their_owner_and_outputs_the_producers() -> None:
    async def story() -> None:
        epochs = await manager()
        epochs.own(MINE, PidAndEpoch(77, 5))
        assert identity_of(epochs, MINE) == (0, 77, 5)
        assert identity_of(epochs, OUTPUT) == (0, 10, 0)
        epochs.increment_sequence_number(MINE, 4)
        epochs.increment_sequence_number(OUTPUT, 9)
        epochs.own(MINE, PidAndEpoch(77, 6))  # fenced anew: sequences begin anew with the epoch
        assert identity_of(epochs, MINE) == (0, 77, 6)
        assert identity_of(epochs, OUTPUT) == (9, 10, 0)

    asyncio.run(story())


def test_a_write_to_state_that_is_not_owned_ends_the_process(ends: list[Exit]) -> None:
    async def story() -> None:
        epochs = await manager()
        epochs.own(MINE, PidAndEpoch(77, 5))
        epochs.disown_all()
        with pytest.raises(Ended, match="which another worker owns"):
            epochs.sequence_number(MINE)

    asyncio.run(story())
    assert ends == [Exit.FOREIGN_STATE]


def test_the_producer_is_idempotent_and_asks_our_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    def new_producer(self: Any, transactional_id: str | None = None) -> Any:
        return SimpleNamespace(
            _txn_manager=None,
            _message_accumulator=SimpleNamespace(_txn_manager=None),
            _sender=SimpleNamespace(_txn_manager=None),
        )

    monkeypatch.setattr(driver.Producer, "_new_producer", new_producer)

    async def story() -> None:
        fenced = producer()
        fenced.fenced = True
        made = fenced._new_producer()
        assert fenced._settings_extra() == {"acks": "all", "enable_idempotence": True}
        assert isinstance(made._txn_manager, PartitionEpochs)
        assert made._txn_manager is made._message_accumulator._txn_manager is made._sender._txn_manager
        plain = producer()
        plain.fenced = False
        assert plain._new_producer()._txn_manager is None
        assert plain._settings_extra() == {"acks": "all"}

    asyncio.run(story())


class FakeBroker:
    """Confirms what is sent when it is told to."""

    def __init__(self, fail: Exception | None = None) -> None:
        self.sent: list[tuple[str, Any, Any]] = []
        self.times: list[int | None] = []
        self.pending: list[asyncio.Future[Any]] = []
        self.fail = fail

    def create_batch(self) -> Any:
        return BatchBuilder(1000, 0)

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1, 2}

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> Any:
        kept = list(DefaultRecordBatch(bytes(batch._build())))
        self.times.extend(each.timestamp for each in kept)
        self.sent.append((topic, partition, [(each.key, each.value, list(each.headers)) for each in kept]))
        future = asyncio.get_running_loop().create_future()
        self.pending.append(future)
        return future

    def confirm(self) -> None:
        for number, future in enumerate(self.pending):
            if self.fail is not None:
                future.set_exception(self.fail)
            else:
                future.set_result(SimpleNamespace(offset=number))


def test_deliver_waits_for_every_confirmation_however_long_it_takes() -> None:
    async def story() -> None:
        made, broker = producer(), FakeBroker()
        made._producer = broker
        records = [
            Outgoing("predictions", None, b"a", b"1", None),
            Outgoing("dead-letters", 0, b"b", b"2", None),
        ]
        task = asyncio.ensure_future(made.deliver(records))
        await asyncio.sleep(0.3)  # Faust's own flush has given up by now
        assert not task.done()
        broker.confirm()
        await task

    asyncio.run(story())


def test_records_of_a_partition_are_delivered_together_in_their_order() -> None:
    async def story() -> None:
        made, broker = producer(), FakeBroker()
        made._producer = broker
        records = [
            Outgoing("predictions", None, key, value, [("v", b"1")])
            for key, value in [(b"a", b"1"), (b"a", b"x" * 2000), (b"a", b"3"), (b"a", b"x" * 900), (b"a", b"5" * 200)]
        ]
        ticks = [Outgoing("ticks", number, None, b"t", None) for number in (0, 1, 0)]
        task = asyncio.ensure_future(made.deliver([*records[:1], *ticks, *records[1:]]))
        await asyncio.sleep(0)
        broker.confirm()
        await task
        place = DefaultPartitioner()(b"a", [0, 1, 2], [0, 1, 2])
        assert [(topic, partition, len(sent)) for topic, partition, sent in broker.sent] == [
            ("predictions", place, 1),
            ("ticks", 0, 2),
            ("ticks", 1, 1),
            ("predictions", place, 1),  # larger than a batch may be: alone
            ("predictions", place, 2),
            ("predictions", place, 1),
        ]
        sent = [each for topic, _, batch in broker.sent for each in batch if topic == "predictions"]
        assert sent == [(each.key, each.value, each.headers) for each in records]

    asyncio.run(story())


def test_deliver_raises_what_the_broker_refused() -> None:
    async def story() -> None:
        made, broker = producer(), FakeBroker(fail=errors.InvalidProducerEpoch())
        made._producer = broker
        task = asyncio.ensure_future(made.deliver([Outgoing(STATE, 3, b"a", b"1", None)]))
        await asyncio.sleep(0)
        broker.confirm()
        with pytest.raises(errors.InvalidProducerEpoch):
            await task

    asyncio.run(story())


def test_states_of_a_partition_are_one_batch_all_or_nothing() -> None:
    async def story() -> None:
        made = producer()
        sent: list[tuple[int, int]] = []

        async def send_batch(batch: BatchBuilder, topic: str, *, partition: int) -> Any:
            sent.append((partition, batch.record_count()))
            assert topic == STATE
            assert batch.append(key=b"late", value=b"", timestamp=None) is None  # closed: nothing slips in
            future = asyncio.get_running_loop().create_future()
            future.set_result(SimpleNamespace(offset=40))
            return future

        made._producer = SimpleNamespace(create_batch=lambda: BatchBuilder(1000, 0), send_batch=send_batch)
        last = await made.append({3: [(b"a", b"1"), (b"b", None)], 5: [(b"c", b"2")]})
        assert sent == [(3, 2), (5, 1)]
        assert last == {3: 41, 5: 40}
        with pytest.raises(ValueError, match="do not fit"):
            await made.append({3: [(b"a", b"x" * 600), (b"b", b"x" * 600)]})

    asyncio.run(story())


def test_records_bear_the_time_of_the_clock_that_what_stands_in_them_was_read_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tick's time may not be far ahead of its record's: where the process's clock is wrong, both are."""
    wrong = time.time_ns() + 1_700_000 * 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: wrong)
    monkeypatch.setattr(time, "time", lambda: wrong / 1e9)

    async def story() -> None:
        made, broker = producer(), FakeBroker()
        made._producer = broker
        both = asyncio.gather(made.deliver([Outgoing("ticks", 0, None, b"1", None)]), made.append({3: [(b"a", b"1")]}))
        while len(broker.pending) < 2:
            await asyncio.sleep(0)
        broker.confirm()
        await both
        assert broker.times == [wrong // 1_000_000] * 2

    asyncio.run(story())


class FakeClient:
    """The group coordinator: answers InitProducerId with the next epoch, after some errors."""

    def __init__(self, answers: list[int]) -> None:
        self.answers, self.asked, self.epoch = answers, [], 0

    async def coordinator_lookup(self, kind: Any, transactional_id: str) -> int:
        self.asked.append(transactional_id)
        return 1

    async def ready(self, node: int, group: Any) -> bool:
        return True

    async def send(self, node: int, request: Any, group: Any) -> Any:
        code = self.answers.pop(0) if self.answers else 0
        self.epoch += not code
        return SimpleNamespace(error_code=code, producer_id=77, producer_epoch=self.epoch)

    async def force_metadata_update(self) -> None:
        pass


def test_a_fence_raises_the_epoch_and_writes_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FENCE_RETRY_S", 0)

    async def story() -> None:
        epochs = await manager()
        made, broker = producer(epochs), FakeBroker()
        broker.client = FakeClient([errors.ConcurrentTransactions.errno])
        made._producer = broker
        task = asyncio.ensure_future(made.fence({3}))
        while not broker.pending and not task.done():
            await asyncio.sleep(0)
        broker.confirm()
        await task
        assert broker.sent == [(STATE, 3, [(FENCE_KEY, b"", [])])]
        assert broker.client.asked == [f"app-{STATE}-3"] * 2
        assert identity_of(epochs, MINE) == (0, 77, 1)

    asyncio.run(story())


def test_without_the_fence_each_partition_gets_a_record_that_comes_alone() -> None:
    async def story() -> None:
        made, broker = producer(None), FakeBroker()
        made._producer = broker
        task = asyncio.ensure_future(made.fence([1, 2]))
        for sent in (1, 2):
            while len(broker.pending) < sent:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(broker.sent) == sent  # the next waits for the confirmation of this one
            broker.pending[-1].set_result(None)
        await task
        assert broker.sent == [(STATE, number, [(FENCE_KEY, b"", [])]) for number in (1, 2)]

    asyncio.run(story())


def test_a_broker_that_knows_no_fence_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FENCE_RETRY_S", 0)

    async def story() -> None:
        made, broker = producer(await manager()), FakeBroker()
        broker.client = FakeClient([errors.TransactionalIdAuthorizationFailed.errno])
        made._producer = broker
        with pytest.raises(BrokerError, match="broker.fence"):
            await made.fence({3})

    asyncio.run(story())


# ---------------------------------------------------------------------------------------- table
@pytest.fixture
def table(tmp_path: Path) -> FencedTable:
    """A table with a RocksDB of its own and no broker."""
    app = faust.App("app", broker="kafka://127.0.0.1:1", datadir=str(tmp_path), store="rocksdb://", topic_partitions=4)
    return FencedTable(app, name="sessions", key_type=bytes, value_type=bytes, partitions=4)


def test_a_rebalance_fences_after_the_stores_are_open_and_before_recovery(
    table: FencedTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[Any] = []

    async def stock(self: Any, *args: Any) -> None:
        order.append("stores")

    async def fence(partitions: Any) -> None:
        order.append(sorted(partitions))

    monkeypatch.setattr(Table, "on_rebalance", stock)
    table.app = SimpleNamespace(
        consumer=SimpleNamespace(owned_partitions=lambda: {2, 1}), producer=SimpleNamespace(fence=fence)
    )
    asyncio.run(table.on_rebalance(set(), set(), set(), 4))
    assert order == ["stores", [1, 2]]  # TableManager.on_rebalance starts the recovery after this returns


def test_a_fence_that_fails_ends_the_process(
    table: FencedTable, monkeypatch: pytest.MonkeyPatch, ends: list[Exit]
) -> None:
    async def stock(self: Any, *args: Any) -> None:
        pass

    async def fence(partitions: Any) -> None:
        raise errors.ClusterAuthorizationFailedError("no right on TransactionalId")

    monkeypatch.setattr(Table, "on_rebalance", stock)
    table.app = SimpleNamespace(
        consumer=SimpleNamespace(owned_partitions=lambda: {1}), producer=SimpleNamespace(fence=fence)
    )
    with pytest.raises(Ended):
        asyncio.run(table.on_rebalance(set(), set(), set(), 4))
    assert ends == [Exit.FENCE]


def test_recovery_skips_the_fences_records(table: FencedTable) -> None:
    def entry(key: bytes, value: bytes | None, offset: int) -> Any:
        tp = TP(table.changelog_topic_name, 1)
        return SimpleNamespace(message=SimpleNamespace(key=key, value=value, offset=offset, tp=tp, partition=1))

    table.apply_changelog_batch([entry(b"s1", b"state", 0), entry(FENCE_KEY, b"", 1), entry(b"s2", b"gone", 2)])
    table.apply_changelog_batch([entry(b"s2", None, 3)])
    local = LocalState(table)
    assert dict(local.items(1)) == {b"s1": b"state"}
    assert local.get(1, FENCE_KEY) is None


def test_local_state_is_written_read_and_deleted_by_partition(table: FencedTable) -> None:
    local = LocalState(table)
    local.put(0, b"s", b"one")
    local.put(1, b"s", b"two")
    assert (local.get(0, b"s"), local.get(1, b"s"), local.get(2, b"s")) == (b"one", b"two", None)
    local.put(0, b"s", None)
    assert local.get(0, b"s") is None
    local.put(1, OUTBOX_KEY, b"sealed")
    local.delivered(1, 41)
    assert table.data.persisted_offset(TP(table.changelog_topic_name, 1)) == 41
    assert list(local.items(1)) == [(b"s", b"two")]  # neither the offset nor the outbox is a session


def test_the_transport_uses_both() -> None:
    assert (Transport.Consumer.__name__, Transport.Producer) == ("HeldConsumer", FencedProducer)
