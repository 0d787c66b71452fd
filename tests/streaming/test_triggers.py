from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest

from streaming.changes import Change
from streaming.intake import Event, Source
from streaming.moments import Due, Moment, Noticed
from streaming.ranking import Candidate, Selection
from streaming.records import Item
from streaming.said import NOTHING, TRIGGERS, tag
from streaming.sessions import FRESH, KINDS, LEFT, SessionState, Step
from streaming.settings import TriggerSettings
from streaming.triggers import URGENCY, Fired, Quiet, fired, needs_ranking

SETTINGS = TriggerSettings()
TEA = Candidate("tea", 0.6)
SOMETHING = Selection([TEA], [], TEA, live=0.0)
NOTHING_LEFT = Selection([], [], None, live=0.0)


def state(**fields: Any) -> SessionState:
    told = msgspec.structs.replace(NOTHING, **fields.pop("said", {}))
    return msgspec.structs.replace(FRESH, said=told, **fields)


def sent_before(trigger: str) -> dict[str, Any]:
    return {"triggered": struct.pack("<8I", *(int(name == trigger) for name in TRIGGERS)), "sent_at": 5}


def asked(
    kind: str | None,
    first: bool,
    before: SessionState,
    selection: Selection,
    item_id: str | None = "tea",
    items: dict[str, Item] | None = None,
    **given: Any,
) -> Fired | Quiet:
    """`fired` at an event of this kind; None: at a due time."""
    event = Due("s", 5) if kind is None else Event(Source(0, 0, 0, 0), "s", None, kind, 5, item_id)
    return fired(Moment(event, before, 5, None, kind, first), before, selection, SETTINGS, items=items or {}, **given)


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
    outcome = asked(kind, first, before, selection)
    assert (outcome.trigger if isinstance(outcome, Fired) else outcome) == expected


def test_a_trigger_promises_the_gain_over_what_is_live() -> None:
    outcome = asked("view", False, FRESH, Selection([TEA], [], TEA, live=0.25))
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
        assert not isinstance(asked(kind, first, before, SOMETHING), Fired)


def test_every_trigger_has_its_urgency() -> None:
    assert sorted(URGENCY) == sorted(TRIGGERS)


# ---------------------------------------------------------------------------------------------------- repeat_interest
def history(*told: str) -> tuple[Step, ...]:
    """Steps in words: `view tea`, `left tea`."""
    steps = []
    for n, words in enumerate(told):
        kind, item = words.split()
        steps.append(Step(n, n, LEFT if kind == "left" else KINDS.index(kind), item))
    return tuple(steps)


SHELF = {name: Item(item_id=name, title=name, category="Kitchen > Tea") for name in ("tea", "t1", "t2", "t3")}
SHELF |= {"mug": Item(item_id="mug", title="mug", category="Kitchen > Mugs"), "bare": Item(item_id="bare", title="b")}


@pytest.mark.parametrize(
    ("steps", "fires"),
    [
        (["view tea"] * 2, False),
        (["view tea"] * 3, True),
        (["left tea"] * 3, True),
        (["click tea"] * 3, True),
        (["view tea", "left tea"] * 2, False),  # two visits
        (["view tea", "left tea"] * 3, True),
        (["click tea", "view tea", "left tea", "click tea", "view tea"], False),
        (["view tea", "view mug", "view tea", "view mug", "view tea"], True),
        (["view tea", "view tea", "cart_add tea", "view tea"], True),  # the cart itself is asked below
        (["view tea", "view tea", "search tea"], False),
        (["view tea", "view t1", "view t2", "view t3"], False),
        (["view tea", "view t1", "view t2", "view t3", "view t1"], True),
        (["view t1", "view t2", "view t3", "view t1", "view mug", "view mug"], False),
    ],
)
def test_an_interest_shows_by_visits(steps: list[str], fires: bool) -> None:
    before = state(history=history(*steps), said={"head": tag("tea")})
    outcome = asked("view", False, before, SOMETHING, items=SHELF, item_id="mug" if steps[-1] == "view mug" else "tea")
    assert isinstance(outcome, Fired) == fires
    if isinstance(outcome, Fired):
        assert outcome.trigger == "repeat_interest"


def test_an_interest_is_in_the_item_of_the_event() -> None:
    before = state(history=history(*["view tea"] * 3, "view mug"), said={"head": tag("tea")})
    assert asked("view", False, before, SOMETHING, "mug", SHELF) == "unchanged"
    assert asked("view", False, before, SOMETHING, "bare", SHELF) == "unchanged"


def test_what_is_in_the_cart_is_no_interest() -> None:
    three = history(*["view tea"] * 3)
    assert (
        asked("view", False, state(history=three, cart=tag("tea"), said={"head": tag("tea")}), SOMETHING) == "unchanged"
    )
    assert isinstance(asked("view", False, state(history=three, cart=tag("mug")), SOMETHING), Fired)
    five = history("view tea", "view t1", "view t2", "view t3", "view t1")
    held = state(history=five, cart=tag("t2"), said={"head": tag("tea")})
    assert asked("view", False, held, SOMETHING, items=SHELF) == "unchanged"


def test_an_interest_is_told_once_an_item_and_once_a_category() -> None:
    five = state(history=history("view tea", "view tea", "view tea", "view t2", "view t3"))
    outcome = asked("view", False, five, SOMETHING, items=SHELF)
    assert isinstance(outcome, Fired)
    assert outcome.marks == ("item\0tea", "category\0Kitchen > Tea")


# ------------------------------------------------------------------------------------------------------- intent_shift
@pytest.mark.parametrize(
    ("shift", "deeds", "shifted", "fires"),
    [
        (0.49, 3, 0, True),
        (0.5, 3, 0, False),
        (-1.0, 2, 0, False),
        (None, 9, 0, False),
        (0.1, 7, 3, False),
        (0.1, 8, 3, True),
    ],
)
def test_a_shift_of_intent(shift: float | None, deeds: int, shifted: int, fires: bool) -> None:
    before = state(deeds=deeds, said={"head": tag("tea"), "shifted": shifted})
    outcome = asked("click", False, before, SOMETHING, shift=shift)
    assert outcome == (Fired("intent_shift", 0.6) if fires else "unchanged")


# ------------------------------------------------------------------------------------------------- what the shop does
@pytest.mark.parametrize("name", ["price_drop", "back_in_stock"])
def test_a_change_of_the_catalogue_promises_what_the_item_scores(name: Any) -> None:
    noticed = Noticed("s", 5, Change("tea", name, 0, 1, 5, 10.0, 9.0, "EUR"))
    moment = Moment(noticed, FRESH, 5)
    for selection, expected in (
        (Selection([TEA], [], TEA, live=0.9), Fired(name, 0.6)),
        (Selection([], [TEA], TEA, live=0.9), Fired(name, 0.6)),
        (NOTHING_LEFT, "nothing_to_offer"),
    ):
        assert fired(moment, FRESH, selection, SETTINGS, items={}) == expected
