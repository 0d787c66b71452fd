"""A batcher with everything around it replaced by lists, and records for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from streaming import batcher as module
from streaming import codec, sessions
from streaming.batcher import Batcher
from streaming.decisions import Decision, Due, Noticed
from streaming.event_queue import Received
from streaming.exits import Exit
from streaming.intake import Intake
from streaming.outputs import Outgoing
from streaming.privacy import Pseudonyms
from streaming.records import EventRecord, Tick, Transition
from streaming.sessions import SessionState, advance
from streaming.settings import Settings
from streaming.store import StateStore
from streaming.telemetry import Metrics
from tests.streaming.test_store import Disk

IDLE_MS = 60_000
NOW = 1_700_000_000_000
PREFIX = "p."
STATE = "p.worker-sessions-changelog"


class Ended(Exception):
    """Stands for the end of the process."""


class Engine:
    """Advances states, closes idle ones, says nothing; fails on items called `bad`; teaches one transition an event."""

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.noticed: list[Noticed] = []

    def step(self, events: Any, states: Any, now: int) -> tuple[dict[str, SessionState], list[Decision]]:
        self.pieces.append(len(events))
        changed: dict[str, SessionState] = {}
        decisions: list[Decision] = []
        for event in events:
            if isinstance(event, Due):
                state = changed.get(event.session) or states[event.session]
                if state.last_time + IDLE_MS <= event.time:
                    changed[event.session] = sessions.stub(state)
                decisions.append(Decision(event, silent="not_due"))
                continue
            if isinstance(event, Noticed):
                self.noticed.append(event)
                if event.change.item_id == "bad":
                    raise ValueError("no such luck")
                decisions.append(Decision(event, silent="outdated"))
                changed[event.session] = changed.get(event.session) or states[event.session]
                continue
            if event.item_id == "bad":
                raise ValueError("no such luck")
            before = changed.get(event.session) or states.get(event.session) or sessions.FRESH
            if event.source.offset <= before.offsets[event.source.topic]:
                decisions.append(Decision(event, silent="applied"))
                continue
            changed[event.session] = advance(before, event)
            taught = Transition(event.source.offset, "a", str(event.item_id), event.kind)
            decisions.append(Decision(event, silent="no_trigger", taught=taught))
        return changed, decisions


def record(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes,
    generation: int = 1,
    sent: int = NOW,
) -> Received:
    """A record as Faust's agents hand it over."""
    message = SimpleNamespace(
        topic=PREFIX + topic, partition=partition, offset=offset, key=key, value=value, headers=[], timestamp=sent
    )
    return Received(message, generation)


class Bench:
    """A batcher with everything around it replaced by lists."""

    def __init__(self, **worker: Any) -> None:
        settings = Settings(
            no_pseudonyms=True, topics={"prefix": PREFIX}, worker={"session_idle_ms": IDLE_MS, **worker}
        )
        self.log: list[Any] = []
        self.appended: list[dict[bytes, bytes | None]] = []
        self.disk = Disk()
        self.engine = Engine()
        self.generation = 1
        self.offsets: dict[tuple[str, int], int] = {}
        self.behind: set[tuple[str, int]] = set()
        self.fail: Callable[[Any], None] = lambda record: None
        self.metrics = Metrics()
        self.model = ThreadPoolExecutor(1)
        self.batcher = Batcher(
            settings,
            self.engine,  # type: ignore[arg-type]
            Intake(Pseudonyms(None), PREFIX),
            StateStore(self.disk, 100),
            self.metrics,
            self.model,
            reader=lambda: self,
            writer=lambda: self,
            generation=lambda: self.generation,
            persisted=lambda partition, offset: self.log.append(("persisted", partition, offset)),
        )

    # the consumer's part
    def acknowledge(self, received: Any) -> None:
        self.log += [("ack", each.message.topic[len(PREFIX) :], each.message.offset) for each in received]

    def fetch(self) -> None:
        self.log.append(("fetch",))

    def committed(self, topic: str, partition: int) -> int | None:
        return self.offsets.get((topic, partition))

    def caught_up(self, topic: str, partition: int) -> bool:
        return (topic, partition) not in self.behind

    def owned_partitions(self) -> set[int]:
        return {0, 1}

    # the producer's part
    async def append(self, batches: Any) -> dict[int, int]:
        for partition, records in batches.items():
            self.fail(Outgoing(STATE, partition, None, None, None))
            self.log += [Outgoing(STATE, partition, key, value, None) for key, value in records]
        self.appended += [dict(records) for records in batches.values()]
        return {partition: 100 + len(records) for partition, records in batches.items()}

    async def deliver(self, records: Any) -> None:
        for each in records:
            self.fail(each)
            self.log.append(each)

    def run(self, *received: Any) -> None:
        """Work one round on what was received."""
        asyncio.run(self.batcher._round(list(received)))

    def sent(self, topic: str) -> list[Any]:
        return [entry for entry in self.log if getattr(entry, "topic", None) == topic]


def view(
    offset: int,
    session: str = "s1",
    item: str = "i1",
    *,
    time: int = NOW,
    partition: int = 0,
    generation: int = 1,
) -> Received:
    value = codec.encode(EventRecord(kind="view", session_id=session, time=time, item_id=item))
    return record("browses", partition, offset, session.encode(), value, generation, sent=time)


def tick(offset: int, time: int, partition: int = 0) -> Received:
    return record("ticks", partition, offset, None, codec.encode(Tick(time=time)), sent=time)


def kinds(log: list[Any]) -> list[Any]:
    return [entry[0] if isinstance(entry, tuple) and not hasattr(entry, "topic") else entry.topic for entry in log]


def closed(bench: Bench, session: bytes = b"s1") -> bool:
    return codec.decode(bench.disk.kept[(0, session)], SessionState).closed


def ends_raise(monkeypatch: pytest.MonkeyPatch) -> list[Exit]:
    """Where the process would end, `Ended` is raised; gives the codes."""
    codes: list[Exit] = []

    def die(code: Exit, why: object) -> None:
        codes.append(code)
        raise Ended(why)

    monkeypatch.setattr(module, "die", die)
    return codes
