"""The order in which a round works, told by what it writes, and what it does when something fails on the way."""

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
from streaming.decisions import Decision, Due
from streaming.event_queue import Forget
from streaming.exits import Exit
from streaming.intake import Intake
from streaming.outbox import Outbox, size
from streaming.outputs import Outgoing
from streaming.privacy import Pseudonyms
from streaming.records import EventRecord, Learned, Tick, Transition
from streaming.sessions import SessionState, advance
from streaming.settings import Settings
from streaming.store import StateStore
from streaming.telemetry import Metrics
from streaming.topics import OUTBOX_KEY
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

    def step(self, events: Any, states: Any, now: int) -> tuple[dict[str, SessionState], list[Decision]]:
        self.pieces.append(len(events))
        changed, decisions = {}, []
        for event in events:
            if isinstance(event, Due):
                state = changed.get(event.session) or states[event.session]
                if state.last_time + IDLE_MS <= event.time:
                    changed[event.session] = sessions.stub(state)
                decisions.append(Decision(event, silent="not_due"))
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


class Record:
    """A record as Faust's agents hand it over."""

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes,
        generation: int = 1,
        sent: int = NOW,
    ):
        self.message = SimpleNamespace(
            topic=PREFIX + topic,
            partition=partition,
            offset=offset,
            key=key,
            value=value,
            headers=[],
            timestamp=sent / 1000,
            generation_id=generation,
        )
        self.log: list[Any] = []

    def ack(self) -> bool:
        self.log.append(("ack", self.message.topic[len(PREFIX) :], self.message.offset))
        return True


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
        self.discarded: list[Any] = []
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
    def discard(self, message: Any) -> None:
        self.discarded.append(message.offset)

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

    async def deliver(self, records: Any) -> list[Any]:
        for record in records:
            self.fail(record)
            self.log.append(record)
        return [SimpleNamespace(offset=100 + number) for number, _ in enumerate(records)]

    def run(self, *received: Any) -> None:
        """Work one round on what was received."""
        for record in received:
            if isinstance(record, Record):
                record.log = self.log
        asyncio.run(self.batcher._round(list(received)))

    def sent(self, topic: str) -> list[Any]:
        return [entry for entry in self.log if getattr(entry, "topic", None) == topic]


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Exit]:
    codes: list[Exit] = []

    def die(code: Exit, why: object) -> None:
        codes.append(code)
        raise Ended(why)

    monkeypatch.setattr(module, "die", die)
    return codes


def view(
    offset: int,
    session: str = "s1",
    item: str = "i1",
    *,
    time: int = NOW,
    partition: int = 0,
    generation: int = 1,
) -> Record:
    value = codec.encode(EventRecord(kind="view", session_id=session, time=time, item_id=item))
    return Record("browses", partition, offset, session.encode(), value, generation, sent=time)


def tick(offset: int, time: int, partition: int = 0) -> Record:
    return Record("ticks", partition, offset, None, codec.encode(Tick(time=time)), sent=time)


def kinds(log: list[Any]) -> list[Any]:
    return [entry[0] if isinstance(entry, tuple) and not hasattr(entry, "topic") else entry.topic for entry in log]


def test_states_with_their_outbox_then_outputs_then_the_local_copy_then_acknowledgements() -> None:
    bench = Bench()
    bench.run(view(0), view(1, "s2"), Record("browses", 0, 2, b"s1", b"\xc1"))
    outputs = ["p.dead-letters", "p.learned"]
    assert kinds(bench.log) == [STATE, STATE, STATE, *outputs, "persisted", "ack", "ack", "ack"]
    (appended,) = bench.appended
    assert list(appended) == [OUTBOX_KEY, b"s1", b"s2"]
    assert codec.decode(appended[OUTBOX_KEY], Outbox).outgoing() == bench.sent("p.learned")
    assert bench.log[-3:] == [("ack", "browses", 0), ("ack", "browses", 1), ("ack", "browses", 2)]
    assert set(bench.disk.kept) == {(0, b"s1"), (0, b"s2")}
    learned = codec.decode(bench.sent("p.learned")[0].value, Learned)
    assert [taught.offset for taught in learned.transitions] == [0, 1]


