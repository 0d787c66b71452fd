"""Writing with Faust so that nothing older wins and nothing is committed before it is delivered.

Three things stock faust-streaming 0.15.3 does not do: an idempotent producer without transactions; a fence, so that
a worker that was paused cannot overwrite newer state when it resumes; a local copy of the state that is written
after the changelog has it. Each override stands here with its reason; see also `streaming.reading`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from aiokafka import errors
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.partitioner import murmur2
from aiokafka.producer.transaction_manager import PidAndEpoch, TransactionManager
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import TopicPartition
from faust.tables.table import Table
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streaming.errors import BrokerError
from streaming.exits import Exit, die
from streaming.reading import HeldConsumer
from streaming.topics import FENCE_KEY, is_session

logger = logging.getLogger(__name__)

FENCE_RETRY_S = 0.1
TRANSACTION_TIMEOUT_MS = 60_000

REFUSALS = (
    errors.TransactionalIdAuthorizationFailed,
    errors.ClusterAuthorizationFailedError,
    errors.UnsupportedVersionError,
    errors.InvalidRequestError,
)
"""Answers to InitProducerId that asking again does not change. All others pass: a coordinator moves or loads."""


class PartitionEpochs(TransactionManager):
    """Sequence numbers of an idempotent producer, with an epoch of its own for each state partition it owns.

    aiokafka asks `sequence_number`, `producer_id` and `producer_epoch` in this order for each batch that it closes
    (`message_accumulator._pop_batch`), so the partition asked for first decides the other two answers.
    """

    def __init__(self, state_topic: str) -> None:
        super().__init__(None, 2**31 - 1)
        self._state_topic = state_topic
        self._owned: dict[Any, Any] = {}
        self._asked: Any = None

    def sequence_number(self, tp: Any) -> int:
        if tp.topic == self._state_topic and tp not in self._owned:
            die(Exit.FOREIGN_STATE, f"write to {tp}, which another worker owns")
        self._asked = tp
        number: int = super().sequence_number(tp)
        return number

    @property
    def producer_id(self) -> int:
        identity: int = self._identity().pid
        return identity

    @property
    def producer_epoch(self) -> int:
        epoch: int = self._identity().epoch
        return epoch

    def _identity(self) -> Any:
        return self._owned.get(self._asked, self._pid_and_epoch)

    def own(self, tp: Any, identity: Any) -> None:
        """Write to `tp` under this producer id and epoch from now on; sequence numbers begin anew with an epoch."""
        self._sequence_numbers[tp] = 0
        self._owned[tp] = identity

    def disown_all(self) -> None:
        """An assignment ended: until the next fence no state may be written."""
        self._owned.clear()


def _now() -> int:
    """In ms since the epoch."""
    return time.time_ns() // 1_000_000


@lru_cache(65_536)
def partition_of(key: bytes, count: int) -> int:
    """Where Kafka's default partitioner puts a key. Remembered: in Python the hash of a session takes 20 us."""
    return int(murmur2(key) & 0x7FFFFFFF) % count


