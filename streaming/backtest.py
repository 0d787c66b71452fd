"""The engine over a log, without a broker: every event goes the way that it goes in a worker, one after the other.

    backtest = Backtest(engine, EventLog("my-shop", events))
    for decision in backtest.decisions(): ...

What a worker gets from Kafka is made here from the log: the offset of each record, the partition of its key, and ticks
from the events' own times. There is no clock in it but to measure, so that the same log gives the same decisions.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator

from kafka.partitioner.default import murmur2

from streaming import codec, sessions, topics
from streaming.decisions import Decision, Due
from streaming.engine import STAGES, Engine
from streaming.intake import DeadLetter, Event, Intake, Source
from streaming.moments import Work
from streaming.outputs import Outputs
from streaming.pace import SECOND_MS, Ticks
from streaming.privacy import Pseudonyms
from streaming.records import Learned
from streaming.replay import EventLog, Outgoing
from streaming.sessions import SessionState
from streaming.timers import Timers

_TOPICS = {topic.name: number for number, topic in enumerate(topics.SOURCES)}
_PREFIX = ""
"""Nothing leaves this process: topics need no shop in their names."""


class Costs:
    """What decisions cost. Times are those of this process, and differ from run to run."""

    def __init__(self, clock: Callable[[], float], cpu_clock: Callable[[], float]) -> None:
        self.stages_s = {stage: array("d") for stage in STAGES}
        """Wall time of each stage of the events' steps in which it ran."""
        self.steps_s = array("d")
        """Wall time of the whole step of each event."""
        self.cpu_s = 0.0
        """Of all steps, those of due times too."""
        self._clock, self._cpu_clock = clock, cpu_clock
        self._lap: dict[str, float] = {}
        self._stage: str | None = None
        self._since = 0.0

    def mark(self, stage: str | None) -> None:
        """A stage of the step begins; None: the step is over. As `Engine.mark`."""
        now = self._clock()
        if self._stage is not None:
            self._lap[self._stage] = self._lap.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def begin(self) -> None:
        """A step begins."""
        self._lap = {}
        self._began, self._cpu_began = self._clock(), self._cpu_clock()

    def end(self, *, event: bool) -> None:
        """It is over; only those of events count among the latencies."""
        self.cpu_s += self._cpu_clock() - self._cpu_began
        if event:
            self.steps_s.append(self._clock() - self._began)
            for stage, seconds in self._lap.items():
                self.stages_s[stage].append(seconds)


class Backtest:
    """One pass over a log. Learns as it goes: an event's ranking is made before the event teaches anything.

    A live worker hears of what it taught a moment later, by way of the topic `learned`; here that is at once.
    """

    def __init__(
        self,
        engine: Engine,
        log: EventLog,
        pseudonyms: Pseudonyms,
        *,
        partitions: int = 1,
        learn: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        """
        Args:
            engine: over a shop that has its items.
            pseudonyms: a worker's of the same secret gives the same ids.
            partitions: of the topics that the log would be put on; ids of predictions without an event id, and how
                time passes, depend on it.
            learn: whether counts follow the log.
        """
        self.engine = engine
        self.costs = Costs(clock, cpu_clock)
        self.dead_letters: Counter[str] = Counter()
        """Records that the intake refused, by error."""
        self._log = log
        self._intake = Intake(pseudonyms, _PREFIX)
        self._outputs = Outputs(_PREFIX)
        self._partitions = partitions
        self._learn = learn
        self._offsets: Counter[tuple[int, int]] = Counter()
        self._timers = Timers()
        self._states: dict[str, SessionState] = {}

    def decisions(self) -> Iterator[Decision]:
        """A decision for each accepted event and each due time, in the order of the log."""
        self.engine.mark = self.costs.mark
        ticks = Ticks(SECOND_MS)
        for record in self._log.records(0):
            if record.value is None:  # a row that was refused
                continue
            if record.event_time is not None:
                for moment in ticks.before(record.event_time):
                    yield from self._tick(moment)
            event = self._taken(record)
            if event is not None:
                yield self._decide(event, event.source.partition)

    def _tick(self, moment: int) -> Iterator[Decision]:
        for partition in range(self._partitions):
            for session in self._timers.take(partition, moment):
                if session in self._states:
                    yield self._decide(Due(session, moment), partition)

    def _taken(self, record: Outgoing) -> Event | None:
        topic, key = _TOPICS[record.topic], record.key or b""
        partition = (murmur2(key) & 0x7FFFFFFF) % self._partitions  # as Kafka's default partitioner
        source = Source(topic, partition, self._offsets[topic, partition], record.at)
        self._offsets[topic, partition] += 1
        taken = self._intake.accept(source, key, record.value, record.headers)
        if isinstance(taken, DeadLetter):
            self.dead_letters[dict(taken.headers)["error"].decode()] += 1
        return taken if isinstance(taken, Event) else None

    def _decide(self, work: Work, partition: int) -> Decision:
        self.costs.begin()
        changed, (decision,) = self.engine.step([work], self._states)
        self.costs.end(event=isinstance(work, Event))
        state = changed.get(work.session) or self._states[work.session]
        if state.closed:  # no record of it can come again: there is nothing to remember
            self._states.pop(work.session, None)
        else:
            self._states[work.session] = state
            due = sessions.due(state, self.engine.settings.triggers, self.engine.settings.worker)
            self._timers.put(partition, work.session, due)
        if self._learn and decision.taught is not None:
            for record in self._outputs.learned([decision]):
                self.engine.shop.learn(codec.decode(record.value, Learned))
        return decision