def test_nothing_is_kept_or_acknowledged_when_an_output_is_refused(ends: list[Exit]) -> None:
    bench = Bench()

    def fail(record: Any) -> None:
        if record.topic == "p.learned":
            raise RuntimeError("refused")

    bench.fail = fail
    with pytest.raises(Ended):
        bench.run(view(0))
    assert ends == [Exit.DELIVERY]
    assert set(kinds(bench.log)) == {STATE}  # decided: the next owner delivers the outbox
    assert bench.disk.kept == {}


def test_nothing_is_sent_kept_or_acknowledged_when_a_state_is_refused(ends: list[Exit]) -> None:
    bench = Bench()

    def fail(record: Any) -> None:
        if record.topic == STATE:
            raise RuntimeError("fenced")

    bench.fail = fail
    with pytest.raises(Ended):
        bench.run(view(0))
    assert ends == [Exit.DELIVERY]
    assert bench.log == []
    assert bench.disk.kept == {}


def test_events_of_an_older_assignment_are_forgotten_and_not_acknowledged() -> None:
    bench = Bench()
    bench.run(view(0, generation=0), view(1))
    assert bench.discarded == [0]
    assert [entry for entry in bench.log if entry[0] == "ack"] == [("ack", "browses", 1)]


def test_a_rebalance_during_a_round_leaves_the_local_copy_alone() -> None:
    bench = Bench()

    def fail(record: Any) -> None:
        if record.topic == STATE:
            bench.generation = 2

    bench.fail = fail
    bench.run(view(0))
    assert bench.disk.kept == {}
    assert bench.discarded == [0]
    assert "ack" not in kinds(bench.log)


def test_an_event_that_the_engine_fails_on_is_set_aside_and_the_others_are_decided() -> None:
    bench = Bench()
    bench.run(view(0), view(1, item="bad"), view(2), view(3, "s2"))
    (letter,) = bench.sent("p.dead-letters")
    headers = dict(letter.headers)
    assert (headers["error"], headers["offset"], headers["attempt"]) == (b"model_error", b"1", b"1")
    assert b"no such luck" in headers["message"]
    assert letter.value == view(1, item="bad").message.value
    assert codec.decode(bench.disk.kept[(0, b"s1")], SessionState).counts == (0, 2)
    assert codec.decode(bench.disk.kept[(0, b"s2")], SessionState).counts == (0, 1)
    assert bench.engine.pieces == [4, 2, 1, 1, 2]  # the whole, its halves, the bad half one by one
    assert [entry[2] for entry in bench.log if entry[0] == "ack"] == [0, 1, 2, 3]


def test_what_is_too_much_to_append_at_once_is_decided_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.outbox.MAX_BYTES", 700)
    bench = Bench()
    bench.run(*[view(offset, f"s{offset % 3}") for offset in range(8)])
    assert len(bench.appended) > 1
    assert all(size(list(appended.items())) <= 700 for appended in bench.appended)
    counts = [codec.decode(value, SessionState).counts for value in bench.disk.kept.values()]
    assert counts == [(0, 3), (0, 3), (0, 2)]
    taught = [codec.decode(sent.value, Learned).transitions for sent in bench.sent("p.learned")]
    assert [step.offset for steps in taught for step in steps] == list(range(8))


def takes_over(bench: Bench, *appended: tuple[bytes, bytes | None]) -> list[Any]:
    """What a new owner sends that recovered this from the changelog."""
    for key, value in appended:
        bench.disk.put(0, key, value)
    asyncio.run(bench.batcher.reassigned({0, 1}))
    return bench.log


def test_the_next_owner_delivers_what_was_decided() -> None:
    first = Bench()
    first.run(view(4), view(5, "s2"))
    second = Bench()
    assert takes_over(second, *first.appended[0].items()) == first.sent("p.learned")
    second.log.clear()
    assert takes_over(second) == []  # once
    second.run(view(4), view(5, "s2"), view(6))
    assert [entry for entry in second.log if entry[0] == "ack"] == [("ack", "browses", n) for n in (4, 5, 6)]
    (taught,) = second.sent("p.learned")
    assert [step.offset for step in codec.decode(taught.value, Learned).transitions] == [6]


def test_what_is_committed_was_delivered() -> None:
    first = Bench()
    first.run(view(4), view(5, "s2"))
    second = Bench()
    second.offsets["p.browses", 0] = 5
    assert len(takes_over(second, *first.appended[0].items())) == 1
    third = Bench()
    third.offsets["p.browses", 0] = 6
    assert takes_over(third, *first.appended[0].items()) == []


