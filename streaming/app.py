"""The worker: a Faust app in which agents only read, and one batcher does the work.

    beforehand worker
    faust -A streaming.app worker

Both start the same. Importing this module builds nothing; the app is made on first use, from the environment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import faust

from streaming import codec, connections, cores, keeping, memory, topics
from streaming.batcher import Batcher
from streaming.broadcast import Broadcast
from streaming.codec import DecodeError
from streaming.control import Orders
from streaming.engine import Engine
from streaming.event_queue import News
from streaming.exits import Exit, die
from streaming.heads import Heads
from streaming.health import TICKS, Health, Standing
from streaming.intake import Intake, Source
from streaming.items import Shop
from streaming.outputs import Outputs
from streaming.pages import Answer, Pages, as_json, text
from streaming.privacy import Pseudonyms
from streaming.process import WorkerProcess, code_of, made
from streaming.reading import HeldConsumer
from streaming.records import Receipt, Tick
from streaming.rehearsal import rehearse
from streaming.served import for_model
from streaming.settings import Settings
from streaming.store import StateStore
from streaming.switching import Switching
from streaming.telemetry import Metrics
from streaming.text_encoder import TextEncoders
from streaming.watchdog import Progress, Watchdog
from streaming.writing import LOCAL_OPTIONS, FencedProducer, FencedTable, LocalState, Transport

logger = logging.getLogger(__name__)

TICK_S = 1.0


class WorkerApp(faust.App):
    """The Faust app and what it is made of. Built by `create_app`."""

    consumer: HeldConsumer
    producer: FencedProducer

    def assemble(self, settings: Settings, metrics: Metrics) -> None:
        """Make the parts and join them. Loads the model: some seconds."""
        memory.return_what_is_freed()
        memory.collect_rarely()
        self.settings = settings
        self.was_ready = False
        self._taken_over: int | None = None
        self._rehearsed = False
        self.metrics = metrics
        self.pseudonyms = Pseudonyms.from_settings(settings)
        self.model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.encoders = TextEncoders(settings)
        texts, self.shop = keeping.opened(settings.worker, partial(self.encoders.of_folder, settings.worker.model))
        self.switching = Switching(self.encoders, self.model_thread, lambda: self.shop)
        self.engine = Engine(settings, self.shop, self.shop.encoder, self.pseudonyms)
        self.engine.heads = Heads.open(settings, texts)
        if self.engine.heads is not None:  # they go on with this text encoder, whatever model is served
            self.encoders.share(texts.digest)
        self.outputs = Outputs(settings.topics.prefix)
        self.intake = Intake(self.pseudonyms, settings.topics.prefix)
        self.source_names = [settings.topics.prefix + topic.name for topic in topics.SOURCES]
        self.state_topic = topics.changelog(settings.topics)
        self.table = FencedTable(
            self,
            name="sessions",
            key_type=bytes,
            value_type=bytes,
            partitions=settings.topics.partitions,
            options=LOCAL_OPTIONS,
        )
        self.tables.add(self.table)
        self.local = LocalState(self.table)
        self.store = StateStore(self.local, settings.worker.state_cache)
        self.batcher = Batcher(
            settings,
            self.engine,
            self.intake,
            self.store,
            self.metrics,
            self.model_thread,
            reader=lambda: self.consumer,
            writer=lambda: self.producer,
            generation=lambda: self.consumer_generation_id,
            persisted=self.local.delivered,
        )
        self.orders = Orders(
            settings.worker.id,
            self.batcher,
            self.pseudonyms,
            in_model_thread=self.in_model_thread,
            open_model=self.switching.open,
            serve_model=self.serve_model,
            drop_model=self.switching.drop,
            send=self.send_receipt,
        )
        self.broadcast = Broadcast(
            settings,
            self.metrics,
            client=connections.aiokafka(settings),
            shop=lambda: self.shop,
            in_model_thread=self.in_model_thread,
            noticed=lambda changes: self.batcher.queue.put(News(changes)),
            control=self.orders.carry_out,
            refused=self.refuse_broadcast,
        )
        self.latest = Progress(0, 0, 0, 0, 0, rebalancing=True, taken_at=time.monotonic())
        self.watchdog = Watchdog(lambda: self.latest, settings.worker.watchdog_s)
        self.health = Health(
            self.metrics,
            self.batcher.ladder,
            standing=self._standing,
            stuck=lambda: self.watchdog.reason,
            deadline_s=settings.worker.deadline_s,
            folder=settings.worker.data_dir,
        )
        for name in self.source_names:
            channel = self.topic(name, key_type=bytes, value_type=bytes, partitions=settings.topics.partitions)
            self.agent(channel, concurrency=1, name=f"read-{name}")(self.read)

    async def read(self, stream: Any) -> None:
        """An agent: past the gate, into the queue, nothing else. The batcher acknowledges."""
        async for event in stream.noack().events():
            await self.batcher.queue.put(*self.consumer.admit(event.message))

    # --------------------------------------------------------------------------------------------------- life cycle
    async def on_start(self) -> None:
        await super().on_start()
        self.consumer.source_topics = frozenset(self.source_names)
        self.consumer.state_topic = self.state_topic
        self.producer.fenced = self.settings.broker.fence
        self.producer.state_topic = self.state_topic
        self.producer.buffer.max_messages = 5000
        folder = self.settings.worker.data_dir
        self.pages = Pages(
            self.settings.worker.port,
            folder,
            {
                "/live": lambda: text(self.health.not_alive()),
                "/ready": lambda: text(self.health.not_ready()),
                "/full": lambda: text(self.health.not_full()),
                "/metrics": self.metrics_page,
                "/learned": lambda: as_json(keeping.what_was_learned(self.engine.shop)),
                "/states": self.states_page,
            },
            self.settings.worker.host,
        )
        self.pages.start()
        # Plain tasks, not Faust's: they must outlive the agents while a stop waits for the last batch.
        self._watched(self.batcher.run(), Exit.BATCHER)
        self._watched(self._after_backlog(), Exit.BATCHER)
        self._watched(self._beats(), Exit.BATCHER)
        self._watched(self.broadcast.run(), Exit.BROADCAST)
        self._watched(self._ticks(), Exit.DELIVERY)
        kept = keeping.keep(self.settings.worker, lambda: self.shop, self.in_model_thread, self._unkept)
        self._watched(kept, Exit.BROADCAST)
        self.watchdog.start()

    def _watched(self, work: Any, code: Exit) -> None:
        """Run in the background; its end is the end of the process."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(
            lambda done: None if done.cancelled() or self.should_stop else _end(code, done.exception())
        )
        self._background = [*getattr(self, "_background", []), task]

    def on_rebalance_end(self) -> None:
        """Recovery, seek and the clearing of the queues are over: take the partitions over."""
        super().on_rebalance_end()
        self.was_ready = True
        self.metrics.rebalances.inc()
        owned = self.consumer.owned_partitions()
        self.metrics.partitions.set(len(owned))
        self._watched_once(self._take_over(owned, self.consumer_generation_id))

    async def _take_over(self, owned: set[int], generation: int) -> None:
        """Finish what the partitions' last owners began, then let the events flow, if the shop is known."""
        await self.batcher.reassigned(owned)
        self._taken_over = generation
        self._release()
        await self.orders.reassigned()

    def _release(self) -> None:
        if self._rehearsed and self._taken_over == self.consumer_generation_id and not self.rebalancing:
            self.consumer.release()

    def _watched_once(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        task.add_done_callback(
            lambda done: _end(Exit.BATCHER, done.exception()) if not done.cancelled() and done.exception() else None
        )
        self._reassigning = task

    async def _after_backlog(self) -> None:
        await self.broadcast.caught_up.wait()
        await self.in_model_thread(rehearse, self.shop)
        self._rehearsed = True
        memory.settle()
        self._release()
        await asyncio.Event().wait()

    async def _beats(self) -> None:
        """Once a second: a heartbeat for the pages and the watchdog, and gauges. It waits for nobody."""
        while not self.should_stop:
            self.health.beats()
            self.latest = self.progress()
            unread = self.consumer.unread()
            for name in self.source_names:
                behind = sum(count for (topic, _), count in unread.items() if topic == name)
                self.metrics.lag.labels(name).set(behind)
            self.metrics.queue.set(len(self.batcher.queue))
            self.metrics.recalibrated(self.engine.recalibration)
            self.metrics.lost_to_retention.set(self.consumer.lost_to_retention)
            await asyncio.sleep(TICK_S)

    async def _ticks(self) -> None:
        """Once a second, where the clock is the wall's: a tick on each partition that flows."""
        while not self.should_stop:
            if self.settings.worker.clock == "wall" and self.health.not_ready() is None and not self.should_stop:
                value = codec.encode(Tick(time=time.time_ns() // 1_000_000))
                owned = sorted(self.consumer.owned_partitions())
                with self.health.waiting(TICKS):
                    await self._send([self.outputs.tick(number, value) for number in owned])
            await asyncio.sleep(TICK_S)

    async def _send(self, records: list[Any]) -> None:
        try:
            await asyncio.wait_for(self.producer.deliver(records), self.settings.worker.deadline_s)
        except Exception as exc:
            die(Exit.DELIVERY, exc)

    # ------------------------------------------------------------------------------------------- what others ask for
    async def in_model_thread(self, work: Any, *args: Any) -> Any:
        """Run where the engine runs: one thing at a time, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.model_thread, partial(work, *args))

    def serve_model(self, opened: Shop) -> None:
        """Answer from this shop from now on, which takes over what the one served so far knows."""
        before, shop = self.shop, self.shop.handed_over(opened)
        self.engine.serve(shop, shop.encoder)
        self.shop = shop
        self.switching.drop(before)

    async def send_receipt(self, receipt: Receipt) -> None:
        """Tell what a control record did."""
        await self._send([self.outputs.receipt(receipt)])

    async def refuse_broadcast(self, record: Any, problem: DecodeError) -> None:
        """A catalogue, knowledge, control or learned record that cannot be read: one worker sets it aside for all."""
        logger.warning("%s/%d/%d refused: %s", record.topic, record.partition, record.offset, problem)
        self.metrics.dead_letters.labels(problem.reason).inc()
        if 0 in self.consumer.owned_partitions():
            source = Source(0, record.partition, record.offset, record.timestamp)
            letter = self.intake.dead(source, record.key, record.value, problem.reason, str(problem))
            letter.headers[:] = [(k, record.topic.encode() if k == "topic" else v) for k, v in letter.headers]
            await self._send([self.outputs.dead(letter, 0)])

    def progress(self) -> Progress:
        """For the watchdog."""
        committed = {
            name: [self.consumer.committed(name, number) or 0 for number in self.consumer.owned_partitions()]
            for name in self.source_names
        }
        return Progress(
            decided=self.batcher.decided,
            unread=sum(self.consumer.unread().values()),
            waiting=len(self.batcher.queue),
            committed=sum(sum(offsets) for offsets in committed.values()),
            uncommitted=self.consumer.uncommitted(),
            rebalancing=self.rebalancing or not self.was_ready,
            taken_at=time.monotonic(),
        )

    # --------------------------------------------------------------------------------------------------------- pages
    def _standing(self) -> Standing:
        settled = self.was_ready and not self.rebalancing
        return Standing(self.broadcast.caught_up.is_set(), not settled, settled and self.consumer.flowing())

    def _unkept(self, why: str | None) -> None:
        self.health.unkept = why

    def metrics_page(self) -> Answer:
        """Prometheus' text."""
        return 200, "text/plain; version=0.0.4; charset=utf-8", self.metrics.page()

    def states_page(self) -> Answer:
        """Everything this worker holds; on loopback, under pseudonyms."""
        owned = sorted(self.consumer.owned_partitions())
        states = {session: state.hex() for number in owned for session, state in self.store.encoded(number)}
        return as_json({"partitions": owned, "states": states})


def _end(code: Exit, why: BaseException | None) -> None:
    """The end of what runs in the background, by its own code, if it was not the local disk."""
    die(Exit.STATE if code_of(why) is Exit.STATE else code, why)


def create_app(settings: Settings, metrics: Metrics | None = None) -> WorkerApp:
    """The worker's Faust app, ready to be run. It counts in `metrics`, where some are given.

    Raises:
        InputError: there is no secret, the model folder cannot be read, or a setting is wrong, such as its core.
    """
    settings = for_model(settings)
    broker, worker = settings.broker, settings.worker
    cores.keep_to(worker.core)
    app = WorkerApp(
        topics.group(settings.topics),
        broker=[f"kafka://{server}" for server in settings.brokers],
        broker_credentials=connections.faust_credentials(settings),
        datadir=str(worker.data_dir),
        store="rocksdb://",
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        topic_partitions=settings.topics.partitions,
        topic_replication_factor=settings.topics.replication,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_commit_interval=1.0,
        broker_session_timeout=broker.session_timeout_s,
        broker_heartbeat_interval=broker.heartbeat_s,
        broker_rebalance_timeout=broker.rebalance_timeout_s,
        broker_request_timeout=broker.request_timeout_s,
        broker_max_poll_records=500,
        broker_max_poll_interval=300,
        consumer_max_fetch_size=512 * 1024,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=worker.id if broker.fence else None,
        consumer_metadata_max_age_ms=10_000,
        producer_metadata_max_age_ms=10_000,
        stream_buffer_maxsize=8192,
        stream_wait_empty=True,
        stream_recovery_delay=0,
        producer_acks=-1,
        producer_linger=0,
        producer_max_batch_size=1024 * 1024,  # above outbox.MAX_BYTES: what is appended at once is one batch
        producer_max_request_size=topics.MAX_RECORD_BYTES + 64 * 1024,
        producer_request_timeout=10,
        Worker=WorkerProcess,
        web_enabled=False,
        web_bind="127.0.0.1",
        canonical_url=f"http://{worker.id}.invalid:6066",
        worker_redirect_stdouts=False,
        autodiscover=False,
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    app.producer_transport = Transport(app.conf.broker_producer, app)
    app.assemble(settings, metrics or Metrics())
    return app


@cache
def _app() -> WorkerApp:
    return made(lambda: create_app(Settings.from_environment()))


def __getattr__(name: str) -> WorkerApp:
    """`streaming.app.app`, made when Faust's command line asks for it."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