class FencedProducer(driver.Producer):
    """One idempotent producer for outputs and state; acks from all in-sync replicas."""

    fenced: bool = True
    """Off for a broker that refuses InitProducerId: then it is neither idempotent nor fenced."""
    state_topic: str = ""
    epochs: PartitionEpochs | None = None

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True} if self.fenced else {"acks": "all"}

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        if self.fenced:
            self.epochs = PartitionEpochs(self.state_topic)
            for part in (producer, producer._message_accumulator, producer._sender):
                part._txn_manager = self.epochs
        return producer

    async def deliver(self, records: Iterable[tuple[str, int | None, bytes | None, bytes | None, Any]]) -> None:
        """Send records (topic, partition, key, value, headers) and wait until the broker has confirmed each.

        Those of one partition are confirmed as a batch, not one by one, and bear the time of Python's clock, as what
        stands in them does; aiokafka would ask the kernel's behind its back. Faust's own buffer is not used: its
        `flush` gives up after 100 ms without a confirmation.

        Raises:
            Exception: the first refusal. Others may have been written: the caller ends the process.
        """
        now = _now()
        batches: list[tuple[str, int, Any]] = []
        latest: dict[tuple[str, int], Any] = {}
        for topic, partition, key, value, headers in records:
            if partition is None:
                partition = partition_of(key or b"", len(await self._producer.partitions_for(topic)))
            batch = latest.get((topic, partition))
            if batch is None or batch.append(key=key, value=value, timestamp=now, headers=headers) is None:
                batch = latest[topic, partition] = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=now, headers=headers)  # the first always fits
                batches.append((topic, partition, batch))
        await asyncio.gather(*[await self._send(*each) for each in batches])

    async def _send(self, topic: str, partition: int, batch: Any) -> Any:
        batch.close()
        return await self._producer.send_batch(batch, topic, partition=partition)

    async def append(self, batches: Mapping[int, Sequence[tuple[bytes, bytes | None]]]) -> dict[int, int]:
        """Append records (key, value) to state partitions, those of one partition all or none, and wait until the
        broker has confirmed them. Gives the last offset of each partition.

        Kafka appends a record batch atomically, and here the batch is made explicitly.

        Raises:
            Exception: the first refusal; a newer owner's fence is one.
            ValueError: the records of a partition do not fit into one batch.
        """
        pending, now = {}, _now()
        for partition, records in batches.items():
            batch = self._producer.create_batch()
            for key, value in records:
                if batch.append(key=key, value=value, timestamp=now) is None:
                    raise ValueError(f"{len(records)} states of partition {partition} do not fit into one batch")
            pending[partition] = await self._send(self.state_topic, partition, batch)
        confirmed = await asyncio.gather(*pending.values())
        return {
            partition: metadata.offset + len(batches[partition]) - 1
            for partition, metadata in zip(pending, confirmed, strict=True)
        }

    async def fence(self, partitions: Iterable[int]) -> None:
        """Raise the epoch of each state partition and write one record under it: older epochs are refused from here.

        Without the fence only the record is written: the brokers that need it off tell a right end offset, which the
        recovery asks for, only behind a record that came alone.
        """
        if self.epochs is None:
            for partition in partitions:
                await self.deliver([(self.state_topic, partition, FENCE_KEY, b"", None)])
            return
        self.epochs.disown_all()
        await asyncio.gather(*[self._fence(self.epochs, partition) for partition in partitions])

    async def _fence(self, epochs: PartitionEpochs, partition: int) -> None:
        tp = TopicPartition(self.state_topic, partition)
        epochs.own(tp, await self._new_epoch(f"{self.app.conf.id}-{tp.topic}-{partition}"))
        await self.deliver([(tp.topic, partition, FENCE_KEY, b"", None)])

    async def _new_epoch(self, transactional_id: str) -> Any:
        client = self._producer.client
        while True:
            try:
                node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
                if await client.ready(node, group=ConnectionGroup.COORDINATION):
                    request = InitProducerIdRequest(transactional_id, TRANSACTION_TIMEOUT_MS)
                    answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
                    if not answer.error_code:
                        return PidAndEpoch(answer.producer_id, answer.producer_epoch)
                    raise errors.for_code(answer.error_code)
            except REFUSALS as exc:
                raise BrokerError(
                    f"{self.app.conf.id}: the broker refused an epoch for {transactional_id}: {exc!r}; grant the right "
                    "on the TransactionalId, or, on a broker that knows none, set broker.fence off"
                ) from exc
            except errors.KafkaError as exc:
                logger.info("epoch of %s: %r, again", transactional_id, exc)
            await asyncio.sleep(FENCE_RETRY_S)
            await client.force_metadata_update()


LOCAL_OPTIONS = {
    "write_buffer_size": 8 * 1024 * 1024,
    "max_write_buffer_number": 2,
    "target_file_size_base": 16 * 1024 * 1024,
    "block_cache_size": 8 * 1024 * 1024,
}
"""Of RocksDB, for each partition. Faust's are buffers of 64 MB, up to three, and a cache of 2 GB: a worker of many
partitions would have no bound that matters. What is read often is decoded in `StateStore`."""


class FencedTable(Table):
    """The session states: Faust recovers them, `LocalState` reads and writes them."""

    fence_deadline_s: float = 60

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """Fence before recovery reads the end offsets: what an older owner writes afterwards is refused."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        owned = self.app.consumer.owned_partitions()
        try:
            await asyncio.wait_for(self.app.producer.fence(owned), self.fence_deadline_s)
        except Exception as exc:
            die(Exit.FENCE, exc)
        logger.info("generation %s: state partitions %s", generation_id, sorted(owned))

    def apply_changelog_batch(self, batch: Any) -> None:
        """Recover what sessions wrote; the fence's own records are no sessions."""
        super().apply_changelog_batch([event for event in batch if event.message.key != FENCE_KEY])


class LocalState:
    """The local copy of the states, in RocksDB, one database a partition. Written only after the changelog has it.

    The databases are reached directly: Faust's table can be written only inside the iteration of a stream, and writes
    before the changelog is delivered.
    """

    def __init__(self, table: FencedTable) -> None:
        self._table = table

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The encoded state, or none."""
        value: bytes | None = self._table.data._db_for_partition(partition).get(key)
        return value

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Write the encoded state; none deletes it."""
        database = self._table.data._db_for_partition(partition)
        if value is None:
            database.delete(key)
        else:
            database.put(key, value)

    def delivered(self, partition: int, offset: int) -> None:
        """Remember that everything up to this offset of the changelog is in here: recovery starts after it."""
        self._table.data.set_persisted_offset(TP(self._table.changelog_topic_name, partition), offset)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All states of a partition, in key order; a snapshot, safe while others write."""
        for key, value in self._table.data._db_for_partition(partition).items():
            if is_session(key) and key != self._table.data.offset_key:
                yield key, value


class Transport(driver.Transport):
    """Faust's aiokafka transport with the consumer and the producer of this product."""

    Consumer = HeldConsumer
    Producer = FencedProducer
