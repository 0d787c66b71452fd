"""Which sessions are asked about a change, and within which bounds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from streaming import noticing as module
from streaming import said
from streaming.changes import Change
from streaming.noticing import RECENT_MS, Noticing
from streaming.sessions import FRESH, SessionState, Step

NOW = 1_700_000_000_000


def saw(*items: str, cart: str | None = None, **fields: Any) -> SessionState:
    history = tuple(Step(NOW + n, n, 0, item) for n, item in enumerate(items))
    return replace(FRESH, last_time=NOW, history=history, cart=said.tag(cart) if cart else b"", **fields)


def change(item: str, at: int = NOW + 1000, offset: int = 0) -> Change:
    return Change(item, "price_drop", 0, offset, at, 10.0, 9.0 - offset, "EUR")


def asked(noticing: Noticing, *items: str) -> list[str]:
    noticing.heard([change(item) for item in items])
    return [waiting.session for waiting in noticing.take(1000)]


def test_who_saw_it_or_has_it_in_the_cart_is_asked() -> None:
    noticing = Noticing(10)
    noticing.watch(0, "viewer", saw("tea", "mug"))
    noticing.watch(1, "buyer", saw("pot", cart="tea"))
    noticing.watch(1, "other", saw("pot"))
    assert asked(noticing, "tea") == ["viewer", "buyer"]
    assert asked(noticing, "nothing") == []
    assert noticing.watched == 3


def test_a_session_is_asked_for_what_it_has_now() -> None:
    noticing = Noticing(10)
    noticing.watch(0, "s", saw("tea"))
    noticing.watch(0, "s", saw("mug"))
    assert asked(noticing, "tea", "mug") == ["s"]
    noticing.watch(0, "s", saw("mug", closed=True))
    assert asked(noticing, "mug") == []
    noticing.watch(0, "s", saw("mug"))
    noticing.watch(0, "s", None)
    assert asked(noticing, "mug") == []
    assert (noticing.watched, noticing._by_item) == (0, {})


def test_searches_are_no_items() -> None:
    noticing = Noticing(10)
    noticing.watch(0, "s", replace(FRESH, history=(Step(NOW, 0, 2, "tea"),)))
    assert asked(noticing, "tea") == []


def test_the_sessions_met_last_are_kept() -> None:
    noticing = Noticing(2)
    for name in ("a", "b", "a", "c"):
        noticing.watch(0, name, saw("tea"))
    assert asked(noticing, "tea") == ["a", "c"]
    off = Noticing(0)
    off.watch(0, "a", saw("tea"))
    off.swept(0, "a", saw("tea"), NOW)
    assert asked(off, "tea") == []


def test_what_came_from_another_worker_is_asked_about_the_last_minutes() -> None:
    noticing = Noticing(10)
    old, new = change("tea", NOW + 1000), change("mug", NOW + 300_000)
    noticing.heard([old, new])
    assert noticing.take(10) == []
    noticing.swept(0, "s", saw("tea", "mug"), NOW + RECENT_MS + 2000)
    assert [waiting.change for waiting in noticing.take(10)] == [new]
    noticing.swept(0, "told", saw("mug", said=said.after_marking(said.NOTHING, [new.mark])), NOW + 300_000)
    noticing.swept(0, "saw it", later("mug"), NOW + 300_000)
    assert noticing.take(10) == []


def later(item: str) -> SessionState:
    """Saw the item after its price had fallen."""
    return replace(FRESH, last_time=NOW, history=(Step(NOW + 400_000, 0, 0, item),))


def test_a_sweep_does_not_put_back_an_older_state() -> None:
    noticing = Noticing(10)
    noticing.watch(0, "s", saw("mug"))
    noticing.swept(0, "s", saw("tea"), NOW)
    assert asked(noticing, "tea", "mug") == ["s"]


def test_an_assignment_that_ends_takes_sessions_and_notices_and_leaves_the_changes() -> None:
    noticing = Noticing(10)
    noticing.watch(0, "s", saw("tea"))
    noticing.heard([change("tea")])
    noticing.clear()
    assert (len(noticing), noticing.watched) == (0, 0)
    noticing.swept(0, "s", saw("tea"), NOW)
    assert len(noticing) == 1


def test_what_waits_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    monkeypatch.setattr(module, "RECENT", 2)
    noticing = Noticing(100)
    for n in range(5):
        noticing.watch(0, f"s{n}", saw("tea"))
    noticing.heard([change("tea")])
    assert (len(noticing), noticing.dropped) == (3, 2)
    assert [waiting.session for waiting in noticing.take(2)] == ["s0", "s1"]
    noticing.put_back(noticing.take(1)[0])
    assert len(noticing) == 1
    noticing.heard([change(f"i{n}") for n in range(5)])
    assert len(noticing._recent) == 2


def test_the_index_is_that_of_the_states_whatever_happened() -> None:
    draw = random.Random(3)
    noticing, states = Noticing(1000), {}
    for _ in range(2000):
        name = f"s{draw.randrange(40)}"
        states[name] = saw(*draw.sample("abcdefgh", draw.randrange(4)), closed=draw.random() < 0.1)
        noticing.watch(0, name, states[name])
    for item in "abcdefgh":
        holders = {n for n, s in states.items() if not s.closed and item in [step.subject for step in s.history]}
        assert set(asked(noticing, item)) == holders
