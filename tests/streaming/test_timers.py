from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming import timers as module
from streaming.timers import Timers


def test_takes_what_waited_up_to_now_earliest_first() -> None:
    timers = Timers()
    for session, due in (("c", 300), ("a", 100), ("b", 200)):
        timers.put(0, session, due)
    assert timers.take(0, 200) == ["a", "b"]
    assert timers.take(0, 200) == []
    assert timers.take(0, 300) == ["c"]


def test_a_session_waits_once_at_its_earliest_time() -> None:
    timers = Timers()
    timers.put(0, "a", 100)
    timers.put(0, "a", 500)  # a later event moved it on: whoever takes it out asks the state
    assert len(timers) == 1
    assert timers.take(0, 100) == ["a"]
    timers.put(0, "a", 500)
    timers.put(0, "a", 50)
    assert timers.take(0, 60) == ["a"]
    assert timers.take(0, 1000) == []  # the entry at 500 was of the same wait


def test_partitions_are_apart_and_none_waits_for_nothing() -> None:
    timers = Timers()
    timers.put(0, "a", None)
    timers.put(1, "b", 1)
    assert timers.take(0, 10) == []
    assert timers.take(1, 10) == ["b"]


def test_a_sweep_looks_at_a_bounded_piece_on_each_tick(monkeypatch: object) -> None:
    monkeypatch.setattr(module, "SWEEP", 2)  # type: ignore[attr-defined]
    timers, seen = Timers(), []

    def states() -> object:
        for session in "abcde":
            seen.append(session)
            yield session, 1

    timers.sweep(0, states())  # type: ignore[arg-type]
    assert seen == []
    assert timers.take(0, 5) == ["a", "b"]
    assert seen == ["a", "b"]
    assert timers.take(0, 5) == ["c", "d"]
    assert timers.take(0, 5) == ["e"]
    assert timers.take(0, 5) == []
    assert seen == list("abcde")


def test_takes_a_bounded_number_on_one_tick(monkeypatch: object) -> None:
    monkeypatch.setattr(module, "TAKEN", 3)  # type: ignore[attr-defined]
    timers = Timers()
    for number in range(5):
        timers.put(0, str(number), number)
    assert [timers.take(0, 9), timers.take(0, 9)] == [["0", "1", "2"], ["3", "4"]]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 50)), max_size=40))
def test_nobody_is_forgotten_or_taken_early(puts: list[tuple[str, int]]) -> None:
    timers, earliest = Timers(), dict[str, int]()
    for session, due in puts:
        timers.put(0, session, due)
        earliest[session] = min(due, earliest.get(session, due))
    for now in range(51):
        assert set(timers.take(0, now)) == {session for session, due in earliest.items() if due == now}
    assert len(timers) == 0