def test_an_outbox_that_cannot_be_delivered_ends_the_process(ends: list[Exit]) -> None:
    first = Bench()
    first.run(view(4))
    second = Bench()

    def fail(record: Any) -> None:
        raise RuntimeError("refused")

    second.fail = fail
    with pytest.raises(Ended):
        takes_over(second, *first.appended[0].items())
    assert ends == [Exit.DELIVERY]
    assert (0, OUTBOX_KEY) in second.disk.kept


def test_a_tick_finds_the_sessions_that_wait_and_only_those() -> None:
    bench = Bench()
    bench.run(view(0), view(1, "s2", time=NOW + 50_000))
    bench.run(tick(0, NOW + 60_000))
    assert codec.decode(bench.disk.kept[(0, b"s1")], SessionState).closed
    assert not codec.decode(bench.disk.kept[(0, b"s2")], SessionState).closed


def closed(bench: Bench, session: bytes = b"s1") -> bool:
    return codec.decode(bench.disk.kept[(0, session)], SessionState).closed


def test_a_tick_waits_for_the_events_that_were_sent_before_it() -> None:
    bench = Bench()
    bench.run(view(0))
    bench.behind = {("p.browses", 0)}  # a worker that catches up: what was sent before the tick is still unread
    bench.run(tick(0, NOW + 60_000))
    assert not closed(bench)
    bench.run(view(1, time=NOW + 50_000))  # the session was alive all along
    bench.run(view(2, "s2", time=NOW + 61_000))  # sent after the tick: now it counts
    assert not closed(bench)
    bench.behind = set()
    bench.run(tick(1, NOW + 110_000))
    assert closed(bench)


def test_a_tick_waits_for_what_is_in_the_queue() -> None:
    async def story() -> list[bool]:
        bench = Bench()
        await bench.batcher._round([view(0)])
        await bench.batcher.queue.put(view(1, time=NOW + 50_000))
        await bench.batcher._round([tick(0, NOW + 60_000)])
        before = closed(bench)
        await bench.batcher._round(await bench.batcher.queue.collect())
        return [before, closed(bench)]

    assert asyncio.run(story()) == [False, False]


def test_a_stub_is_deleted_once_its_offsets_are_committed() -> None:
    bench = Bench()
    bench.run(view(7))
    bench.run(tick(0, NOW + 60_000))
    bench.offsets["p.browses", 0] = 7
    bench.run(tick(1, NOW + 80_000))
    assert (0, b"s1") in bench.disk.kept
    bench.offsets["p.browses", 0] = 8
    bench.run(tick(2, NOW + 100_000))
    assert bench.disk.kept == {}
    assert bench.sent(STATE)[-1].value is None


def test_a_restart_finds_who_waits_by_a_sweep() -> None:
    bench = Bench()
    bench.run(view(0))
    asyncio.run(bench.batcher.reassigned({0}))
    bench.run(tick(0, NOW + 60_000))
    assert codec.decode(bench.disk.kept[(0, b"s1")], SessionState).closed


def test_forgets_a_session_and_all_sessions_of_a_user() -> None:
    async def story() -> None:
        bench = Bench()
        loop = asyncio.get_running_loop()
        value = codec.encode(EventRecord(kind="view", session_id="s2", time=NOW, item_id="i", user_id="u1"))
        first = [view(0), Record("browses", 1, 0, b"s2", value), view(1, "s3")]
        await bench.batcher._round(first)
        later = NOW + 1
        by_session = Forget({"s1": later}, {}, loop.create_future())
        by_user = Forget({}, {"u1": later, "u2": later}, loop.create_future())
        too_early = Forget({"s3": NOW}, {}, loop.create_future())
        await bench.batcher._round([by_session, by_user, too_early])
        assert (by_session.done.result(), by_user.done.result(), too_early.done.result()) == (1, 1, 0)
        closed = {key: codec.decode(value, SessionState).closed for key, value in bench.disk.kept.items()}
        assert closed == {(0, b"s1"): True, (1, b"s2"): True, (0, b"s3"): False}

    asyncio.run(story())


def test_counts_what_was_decided() -> None:
    bench = Bench()
    bench.run(view(0), view(1))
    page = bench.metrics.page().decode()
    assert 'beforehand_silent_total{reason="no_trigger"} 2.0' in page
    assert 'beforehand_events_total{topic="browses"} 2.0' in page
