"""When there is something to say: the triggers, of which the one that promises most wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streaming import said
from streaming.ranking import Selection
from streaming.records import Trigger
from streaming.said import TRIGGERS
from streaming.sessions import INTEREST_KINDS, SessionState, views_of
from streaming.settings import TriggerSettings

Quiet = Literal["no_trigger", "unchanged", "no_gain", "nothing_to_offer"]
"""Why no trigger fired."""


@dataclass(frozen=True, slots=True)
class Fired:
    """A trigger that fired, and what it promises."""

    trigger: Trigger
    gain: float
    """How much the best offer scores above the best that the visitor still has."""


def fired(
    kind: str | None, first: bool, state: SessionState, selection: Selection, settings: TriggerSettings
) -> Fired | Quiet:
    """The trigger that wins, or why there is none.

    Args:
        kind: the event's; None: a cart has been idle for long enough.
        first: it is the session's first event.

    All triggers would offer the same items, so that their gains are equal for now and the most urgent one wins, in the
    order of `TRIGGERS`. `cold_start` comes with the first event and never again; `exit_intent` was sent at most once.
    """
    candidates: list[Trigger] = []
    if kind is None:
        candidates.append("cart_idle")
    if first:
        candidates.append("cold_start")
    if kind == "exit" and _worth_a_word(state, settings) and not said.last_time(state.said, "exit_intent"):
        candidates.append("exit_intent")
    changed = selection.head is not None and said.tag(selection.head.item_id) != state.said.head
    if kind in INTEREST_KINDS and changed and selection.gain > 0:
        candidates.append("next_item")
    if candidates and not (selection.offers or selection.gone):
        return "nothing_to_offer"
    if candidates:
        promises = [Fired(trigger, selection.gain) for trigger in candidates]
        return max(promises, key=lambda promise: (promise.gain, -TRIGGERS.index(promise.trigger)))
    if kind not in INTEREST_KINDS:
        return "no_trigger"
    if not (selection.offers or selection.gone):
        return "nothing_to_offer"
    return "no_gain" if changed else "unchanged"


def needs_ranking(kind: str | None, first: bool, state: SessionState, settings: TriggerSettings) -> bool:
    """Whether a trigger could fire at all; where not, nothing needs to be searched."""
    return first or kind is None or kind in INTEREST_KINDS or (kind == "exit" and _worth_a_word(state, settings))


def _worth_a_word(state: SessionState, settings: TriggerSettings) -> bool:
    return bool(state.cart) or views_of(state) >= settings.exit_views
