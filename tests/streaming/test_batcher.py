"""The order in which a round works, told by what it writes, and what it does when something fails on the way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from msgspec.structs import replace

from streaming import codec
from streaming.changes import Change
from streaming.deciding import CROWDED
from streaming.event_queue import Forget, News
from streaming.exits import Exit
from streaming.ladder import Ladder
from streaming.outbox import Outbox
from streaming.records import EventRecord, Learned
from streaming.sessions import SessionState, Step
from streaming.topics import OUTBOX_KEY
from tests.streaming.batch_bench import NOW, STATE, Bench, Ended, closed, ends_raise, kinds, record, tick, view


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Exit]:
    """Codes with which the process would have ended."""
    return ends_raise(monkeypatch)


def test_states_with_their_outbox_then_outputs_then_the_local_copy_then_acknowledgements() -> None:
    bench = Bench()
    bench.run(view(0), view(1, "s2"), record("browses", 0, 2, b"s1", b"\xc1"))
    outputs = ["p.dead-letters", "p.learned"]
    assert kinds(bench.log) == ["fetch", STATE, STATE, STATE, *outputs, "persisted", "ack", "ack", "ack"]
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
    assert kinds(bench.log) == ["fetch", STATE, STATE]  # decided: the next owner delivers the outbox
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
    assert bench.log == [("fetch",)]
    assert bench.disk.kept == {}


def test_events_of_an_older_assignment_are_forgotten_and_not_acknowledged() -> None:
    bench = Bench()
    bench.run(view(0, generation=0), view(1))
    assert [entry for entry in bench.log if entry[0] == "ack"] == [("ack", "browses", 1)]


def test_a_rebalance_during_a_round_leaves_the_local_copy_alone() -> None:
    bench = Bench()

    def fail(record: Any) -> None:
        if record.topic == STATE:
            bench.generation = 2

    bench.fail = fail
    bench.run(view(0))
    assert bench.disk.kept == {}
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


@pytest.mark.parametrize(("age_ms", "times"), [(0, 1), (350, 1), (500, CROWDED)])
def test_batches_are_longer_where_popularity_alone_has_its_say(
    monkeypatch: pytest.MonkeyPatch, age_ms: float, times: int
) -> None:
    bench, asked = Bench(), []
    bench.batcher.ladder = Ladder(100)
    bench.batcher.ladder.settle(age_ms, 0)

    async def collect(most: int) -> None:
        asked.append(most)
        raise Ended

    monkeypatch.setattr(bench.batcher.queue, "collect", collect)
    with pytest.raises(Ended):
        asyncio.run(bench.batcher.run())
    assert asked == [times]


def test_a_tick_finds_the_sessions_that_wait_and_only_those() -> None:
    bench = Bench()
    bench.run(view(0), view(1, "s2", time=NOW + 50_000))
    bench.run(tick(0, NOW + 60_000))
    assert codec.decode(bench.disk.kept[(0, b"s1")], SessionState).closed
    assert not codec.decode(bench.disk.kept[(0, b"s2")], SessionState).closed


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
        first = [view(0), record("browses", 1, 0, b"s2", value), view(1, "s3")]
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


# ------------------------------------------------------------------------------------------- news of the catalogue
def lower(item: str = "i1", offset: int = 5, at: int = NOW + 5000) -> News:
    return News([Change(item, "price_drop", 0, offset, at, 10.0, 9.0, "EUR")])


def asked(bench: Bench) -> list[tuple[str, int, int]]:
    return [(each.session, each.time, each.change.offset) for each in bench.engine.noticed]


def test_news_reach_the_sessions_that_saw_the_item_and_only_those() -> None:
    bench = Bench()
    bench.run(view(0), view(1, "s2", item="i2"), view(0, "s3", partition=1))
    bench.run(lower())
    assert asked(bench) == [("s1", NOW + 5000, 5), ("s3", NOW + 5000, 5)]
    assert [entry for entry in bench.log if entry[0] == "ack"][3:] == []


def test_a_notice_is_of_the_event_clock_where_time_is_that_of_the_events() -> None:
    bench = Bench(clock="record")
    bench.run(view(0), view(1, "s2", item="i2", time=NOW + 700))
    bench.run(lower())
    assert asked(bench) == [("s1", NOW + 700, 5)]
    asyncio.run(bench.batcher.reassigned({0}))
    bench.run(tick(0, NOW + 1))
    assert asked(bench)[1:] == []  # the record is of long ago by the wall's clock


def test_what_a_notice_led_to_is_written_with_its_state_and_its_outbox_knows_no_offset() -> None:
    bench = Bench()
    bench.run(view(0))
    bench.run(lower())
    assert list(bench.appended[-1]) == [b"s1"]  # nothing is sent of it here, but the state was written


def test_news_that_concern_many_are_worked_off_batch_by_batch() -> None:
    async def story() -> None:
        bench = Bench(batch_events=4)
        await bench.batcher._round([view(n, f"s{n}") for n in range(10)])
        await bench.batcher._round([lower()])
        rounds = 1
        while len(bench.batcher.queue):
            await bench.batcher._round(await bench.batcher.queue.collect())
            rounds += 1
        assert sorted(session for session, _, _ in asked(bench)) == [f"s{n}" for n in range(10)]
        assert rounds == 3

    asyncio.run(story())


def test_a_new_owner_asks_the_sessions_it_got_about_the_last_minutes() -> None:
    bench = Bench()
    now = time.time_ns() // 1_000_000
    bench.run(view(0))
    bench.run(lower("i9", 4, now), lower("i1", 5, now), lower("i1", 6, now))
    assert len(bench.engine.noticed) == 2
    asyncio.run(bench.batcher.reassigned({0}))
    bench.run(tick(0, NOW + 1))
    assert asked(bench)[2:] == [("s1", now, 6)]


def test_a_session_that_is_gone_is_not_asked() -> None:
    bench = Bench()
    bench.run(view(0))
    bench.disk.kept.clear()
    bench.batcher._store.clear()
    bench.run(lower())
    assert asked(bench) == []


def test_a_notice_that_the_engine_fails_on_is_passed_over() -> None:
    bench = Bench()
    bench.run(view(0))
    stored = codec.decode(bench.disk.kept[(0, b"s1")], SessionState)
    saw_bad = replace(stored, history=(Step(NOW, 0, 0, "bad"), *stored.history))
    bench.batcher.noticing.watch(0, "s1", saw_bad)
    bench.run(view(1, "s2"), lower("bad", 4), lower())
    assert {offset for _, _, offset in asked(bench)} == {4, 5}
    assert bench.sent("p.dead-letters") == []
    assert codec.decode(bench.disk.kept[(0, b"s2")], SessionState).counts == (0, 1)
    assert len(bench.batcher.noticing) == 0
