"""When there is something to say: the triggers, of which the one that promises most wins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from streaming import said
from streaming.moments import Due, Moment, Noticed
from streaming.ranking import Selection
from streaming.records import Item, Trigger
from streaming.sessions import INTEREST_KINDS, SessionState, in_cart, steps_of, views_of, visits, was_bought
from streaming.settings import TriggerSettings

Quiet = Literal["no_trigger", "unchanged", "no_gain", "nothing_to_offer"]
"""Why no trigger fired."""

URGENCY: Final[tuple[Trigger, ...]] = (
    "exit_intent",
    "cart_idle",
    "back_in_stock",
    "price_drop",
    "cold_start",
    "repeat_interest",
    "intent_shift",
    "next_item",
)
"""Most urgent first: of triggers that promise alike the first wins."""

VISIT_KINDS = frozenset({"view", "click"})
"""Kinds that show interest in an item and nothing more."""


@dataclass(frozen=True, slots=True)
class Fired:
    """A trigger that fired, and what it promises."""

    trigger: Trigger
    gain: float
    """How much the best offer scores above the best that the visitor still has. Of a change of the catalogue: the
    score of the item, for nothing that the visitor has tells of it."""
    marks: tuple[str, ...] = ()
    """What it says that is said once."""


def fired(
    moment: Moment,
    state: SessionState,
    selection: Selection,
    settings: TriggerSettings,
    *,
    items: Mapping[str, Item],
    shift: float | None = None,
    leaving: float | None = None,
) -> Fired | Quiet:
    """The trigger that wins, or why there is none.

    Args:
        state: after the moment, with what was said up to now.
        items: the catalogue, for the categories.
        shift: cosine of the session's vector with its slow mean; None: not known.
        leaving: probability that the visitor leaves now; None: not known.

    What is due or noticed has one trigger. Those of an event would offer the same items, so that their gains are equal
    and the most urgent wins, by `URGENCY`. `cold_start` comes with the first event and never again; `exit_intent` was
    sent at most once, and so was each interest.
    """
    event, kind = moment.event, moment.kind
    changed = selection.head is not None and said.tag(selection.head.item_id) != state.said.head
    candidates: list[Fired] = []
    if isinstance(event, Noticed):
        best = (selection.offers or selection.gone)[:1]
        candidates += [Fired(event.change.trigger, each.score) for each in best]
    elif isinstance(event, Due):
        candidates.append(Fired("cart_idle", selection.gain))
    else:
        if moment.first:
            candidates.append(Fired("cold_start", selection.gain))
        if _leaves(kind, leaving, settings) and _worth_a_word(state, settings):
            candidates += [] if said.last_time(state.said, "exit_intent") else [Fired("exit_intent", selection.gain)]
        if kind in VISIT_KINDS and event.item_id is not None:
            marks = tuple(_interests(event.item_id, state, settings, items))
            candidates += [Fired("repeat_interest", selection.gain, marks)] if marks else []
        if kind in INTEREST_KINDS and _shifted(shift, state, settings):
            candidates.append(Fired("intent_shift", selection.gain))
        if kind in INTEREST_KINDS and changed and selection.gain > 0:
            candidates.append(Fired("next_item", selection.gain))
    telling = bool(candidates) or kind in INTEREST_KINDS or isinstance(event, Noticed)
    if telling and not (selection.offers or selection.gone):
        return "nothing_to_offer"
    if candidates:
        return max(candidates, key=lambda each: (each.gain, -URGENCY.index(each.trigger)))
    if kind not in INTEREST_KINDS:
        return "no_trigger"
    return "no_gain" if changed else "unchanged"


def needs_ranking(kind: str | None, first: bool, state: SessionState, settings: TriggerSettings) -> bool:
    """Whether a trigger could fire at all; where not, nothing needs to be searched."""
    return first or kind is None or kind in INTEREST_KINDS or (kind == "exit" and _worth_a_word(state, settings))


def _leaves(kind: str | None, leaving: float | None, settings: TriggerSettings) -> bool:
    return kind == "exit" or (leaving is not None and settings.exit_leaving < 1 and leaving >= settings.exit_leaving)


def _worth_a_word(state: SessionState, settings: TriggerSettings) -> bool:
    return bool(state.cart) or views_of(state) >= settings.exit_views


def _shifted(shift: float | None, state: SessionState, settings: TriggerSettings) -> bool:
    steps, before = steps_of(state), state.said.shifted
    ready = steps >= (before + settings.shift_again if before else settings.shift_after)
    return ready and shift is not None and shift < settings.shift_cosine


def _interests(
    item_id: str, state: SessionState, settings: TriggerSettings, items: Mapping[str, Item]
) -> Iterator[str]:
    """Marks of the item and of its category, where the visitor keeps coming back to it, has nothing of it in the cart,
    and was not told of it. The cart's items are known by the history: of one that has left it only a tag is."""
    history, told = state.history, state.said
    leaf = _leaf(items.get(item_id))
    item_mark, leaf_mark = f"item\0{item_id}", f"category\0{leaf}"
    subjects = [step.subject for step in history]
    ask_item = subjects.count(item_id) >= settings.repeat_item and not said.was_said(told, item_mark)
    ask_leaf = leaf is not None and len(history) >= settings.repeat_category and not said.was_said(told, leaf_mark)
    if ask_leaf:  # before what costs more: events there, of which visits are counted further down
        leaves = [_leaf(items.get(subject)) for subject in subjects]
        ask_leaf = leaves.count(leaf) >= settings.repeat_category
    if not ask_item and not ask_leaf:
        return
    visited = Counter([step.subject for step in visits(history) if step.kind in VISIT_KINDS])
    again = ask_item and visited[item_id] >= settings.repeat_item
    if again and not in_cart(state, item_id) and not was_bought(state, item_id):
        yield item_mark
    if ask_leaf and visited.total() >= settings.repeat_category:
        met = {step.subject for step in history if step.kind != "search" and _leaf(items.get(step.subject)) == leaf}
        again = sum(visited[each] for each in met) >= settings.repeat_category
        if again and not (state.cart and any(in_cart(state, each) for each in met)):
            yield leaf_mark


def _leaf(item: Item | None) -> str | None:
    return None if item is None or item.category is None else _path(item.category)


@lru_cache(maxsize=65_536)
def _path(category: str) -> str | None:
    """A category by its whole path: leaves of one name under two branches are two."""
    return " > ".join(part.strip() for part in category.split(">")) or None
