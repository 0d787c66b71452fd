from __future__ import annotations

import struct
from typing import Any, get_args

import msgspec
import pytest

from index.gate import Threshold
from streaming.ranking import Candidate, Selection
from streaming.records import Arm, Rule
from streaming.rules import held_back
from streaming.said import NOTHING, TRIGGERS
from streaming.sessions import FRESH, SessionState
from streaming.settings import RuleSettings
from streaming.triggers import Fired

NOW = 1_700_000_000_000
DAY = 19_675
TEA = Candidate("tea", 0.6)
OFFERS = Selection([TEA], [], TEA, live=0.59)
GONE = Selection([], [TEA], TEA, live=0.59)
FIRED = Fired("next_item", 0.01)

BLOCKED = msgspec.structs.replace(
    FRESH,
    consent=(0, 0, 0, False),
    said=msgspec.structs.replace(
        NOTHING,
        sent_at=NOW - 1000,
        expires_at=NOW + 1000,
        triggered=struct.pack("<8I", *(int(name == "next_item") for name in TRIGGERS)),
        day=DAY,
        today=50,
    ),
)
"""A state that every rule but the last two objects to."""


def told(state: SessionState, **changes: Any) -> SessionState:
    return msgspec.structs.replace(state, said=msgspec.structs.replace(state.said, **changes))


def asked(
    state: SessionState, selection: Selection = OFFERS, fired: Fired = FIRED, arm: Arm = "holdout", **rules: Any
) -> str | None:
    held = held_back(fired, state, selection, NOW, DAY, arm, RuleSettings(**rules))
    assert held is None or held.detail
    return held.rule if held else None


def test_the_rules_are_asked_in_the_order_of_the_contract() -> None:
    state, selection, fired, found = BLOCKED, GONE, FIRED, []
    found.append(asked(state, selection))
    state = msgspec.structs.replace(state, consent=None)
    found.append(asked(state, selection))
    selection = OFFERS
    found.append(asked(state, selection))
    state = told(state, triggered=NOTHING.triggered)
    found.append(asked(state, selection))
    state = told(state, sent_at=NOW - 20_000)
    found.append(asked(state, selection))
    state = told(state, today=49)
    found.append(asked(state, selection))
    fired = Fired("next_item", 0.02)
    threshold = Threshold(0.3, 0.25, 0.5)
    held = held_back(
        fired, state, selection, NOW, DAY, "holdout", RuleSettings(holdout_percent=100), chance=0.2, threshold=threshold
    )
    assert held is not None
    found.append(held.rule)
    found.append(asked(state, selection, fired, holdout_percent=100))
    assert tuple(found) == get_args(Rule)
    assert asked(state, selection, fired, arm="treatment") is None


@pytest.mark.parametrize(
    ("chance", "threshold", "expected"),
    [(0.2499, 0.25, "unsure"), (0.25, 0.25, None), (0.1, None, None), (None, 0.25, None)],
)
def test_what_is_under_its_threshold_is_unsure(
    chance: float | None, threshold: float | None, expected: str | None
) -> None:
    least = None if threshold is None else Threshold(0.3, threshold, 0.5)
    sure, rules = Fired("next_item", 0.02), RuleSettings()
    held = held_back(sure, FRESH, OFFERS, NOW, DAY, "treatment", rules, chance=chance, threshold=least)
    assert (held.rule if held else None) == expected
    if held:
        assert held.detail == "a chance of 0.2499, under 0.2500 for 0.3"


@pytest.mark.parametrize(
    ("consent", "assumed", "expected"),
    [(None, True, None), (None, False, "no_consent"), (True, False, None), (False, True, "no_consent")],
)
def test_consent_is_what_was_said_last_else_what_is_assumed(
    consent: bool | None, assumed: bool, expected: str | None
) -> None:
    state = FRESH if consent is None else msgspec.structs.replace(FRESH, consent=(0, 0, 0, consent))
    assert asked(state, arm="treatment", assume_consent=assumed) == expected


def test_a_late_event_does_not_slip_through_the_quiet_interval() -> None:
    assert asked(told(FRESH, sent_at=NOW + 60_000), arm="treatment") == "quiet"


def test_each_trigger_cools_down_for_itself() -> None:
    state = msgspec.structs.replace(BLOCKED, consent=None)
    rules: dict[str, Any] = {"daily_cap": 100, "quiet_ms": 0, "arm": "treatment"}
    assert asked(state, fired=Fired("next_item", 1.0), **rules) == "trigger_cooldown"
    assert asked(state, fired=Fired("exit_intent", 1.0), **rules) is None


def test_where_nothing_is_live_no_gain_is_too_little() -> None:
    assert asked(told(FRESH, expires_at=NOW), arm="treatment") is None
    assert asked(told(FRESH, expires_at=NOW + 1), arm="treatment") == "small_gain"


def test_the_cap_is_of_one_day() -> None:
    assert asked(told(FRESH, day=DAY - 1, today=50), arm="treatment") is None
    assert asked(told(FRESH, day=DAY, today=50), arm="treatment") == "daily_cap"
    assert asked(told(FRESH, day=DAY, today=50), arm="treatment", daily_cap=51) is None
