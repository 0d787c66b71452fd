from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streaming.ranking import Candidate, Selection
from streaming.said import NOTHING, TRIGGERS, tag
from streaming.sessions import FRESH, SessionState
from streaming.settings import TriggerSettings
from streaming.triggers import Fired, fired, needs_ranking

SETTINGS = TriggerSettings()
TEA = Candidate("tea", 0.6)
SOMETHING = Selection([TEA], [], TEA, live=0.0)
NOTHING_LEFT = Selection([], [], None, live=0.0)


def state(**fields: Any) -> SessionState:
    told = msgspec.structs.replace(NOTHING, **fields.pop("said", {}))
    return msgspec.structs.replace(FRESH, said=told, **fields)


def sent_before(trigger: str) -> dict[str, Any]:
    return {"triggered": tuple(int(name == trigger) for name in TRIGGERS)}


FULL_CART = state(cart=b"12345")


@pytest.mark.parametrize(
    ("kind", "first", "before", "selection", "expected"),
    [
        ("view", True, FRESH, SOMETHING, "cold_start"),
        ("impression", True, FRESH, SOMETHING, "cold_start"),
        ("exit", True, state(opened=2), SOMETHING, "exit_intent"),
        ("view", True, FRESH, NOTHING_LEFT, "nothing_to_offer"),
        ("view", True, FRESH, Selection([], [TEA], TEA, 0.0), "cold_start"),
        ("view", False, FRESH, SOMETHING, "next_item"),
        ("search", False, FRESH, SOMETHING, "next_item"),
        ("view", False, state(said={"head": tag("tea")}), SOMETHING, "unchanged"),
        ("view", False, state(said={"head": tag("mug")}), SOMETHING, "next_item"),
        ("view", False, FRESH, Selection([TEA], [], TEA, live=0.6), "no_gain"),
        ("view", False, FRESH, NOTHING_LEFT, "nothing_to_offer"),
        ("view", False, FRESH, Selection([], [], TEA, live=0.0), "nothing_to_offer"),
        ("cart_remove", False, FRESH, SOMETHING, "no_trigger"),
        ("exit", False, FRESH, SOMETHING, "no_trigger"),
        ("exit", False, state(opened=1), SOMETHING, "no_trigger"),
        ("exit", False, state(opened=2), SOMETHING, "exit_intent"),
        ("exit", False, state(left=2), SOMETHING, "exit_intent"),
        ("exit", False, FULL_CART, SOMETHING, "exit_intent"),
        ("exit", False, state(opened=2, said=sent_before("exit_intent")), SOMETHING, "no_trigger"),
        (None, False, FULL_CART, SOMETHING, "cart_idle"),
        (None, False, FULL_CART, NOTHING_LEFT, "nothing_to_offer"),
    ],
)
def test_who_fires(kind: str | None, first: bool, before: SessionState, selection: Selection, expected: str) -> None:
    outcome = fired(kind, first, before, selection, SETTINGS)
    assert (outcome.trigger if isinstance(outcome, Fired) else outcome) == expected


def test_a_trigger_promises_the_gain_over_what_is_live() -> None:
    outcome = fired("view", False, FRESH, Selection([TEA], [], TEA, live=0.25), SETTINGS)
    assert outcome == Fired("next_item", pytest.approx(0.35))


@pytest.mark.parametrize(
    ("kind", "first", "before", "needed"),
    [
        ("view", False, FRESH, True),
        ("impression", True, FRESH, True),
        ("impression", False, FRESH, False),
        ("cart_remove", False, FULL_CART, False),
        ("exit", False, FRESH, False),
        ("exit", False, FULL_CART, True),
        (None, False, FULL_CART, True),
    ],
)
def test_nothing_is_searched_where_nothing_can_fire(
    kind: str | None, first: bool, before: SessionState, needed: bool
) -> None:
    assert needs_ranking(kind, first, before, SETTINGS) is needed
    if not needed:
        assert not isinstance(fired(kind, first, before, SOMETHING, SETTINGS), Fired)
