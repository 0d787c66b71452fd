"""What every worker reads whole: catalogue, knowledge, control, learned. From the beginning, never committed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streaming import codec, topics
from streaming.changes import Change, ChangeFinder
from streaming.codec import DecodeError
from streaming.errors import BrokerError
from streaming.items import Shop
from streaming.noticing import RECENT_MS
from streaming.records import Control, Facts, Item, Learned
from streaming.settings import Settings
from streaming.telemetry import Metrics

logger = logging.getLogger(__name__)

POLL_RECORDS = 64
"""Records applied at once: a bound on how long events wait behind the encoding of new items."""

LEARN_PAUSE_S = 0.1
"""How long nothing more is fetched of what was learned once a read has brought some of it. Workers tell of it with
every batch, and each read costs a request and a hop to the engine's thread, however little it brings. The other topics
are fetched all the while."""

FETCH_WAIT_MS = 50
"""How long the broker may hold a fetch back that finds nothing. What comes for a partition whose last records were not
taken yet as that fetch left waits for the next one: an upsert, so long at most."""

QUIET_S = 2.0
"""On a broker whose end offsets cannot be trusted (one that needs the fence off): caught up after so long a silence."""


class Broadcast:
    """Applies the four topics to what the shop knows. `caught_up` is set once the backlog is read."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        client: Mapping[str, Any],
        shop: Callable[[], Shop],
        in_model_thread: Callable[..., Awaitable[Any]],
        noticed: Callable[[Sequence[Change]], Awaitable[None]],
        control: Callable[[Control, int], Awaitable[None]],
        refused: Callable[[Any, DecodeError], Awaitable[None]],
    ) -> None:
        """
        Args:
            client: arguments for aiokafka clients, from `streaming.connections`.
            shop: gives the shop's knowledge as it is at the moment.
            in_model_thread: runs a function where the engine runs, so that it never sees half a change.
            noticed: hears what changed for visitors, once the shop has it; nothing of more than ten minutes ago.
            control: carries out an operator's order.
            refused: takes a record that cannot be read.
        """
        prefix = settings.topics.prefix
        self._topics = {prefix + topic.name: topic for topic in topics.BROADCAST}
        self._trusted = settings.broker.fence
        self._learn = settings.worker.learn
        self._metrics = metrics
        self._client = client
        self._shop = shop
        self._in_model_thread = in_model_thread
        self._noticed = noticed
        self._finder = ChangeFinder(settings.triggers.price_drop_percent)
        self._control = control
        self._refused = refused
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Read for ever.

        Raises:
            BrokerError: a topic is missing.
        """
        consumer = AIOKafkaConsumer(
            **self._client,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_poll_records=POLL_RECORDS,
        )
        await consumer.start()
        try:
            backlog = await self._assign(consumer)
            last = time.monotonic()
            while True:
                fetched = await consumer.getmany(timeout_ms=100, max_records=POLL_RECORDS)
                if self.caught_up.is_set() and sum(map(len, fetched.values())) < POLL_RECORDS:
                    self._pause(consumer, fetched)
                by_topic: dict[topics.Topic, list[Any]] = {}
                for tp, records in fetched.items():
                    by_topic.setdefault(self._topics[tp.topic], []).extend(records)
                for topic, records in by_topic.items():
                    await self._apply(topic, records)
                    last = time.monotonic()
                if not self.caught_up.is_set():
                    for tp in [tp for tp, end in backlog.items() if await consumer.position(tp) >= end]:
                        del backlog[tp]
                    if not backlog or (not self._trusted and time.monotonic() - last > QUIET_S):
                        logger.info("caught up with %s", ", ".join(topic.name for topic in topics.BROADCAST))
                        self.caught_up.set()
        finally:
            await consumer.stop()

    def _pause(self, consumer: Any, fetched: Mapping[Any, Any]) -> None:
        """Leave what is learned to gather for a while, where all that there was is read. To be called before anything
        is awaited: aiokafka fetches as soon as it may."""
        if any(self._topics[tp.topic] is topics.LEARNED for tp in fetched):
            learned = [tp for tp in consumer.assignment() if self._topics[tp.topic] is topics.LEARNED]
            consumer.pause(*learned)
            asyncio.get_running_loop().call_later(LEARN_PAUSE_S, consumer.resume, *learned)

    async def _assign(self, consumer: Any) -> dict[Any, int]:
        """Assign all partitions, seek to their beginnings, of what was learned before to where it ended, and say where
        the backlog ends."""
        partitions = [TopicPartition(name, number) for name, number in await self._partitions()]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        known = self._shop().positions
        for tp in partitions:
            position = known.get(tp.partition, 0) if self._topics[tp.topic] is topics.LEARNED else 0
            if begins[tp] < position <= ends[tp]:
                consumer.seek(tp, position)
        return {tp: end for tp, end in ends.items() if end > 0}

    async def _partitions(self) -> list[tuple[str, int]]:
        admin = AIOKafkaAdminClient(**self._client)
        await admin.start()
        try:
            described = await admin.describe_topics(list(self._topics))
        finally:
            await admin.close()
        found = []
        for topic in described:
            if topic["error_code"] or not topic["partitions"]:
                raise BrokerError(f"topic {topic['topic']!r} does not exist; make it with `beforehand topics create`")
            found += [(topic["topic"], entry["partition"]) for entry in topic["partitions"]]
        return sorted(found)

    async def _apply(self, topic: topics.Topic, records: list[Any]) -> None:
        self._metrics.broadcast.labels(topic.name).inc(len(records))
        if topic is topics.CATALOGUE:
            await self._items(records)
        elif topic is topics.KNOWLEDGE:
            await self._facts(records)
        elif topic is topics.LEARNED:
            await self._learned(records)
        else:
            await self._orders(records)

    async def _items(self, records: list[Any]) -> None:
        """Upserts and removals; of several records of an item the last counts."""
        latest: dict[str, Item | None] = {}
        found: list[Change] = []
        shop = self._shop()
        since = time.time_ns() // 1_000_000 - RECENT_MS
        for record in records:
            try:
                key = _key(record)
                item = None if record.value is None else codec.decode(record.value, Item)
                if item is not None and item.item_id != key:
                    raise DecodeError(
                        "wrong_type", f"key {key!r} is not the item_id {item.item_id!r}; key it by item_id"
                    )
            except DecodeError as exc:
                await self._refused(record, exc)
                continue
            before = latest[key] if key in latest else shop.items.get(key)
            change = self._change(before, item, record)
            if change is not None and change.time >= since:
                found.append(change)
            latest[key] = item
        kept = [item for item in latest.values() if item is not None]
        removed = [key for key, item in latest.items() if item is None]
        if kept:
            await self._in_model_thread(shop.upsert, kept)
        if removed:
            await self._in_model_thread(shop.remove, removed)
        self._metrics.items.set(len(shop.items))
        if self.caught_up.is_set():
            now = time.time()
            for record in records:
                self._metrics.catalogue_seconds.observe(max(0.0, now - record.timestamp / 1000))
        for change in found:
            self._metrics.changes.labels(change.trigger).inc()
        if found:
            await self._noticed(found)

    def _change(self, before: Item | None, item: Item | None, record: Any) -> Change | None:
        if item is None:
            self._finder.removed(before)
            return None
        place = {"partition": record.partition, "offset": record.offset, "time": record.timestamp}
        return self._finder.upserted(before, item, **place)

    async def _facts(self, records: list[Any]) -> None:
        for record in records:
            try:
                key = _key(record)
                if record.value is None:
                    await self._in_model_thread(self._shop().remove_facts, key)
                else:
                    await self._in_model_thread(self._shop().upsert_facts, codec.decode(record.value, Facts))
            except DecodeError as exc:
                await self._refused(record, exc)

    async def _learned(self, records: list[Any]) -> None:
        if not self._learn:
            return
        learned = []
        for record in records:
            try:
                learned.append(codec.decode(record.value, Learned))
            except DecodeError as exc:
                await self._refused(record, exc)
        shop = self._shop()

        def learn_all() -> None:
            for lesson in learned:
                shop.learn(lesson)
            for record in records:
                shop.positions[record.partition] = record.offset + 1

        await self._in_model_thread(learn_all)

    async def _orders(self, records: list[Any]) -> None:
        for record in records:
            try:
                await self._control(codec.decode(record.value, Control), record.timestamp)
            except DecodeError as exc:
                await self._refused(record, exc)


def _key(record: Any) -> str:
    try:
        return str((record.key or b"").decode())
    except UnicodeDecodeError as exc:
        raise DecodeError("wrong_type", f"key {record.key!r} is not UTF-8; key it by id") from exc
