from __future__ import annotations

from streaming.ledger import Ledger
from streaming.records import IndexVersion, Prediction

NOW = 1_700_000_000_000
MINUTE = 60_000


def prediction(name: str, *, expires_at: int = NOW + 30 * MINUTE, **fields: list[str]) -> Prediction:
    return Prediction(
        prediction_id=name,
        session_id="s",
        trigger="next_item",
        items=[],
        model="m",
        index=IndexVersion(snapshot="i"),
        level="full",
        arm="treatment",
        event_time=NOW,
        made_at=NOW,
        expires_at=expires_at,
        **fields,
    )


def test_a_repeat_is_dropped_and_counted() -> None:
    ledger = Ledger()
    assert ledger.accept(prediction("a"), NOW)
    assert not ledger.accept(prediction("a"), NOW + 1)
    assert ledger.repeats == 1
    assert ledger.holds("a", NOW)


def test_what_is_over_is_dropped_and_what_holds_ends_by_itself() -> None:
    ledger = Ledger()
    assert not ledger.accept(prediction("old", expires_at=NOW), NOW)
    assert ledger.accept(prediction("new", expires_at=NOW + 1), NOW)
    assert ledger.expired == 1
    assert ledger.holds("new", NOW)
    assert not ledger.holds("new", NOW + 1)


def test_a_later_one_replaces_or_withdraws_earlier_ones() -> None:
    ledger = Ledger()
    for name in ("a", "b", "c"):
        ledger.accept(prediction(name), NOW)
    assert ledger.accept(prediction("d", supersedes=["a"], cancels=["b"]), NOW)
    assert [name for name in "abcd" if ledger.holds(name, NOW)] == ["c", "d"]
    assert ledger.withdrawn == 2


def test_what_was_withdrawn_before_it_came_is_not_given_out() -> None:
    ledger = Ledger()
    ledger.accept(prediction("cancel", cancels=["late"]), NOW)
    assert not ledger.accept(prediction("late"), NOW)
    assert not ledger.holds("late", NOW)
    assert (ledger.withdrawn, ledger.repeats) == (1, 0)


def test_a_repeat_of_what_was_withdrawn_does_not_bring_it_back() -> None:
    ledger = Ledger()
    ledger.accept(prediction("a"), NOW)
    ledger.accept(prediction("b", cancels=["a"]), NOW)
    assert not ledger.accept(prediction("a"), NOW)
    assert not ledger.holds("a", NOW)


def test_ids_are_forgotten_when_they_expire_and_not_before() -> None:
    ledger = Ledger()
    ledger.accept(prediction("a", expires_at=NOW + MINUTE), NOW)
    assert not ledger.accept(prediction("a", expires_at=NOW + MINUTE), NOW + MINUTE - 1)
    ledger.accept(prediction("b", expires_at=NOW + 60 * MINUTE), NOW + 3 * MINUTE)
    assert len(ledger) == 1


def test_memory_is_bounded_and_the_first_to_expire_goes_first() -> None:
    ledger = Ledger(max_ids=100)
    for number in range(1000):
        ledger.accept(prediction(str(number), expires_at=NOW + (number + 1) * MINUTE), NOW)
    assert len(ledger) == 100
    assert not ledger.accept(prediction("999", expires_at=NOW + 1000 * MINUTE), NOW)
    assert ledger.accept(prediction("0"), NOW)
