"""What is appended with the states, and what the next owner of a partition makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streaming import codec
from streaming.exits import Exit
from streaming.outbox import size
from streaming.records import Learned
from streaming.sessions import SessionState
from streaming.topics import OUTBOX_KEY
from tests.streaming.batch_bench import Bench, Ended, ends_raise, view


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Exit]:
    """Codes with which the process would have ended."""
    return ends_raise(monkeypatch)


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
