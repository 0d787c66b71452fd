"""The one place where events become decisions: micro-batches, one at a time, in an order that loses nothing.

    events -> intake -> states -> Engine.step -> outputs delivered -> states delivered -> written here -> acknowledged

Outputs are confirmed before the states are sent, and the states before the local copy is written and offsets are
acknowledged. So what is applied has been delivered; a batch that was cut short is read again, sees the old states,
and decides the same under the same ids; an offset that was applied emits nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol

from streaming import codec, sessions, topics
from streaming.decisions import Decision, Due
from streaming.engine import Engine
from streaming.event_queue import EventQueue, Forget, Received
from streaming.exits import Exit, die
from streaming.intake import DeadLetter, Event, Intake, Source, TickEvent, attempt
from streaming.outputs import Outgoing, Outputs
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.store import StateStore
from streaming.telemetry import Metrics
from streaming.timers import Clock, Timers

logger = logging.getLogger(__name__)

STUB_CHECK_MS = 10_000
"""How long a closed session waits before it is asked again whether its offsets are committed."""


class Reader(Protocol):
    """What the batcher asks of the consumer; see `streaming.reading.HeldConsumer`."""

    def discard(self, message: Any) -> None:
        """Forget a copy that was read under an older assignment."""

    def committed(self, topic: str, partition: int) -> int | None:
        """The next offset that would be read after a restart."""

    def caught_up(self, topic: str, partition: int) -> bool:
        """True if nothing of the partition is left to be read."""

    def owned_partitions(self) -> set[int]:
        """The partitions whose state is here."""


class Writer(Protocol):
    """What the batcher asks of the producer; see `streaming.writing.FencedProducer`."""

    async def deliver(self, records: Sequence[Outgoing]) -> list[Any]:
        """Send and wait for the confirmation of each."""


@dataclass(slots=True)
class Batch:
    """What one round works on."""

    work: list[Event | Due] = field(default_factory=list)
    letters: list[Outgoing] = field(default_factory=list)
    states: dict[str, SessionState] = field(default_factory=dict)
    partitions: dict[str, int] = field(default_factory=dict)
    stubs: set[str] = field(default_factory=set)
    raw: dict[Source, tuple[bytes | None, bytes | None, Any]] = field(default_factory=dict)
    ticked: dict[int, int] = field(default_factory=dict)


class Batcher:
    """Collects events and works them off. `run` never returns: when it ends, the process has to end."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        intake: Intake,
        store: StateStore,
        metrics: Metrics,
        model: Executor,
        *,
        reader: Callable[[], Reader],
        writer: Callable[[], Writer],
        generation: Callable[[], int],
        persisted: Callable[[int, int], None],
        state_topic: str,
    ) -> None:
        self._settings = settings.worker
        self._triggers = settings.triggers
        self._topics = {settings.topics.prefix + topic.name: n for n, topic in enumerate(topics.SOURCES)}
        self._names = list(self._topics)
        self.engine = engine
        self._intake = intake
        self._store = store
        self._metrics = metrics
        self._model = model
        self._reader, self._writer, self._generation = reader, writer, generation
        self._persisted = persisted
        self._state_topic = state_topic
        self._outputs = Outputs(settings.topics.prefix)
        self.queue = EventQueue(self._settings)
        self._clock = Clock()
        self.timers = Timers()
        self.decided = 0
        """Events worked off since the start; the watchdog looks at it."""

    # ------------------------------------------------------------------------------------------------------- intake
    def reassigned(self, partitions: set[int]) -> None:
        """The assignment changed: forget decoded states, look through those of the partitions that are owned now."""
        self._store.clear()
        self.timers.clear()
        self._clock = Clock()
        for partition in partitions:
            states = ((session, self._waits_for(state, 0)) for session, state in self._store.scan(partition))
            self.timers.sweep(partition, states)

    async def run(self) -> None:
        """Work until the process ends."""
        while True:
            batch = await self.queue.collect()
            await asyncio.wait_for(self._round(batch), self._settings.deadline_s)
            self.decided += len(batch)

    # -------------------------------------------------------------------------------------------------------- a round
    async def _round(self, received: list[Received | Forget]) -> None:
        generation = self._generation()
        events = [event for event in received if not isinstance(event, Forget) and self._current(event, generation)]
        with self._metrics.stage("intake"):
            batch = self._take_in(events)  # clean events, due sessions, dead letters
        with self._metrics.stage("states"):
            self._load(batch)  # + the states they need
        with self._metrics.stage("step"):
            loop = asyncio.get_running_loop()
            changed, decisions, failed = await loop.run_in_executor(self._model, self._decide, batch)
        orders = [order for order in received if isinstance(order, Forget)]
        forgotten = self._forget(orders, batch, changed)
        with self._metrics.stage("outputs"):
            await self._deliver(self._outgoing(batch, decisions, failed))  # confirmed by the broker
        with self._metrics.stage("changelog"):
            writes = self._writes(batch, changed)
            confirmed = await self._deliver([self._state_record(batch, *write) for write in writes])  # states too
        if self._generation() != generation:  # another owner: what was written is in the changelog it recovers from
            for event in events:
                self._reader().discard(event.message)
            return
        with self._metrics.stage("local"):
            self._keep(batch, writes, confirmed)  # the local copy
        for event in events:  # in the order in which they came: nothing is committed past what is done
            event.ack()
        for order, count in zip(orders, forgotten, strict=True):
            order.done.set_result(count)
        self._count(len(events), decisions)

    def _current(self, event: Received, generation: int) -> bool:
        """An event of an older assignment is read again by whoever owns its partition now: forget this copy."""
        if event.message.generation_id == generation:
            return True
        self._reader().discard(event.message)
        return False

    def _take_in(self, events: Sequence[Received]) -> Batch:
        batch = Batch()
        for event in events:
            message = event.message
            source = Source(
                self._topics[message.topic],
                message.partition,
                message.offset,
                round((message.timestamp or 0) * 1000),
            )
            taken = self._intake.accept(source, message.key, message.value, message.headers or ())
            self._clock.worked(source.topic, source.partition, source.timestamp)
            self._metrics.events.labels(topics.SOURCES[source.topic].name).inc()
            if isinstance(taken, Event):
                batch.work.append(taken)
                batch.partitions[taken.session] = source.partition
                batch.raw[source] = (message.key, message.value, message.headers or ())
            elif isinstance(taken, TickEvent):
                self._clock.ticked(source.partition, source.timestamp, taken.time)
            else:
                batch.letters.append(self._set_aside(taken, source.partition))
        batch.ticked = self._clock.passed(self._nothing_left)
        return batch

    def _nothing_left(self, topic: int, partition: int) -> bool:
        name = self._names[topic]
        return not self.queue.holds(name, partition) and self._reader().caught_up(name, partition)

    def _load(self, batch: Batch) -> None:
        """States of the events' sessions, and the sessions that a tick finds waiting."""
        for session, partition in batch.partitions.items():
            state = self._store.get(partition, session)
            if state is not None:
                batch.states[session] = state
        for partition, now in batch.ticked.items():
            for session in self.timers.take(partition, now):
                state = batch.states.get(session) or self._store.get(partition, session)
                if state is None:
                    continue
                batch.partitions[session] = partition
                batch.states[session] = state
                if state.closed:
                    batch.stubs.add(session)
                else:
                    batch.work.append(Due(session, now))

    def _decide(
        self, batch: Batch
    ) -> tuple[dict[str, SessionState], list[Decision], list[tuple[Event | Due, Exception]]]:
        """One step of the engine; on an error in halves, then one by one, so that only what fails is set aside."""
        now = time.time_ns() // 1_000_000
        states, changed = dict(batch.states), dict[str, SessionState]()
        decisions: list[Decision] = []
        failed: list[tuple[Event | Due, Exception]] = []
        pieces = [batch.work] if batch.work else []
        while pieces:
            piece = pieces.pop(0)
            try:
                new, made = self.engine.step(piece, states, now)
            except Exception as exc:
                if len(piece) > 1:
                    middle = len(piece) // 2
                    pieces[:0] = [piece[:middle], piece[middle:]]
                else:
                    logger.exception("the engine failed on %r", piece[0])
                    failed.append((piece[0], exc))
                continue
            states.update(new)
            changed.update(new)
            decisions += made
        return changed, decisions, failed

    def _forget(self, orders: Sequence[Forget], batch: Batch, changed: dict[str, SessionState]) -> list[int]:
        """Replace the states of people who are to be forgotten by stubs, which hold nothing but offsets."""
        counts = []
        for order in orders:
            found = set()
            for partition in self._reader().owned_partitions():
                for session, stored in self._sought(order, partition):
                    state = changed.get(session, stored)
                    if not state.closed:
                        changed[session] = sessions.stub(state)
                        batch.partitions[session] = partition
                        found.add(session)
            counts.append(len(found))
        return counts

    def _sought(self, order: Forget, partition: int) -> list[tuple[str, SessionState]]:
        sought = []
        for session, before in order.sessions.items():
            state = self._store.get(partition, session)
            if state is not None and state.first_time < before:
                sought.append((session, state))
        if order.users:
            for session, state in self._store.scan(partition):
                if state.first_time < order.users.get(sessions.user_of(state) or "", 0):
                    sought.append((session, state))
        return sought

    # ------------------------------------------------------------------------------------------------------- delivery
    async def _deliver(self, records: list[Outgoing]) -> list[Any]:
        try:
            return await self._writer().deliver(records)
        except Exception as exc:
            die(Exit.DELIVERY, exc)
            raise

    def _outgoing(
        self, batch: Batch, decisions: Sequence[Decision], failed: Sequence[tuple[Event | Due, Exception]]
    ) -> list[Outgoing]:
        records = list(batch.letters)
        for event, error in failed:
            if isinstance(event, Event):  # a due session that fails is asked again on a later tick
                key, value, headers = batch.raw[event.source]
                message = f"the engine failed on this event: {error!r}; retry it once the cause is mended"
                letter = self._intake.dead(event.source, key, value, "model_error", message, attempt(headers))
                records.append(self._set_aside(letter, event.source.partition))
        for decision in decisions:
            records += self._outputs.decided(decision)
        if self._settings.learn:
            records += self._outputs.learned(decisions)
        return records

    def _set_aside(self, letter: DeadLetter, partition: int) -> Outgoing:
        self._metrics.dead_letters.labels(dict(letter.headers)["error"].decode()).inc()
        return self._outputs.dead(letter, partition)

    def _writes(
        self, batch: Batch, changed: dict[str, SessionState]
    ) -> list[tuple[str, SessionState | None, bytes | None]]:
        """The states to write, encoded; a stub whose offsets are committed is deleted, for none can be read again."""
        writes: list[tuple[str, SessionState | None, bytes | None]] = [
            (session, state, codec.encode(state)) for session, state in changed.items()
        ]
        gone = [
            session
            for session in sorted(batch.stubs - changed.keys())
            if self._all_committed(batch.partitions[session], batch.states[session])
        ]
        return writes + [(session, None, None) for session in gone]

    def _all_committed(self, partition: int, state: SessionState) -> bool:
        for topic, offset in enumerate(state.offsets):
            committed = self._reader().committed(self._names[topic], partition)
            if offset >= 0 and (committed is None or committed <= offset):
                return False
        return True

    def _state_record(self, batch: Batch, session: str, _: SessionState | None, encoded: bytes | None) -> Outgoing:
        return Outgoing(self._state_topic, batch.partitions[session], session.encode(), encoded, None)

    def _keep(
        self,
        batch: Batch,
        writes: Sequence[tuple[str, SessionState | None, bytes | None]],
        confirmed: Sequence[Any],
    ) -> None:
        newest: dict[int, int] = {}
        for (session, state, encoded), metadata in zip(writes, confirmed, strict=True):
            partition = batch.partitions[session]
            self._store.put(partition, session, state, encoded)
            newest[partition] = max(metadata.offset, newest.get(partition, -1))
            if state is not None:
                self.timers.put(partition, session, self._waits_for(state, batch.ticked.get(partition, 0)))
        for partition, offset in newest.items():
            self._persisted(partition, offset)
        kept = {session for session, _, _ in writes}
        for session, state in batch.states.items():  # taken out of the timers, but nothing came of it
            if session not in kept:
                partition = batch.partitions[session]
                self.timers.put(partition, session, self._waits_for(state, batch.ticked.get(partition, 0)))

    def _waits_for(self, state: SessionState, now: int) -> int | None:
        if state.closed:
            return now + STUB_CHECK_MS
        return sessions.due(state, self._triggers, self._settings)

    def _count(self, events: int, decisions: Sequence[Decision]) -> None:
        metrics = self._metrics
        metrics.batches.inc()
        metrics.batch_events.observe(events)
        metrics.queue.set(len(self.queue))
        metrics.states.set(len(self._store))
        metrics.waiting.set(len(self.timers))
        for decision in decisions:
            if decision.prediction is not None:
                metrics.predictions.labels(decision.prediction.trigger, decision.prediction.level).inc()
            elif decision.suppressed is not None:
                held = decision.suppressed
                metrics.suppressed.labels(held.rule, held.prediction.trigger).inc()
            else:
                metrics.silent.labels(decision.silent).inc()
            if decision.closed is not None:
                metrics.closed.inc()
