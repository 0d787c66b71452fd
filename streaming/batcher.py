"""The one place where events become decisions: micro-batches, one at a time, in an order that loses nothing.

    events -> intake -> states -> Engine.step -> states and outbox appended -> outputs delivered -> kept -> acknowledged

The new states of a partition and the records that go with them are appended to the changelog as one: from then on
the batch is decided, and whoever owns the partition next delivers the outbox again. Only then the records are sent,
the local copy is written, and the offsets are acknowledged. A batch that was cut short before is read again, sees the
old states, and is decided as if for the first time; an offset that was applied emits nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from streaming import codec, outbox, sessions, topics
from streaming.deciding import CROWDED, Made, decide_in_steps, halves
from streaming.decisions import Decision, Due, Noticed, Work
from streaming.engine import Engine
from streaming.event_queue import EventQueue, Forget, News, Order, Received
from streaming.exits import Exit, die
from streaming.intake import DeadLetter, Event, Intake, Source, TickEvent, attempt
from streaming.ladder import Ladder
from streaming.noticing import Noticing, Waiting
from streaming.outbox import Append
from streaming.outputs import Outgoing, Outputs
from streaming.records import Level
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.store import StateStore
from streaming.telemetry import Metrics, child
from streaming.timers import Clock, Timers
from streaming.transport import Reader, Writer

logger = logging.getLogger(__name__)

STUB_CHECK_MS = 10_000
"""How long a closed session waits before it is asked again whether its offsets are committed."""


@dataclass(slots=True)
class Batch:
    """What one round works on, and what came of it."""

    work: list[Work] = field(default_factory=list)
    letters: list[Outgoing] = field(default_factory=list)
    states: dict[str, SessionState] = field(default_factory=dict)
    """As they are: those that were loaded, then those that were appended."""
    partitions: dict[str, int] = field(default_factory=dict)
    stubs: set[str] = field(default_factory=set)
    """Closed sessions that a tick found: to be deleted, once none of their events can be read again."""
    raw: dict[Source, tuple[bytes | None, bytes | None, Any]] = field(default_factory=dict)
    ticked: dict[int, int] = field(default_factory=dict)
    """What time it has become, by partition."""
    decisions: list[Decision] = field(default_factory=list)
    written: dict[str, tuple[SessionState | None, bytes | None]] = field(default_factory=dict)
    """States on the changelog, and their encoded form; none: deleted."""
    newest: dict[int, int] = field(default_factory=dict)
    """Last offset on the changelog, by partition."""


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
        self._outputs = Outputs(settings.topics.prefix)
        self.queue = EventQueue(self._settings)
        self._clock = Clock()
        self.ladder = Ladder(self._settings.latency_budget_ms if self._settings.clock == "wall" else 0)
        self.timers = Timers()
        self.noticing = Noticing(self._settings.watched_sessions)
        self._newest: dict[int, int] = {}  # partition -> newest time of an event
        self.decided = 0
        """Events worked off since the start; the watchdog looks at it."""

    async def run(self) -> None:
        """Work until the process ends."""
        while True:
            batch = await self.queue.collect(CROWDED if self.ladder.level == "popular" else 1)
            async with asyncio.timeout(self._settings.deadline_s):
                await self._round(batch)
            self.decided += len(batch)

    async def reassigned(self, partitions: Collection[int]) -> None:
        """The assignment changed. Forget decoded states, look through those of the partitions that are owned now, and
        deliver what their last owners had decided; before it is done, nothing of them may be read."""
        self._store.clear()
        self.timers.clear()
        self.noticing.clear()
        self._newest.clear()
        self._clock = Clock()
        records: list[Outgoing] = []
        for partition in partitions:
            self.timers.sweep(partition, self._swept(partition))
            left = self._store.outbox(partition)
            if left is not None and not left.delivered(lambda topic, number=partition: self._committed(topic, number)):  # type: ignore[misc]
                records += left.outgoing()
        await self._confirmed(self._writer().deliver(records))
        for partition in partitions:
            self._store.empty_outbox(partition)

    def _swept(self, partition: int) -> Iterator[tuple[str, int | None]]:
        """The partition's sessions and what they wait for; those that a change of the catalogue concerns are noted."""
        for session, state in self._store.scan(partition):
            self.noticing.swept(partition, session, state, time.time_ns() // 1_000_000)
            yield session, self._waits_for(state, 0)

    # ---------------------------------------------------------------------------------------------------- a round
    async def _round(self, received: Sequence[Received | Order]) -> None:
        generation = self._generation()
        # An event of an older assignment is read again by whoever owns its partition now.
        events = [event for event in received if not isinstance(event, Order) and event.generation == generation]
        orders = [order for order in received if isinstance(order, Forget)]
        for news in received:
            if isinstance(news, News):
                self.noticing.heard(news.changes)
        with self._metrics.stage("intake"):
            batch = self._take_in(events)  # clean events, due sessions, dead letters
            self.engine.level = self._settled(events)  # what there is time for
        with self._metrics.stage("states"):
            self._load(batch)  # + the states they need
        await self._work_off(batch)  # decided, appended, delivered
        await self._put_away(batch, orders)  # stubs that are over, people who are to be forgotten
        if self._generation() != generation:  # another owner: it recovers from the changelog, and reads these again
            return
        with self._metrics.stage("local"):
            self._keep(batch)  # the local copy
        self._reader().acknowledge(events)  # in the order in which they came: nothing is committed past what is done
        if self.noticing:
            self.queue.nudge()
        self._count(len(events), batch.decisions)

    def _take_in(self, events: Sequence[Received]) -> Batch:
        batch = Batch()
        for event in events:
            message = event.message
            source = Source(
                self._topics[message.topic],
                message.partition,
                message.offset,
                message.timestamp or 0,
            )
            taken = self._intake.accept(source, message.key, message.value, message.headers or ())
            self._clock.worked(source.topic, source.partition, source.timestamp)
            child(self._metrics.events, topics.SOURCES[source.topic].name).inc()
            if isinstance(taken, Event):
                self._newest[source.partition] = max(taken.time, self._newest.get(source.partition, 0))
                batch.work.append(taken)
                batch.partitions[taken.session] = source.partition
                batch.raw[source] = (message.key, message.value, message.headers or ())
            elif isinstance(taken, TickEvent):
                self._clock.ticked(source.partition, source.timestamp, taken.time)
            else:
                batch.letters.append(self._set_aside(taken, source.partition))
        batch.ticked = self._clock.passed(self._nothing_left)
        return batch

    def _settled(self, events: Sequence[Received]) -> Level:
        """By the age of the oldest event."""
        now = time.time() * 1000
        sent = min((event.message.timestamp for event in events if event.message.timestamp), default=now)
        level = self.ladder.settle(now - sent, time.monotonic())
        self._metrics.rung.set(self.ladder.rung)
        return level

    def _nothing_left(self, topic: int, partition: int) -> bool:
        name = self._names[topic]
        return not self.queue.holds(name, partition) and self._reader().caught_up(name, partition)

    def _load(self, batch: Batch) -> None:
        """States of the events' sessions, and the sessions that a tick finds waiting."""
        for session, partition in batch.partitions.items():
            if (state := self._store.get(partition, session)) is not None:
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
        for notice in self.noticing.take(self._settings.batch_events):
            self._ask(batch, notice)

    def _ask(self, batch: Batch, notice: Waiting) -> None:
        """A session that a change of the catalogue concerns: at the time of the record, or by the events' clock."""
        partition, session, change = notice
        if batch.partitions.get(session, partition) != partition:  # one name in two partitions: not in one batch
            self.noticing.put_back(notice)
            return
        state = batch.states.get(session) or self._store.get(partition, session)
        if state is None or state.closed:
            return
        now = change.time
        if self._settings.clock == "record":
            now = max(self._newest.get(partition, 0), state.last_time)
        batch.partitions[session] = partition
        batch.states[session] = state
        batch.work.append(Noticed(session, now, change))

    async def _work_off(self, batch: Batch) -> None:
        """Decide and write; in halves where it comes to more than can be appended at once."""
        pieces: list[Sequence[Work]] = [batch.work]
        while pieces:
            piece = pieces.pop(0)
            now = time.time_ns() // 1_000_000
            with self._metrics.stage("step"):
                made = await decide_in_steps(self._model, self.engine, piece, batch.states, now)
            self._metrics.engine_failed(made.errors)
            with self._metrics.stage("records"):
                appends = self._appends(batch, made)
            if len(piece) > 1 and any(outbox.size(append.records()) > outbox.MAX_BYTES for append in appends.values()):
                pieces[:0] = halves(piece)
                continue
            batch.letters += [
                self._failed(batch, each, error) for each, error in made.failed if isinstance(each, Event)
            ]
            await self._write(batch, appends)
            batch.states |= made.changed
            batch.decisions += made.decisions

    def _appends(self, batch: Batch, made: Made) -> dict[int, Append]:
        """The new states and what goes with them, by partition."""
        appends: dict[int, Append] = {}
        for session, state in made.changed.items():
            append = appends.setdefault(batch.partitions[session], Append())
            append.states.append((session.encode(), codec.encode(state)))
            batch.written[session] = state, append.states[-1][1]
        for partition, append in appends.items():
            decisions = [each for each in made.decisions if batch.partitions[each.event.session] == partition]
            for decision in decisions:
                append.outgoing += self._outputs.decided(decision)
            if self._settings.learn:
                append.outgoing += self._outputs.learned(decisions)
            append.upto = _upto(decisions)
        return appends

    async def _write(self, batch: Batch, appends: Mapping[int, Append]) -> None:
        """Append, then deliver; meanwhile what has come since is fetched."""
        self._reader().fetch()
        with self._metrics.stage("changelog"):
            records = {partition: append.records() for partition, append in appends.items()}
            batch.newest |= await self._confirmed(self._writer().append(records))
        with self._metrics.stage("outputs"):
            outgoing = [record for append in appends.values() for record in append.outgoing]
            await self._confirmed(self._writer().deliver([*batch.letters, *outgoing]))
            batch.letters = []

    async def _confirmed(self, work: Awaitable[Any]) -> Any:
        """What the broker refuses ends the process: a newer owner has fenced this worker off, or it cannot write."""
        try:
            return await work
        except Exception as exc:
            die(Exit.DELIVERY, exc)
            raise

    def _failed(self, batch: Batch, event: Event, error: Exception) -> Outgoing:
        """The dead letter of an event that the engine failed on. (A due session is asked again on a later tick; a
        notice is lost, and logged.)"""
        key, value, headers = batch.raw[event.source]
        message = f"the engine failed on this event: {error!r}; retry it once the cause is mended"
        letter = self._intake.dead(event.source, key, value, "model_error", message, attempt(headers))
        return self._set_aside(letter, event.source.partition)

    def _set_aside(self, letter: DeadLetter, partition: int) -> Outgoing:
        self._metrics.dead_letters.labels(dict(letter.headers)["error"].decode()).inc()
        return self._outputs.dead(letter, partition)

    # ------------------------------------------------------------------------------------------ states that go away
    async def _put_away(self, batch: Batch, orders: Sequence[Forget]) -> None:
        """Delete stubs whose offsets are committed, for none of them can be read again, and forget who asked for it."""
        appends: dict[int, Append] = {}
        for session in sorted(batch.stubs - batch.written.keys()):
            partition = batch.partitions[session]
            if self._all_committed(partition, batch.states[session]):
                batch.written[session] = None, None
                appends.setdefault(partition, Append()).states.append((session.encode(), None))
        counts = []
        for order in orders:
            found = [
                place for number in self._reader().owned_partitions() for place in self._sought(batch, order, number)
            ]
            for partition, session, state in found:
                stub = sessions.stub(state)
                batch.written[session], batch.partitions[session] = (stub, codec.encode(stub)), partition
                appends.setdefault(partition, Append()).states.append((session.encode(), codec.encode(stub)))
            counts.append(len(found))
        if appends:
            await self._write(batch, appends)
        for order, count in zip(orders, counts, strict=True):
            order.done.set_result(count)

    def _sought(self, batch: Batch, order: Forget, partition: int) -> list[tuple[int, str, SessionState]]:
        """Partition, session and state of those that an order means, as they are after the batch."""
        here = [(session, self._store.get(partition, session)) for session in order.sessions]
        if order.users:
            here += [
                (session, state)
                for session, state in self._store.scan(partition)
                if sessions.user_of(state) in order.users
            ]
        found = []
        for session, stored in dict(here).items():
            state = batch.written[session][0] if session in batch.written else stored
            if state is None or state.closed:
                continue
            before = max(order.sessions.get(session, 0), order.users.get(sessions.user_of(state) or "", 0))
            if state.first_time < before:
                found.append((partition, session, state))
        return found

    def _all_committed(self, partition: int, state: SessionState) -> bool:
        """Whether none of the state's events can be read again."""
        return all(
            offset < 0 or (self._committed(topic, partition) or 0) > offset
            for topic, offset in enumerate(state.offsets)
        )

    def _committed(self, topic: int, partition: int) -> int | None:
        return self._reader().committed(self._names[topic], partition)

    # ------------------------------------------------------------------------------------------------- what is kept
    def _keep(self, batch: Batch) -> None:
        """The local copy of what the changelog has, and when to look at each session again."""
        for session, (state, encoded) in batch.written.items():
            self._store.put(batch.partitions[session], session, state, encoded)
        for partition, offset in batch.newest.items():
            self._persisted(partition, offset)
        current = batch.states | {session: state for session, (state, _) in batch.written.items()}
        for session, state in current.items():
            partition = batch.partitions[session]
            self.noticing.watch(partition, session, state)
            if state is not None:
                self.timers.put(partition, session, self._waits_for(state, batch.ticked.get(partition, 0)))

    def _waits_for(self, state: SessionState, now: int) -> int | None:
        if state.closed:
            return now + STUB_CHECK_MS
        return sessions.due(state, self._triggers, self._settings)

    def _count(self, events: int, decisions: Sequence[Decision]) -> None:
        metrics = self._metrics
        metrics.worked(events, decisions)
        metrics.queue.set(len(self.queue))
        metrics.states.set(len(self._store))
        metrics.waiting.set(len(self.timers))
        metrics.watched.set(self.noticing.watched)
        metrics.notices.set(len(self.noticing))
        metrics.notices_dropped.set(self.noticing.dropped)


def _upto(decisions: Sequence[Decision]) -> list[int] | None:
    """The last offset of each source topic that was decided; none where something fell due or was noticed, which has no
    offset."""
    upto = [-1] * len(topics.SOURCES)
    for decision in decisions:
        if not isinstance(decision.event, Event):
            return None
        source = decision.event.source
        upto[source.topic] = max(upto[source.topic], source.offset)
    return upto
