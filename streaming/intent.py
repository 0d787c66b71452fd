"""What a visitor is about to do, by counters that the session's state keeps: buy something still, leave now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from index.logistic import Logistic
from streaming.records import Intent
from streaming.said import DAY_MS
from streaming.sessions import SessionState, cart_tags, views_of

HEADS: Final = ("purchase", "leaving")
"""As fields of `Intent`: a purchase is still to come in this session; nothing but an `exit` is."""
FEATURES: Final = (
    "log_views", "log_deeds", "cart", "log_cart", "bought", "first",
    "log_since_start", "log_gap", "log_mean_gap", "distinct", "again",
    "click", "search", "cart_add", "purchase", "exit",
    "hour_sin", "hour_cos",
)  # fmt: skip
"""In order. `deeds`: other events of interest than views; `cart`, `bought`: whether there is any; `gap`: seconds
between the newest two events of interest; `distinct`: share of the history that is of different items; `again`: the
newest stood in it before; then the event's kind, where it is no view. Hours are those of UTC: another zone turns the
two by an angle, and so a model by its slopes."""

_KINDS = ("click", "search", "cart_add", "purchase", "exit")


def features(state: SessionState, kind: str) -> list[float]:
    """(FEATURES,) after an event of this kind, which the state has in it. Some 10 us."""
    history = state.history
    subjects = [step.subject for step in history]
    cart = len(cart_tags(state))
    span = max(0, history[-1].time - history[0].time) / 1000 if history else 0.0
    gap = max(0, history[-1].time - history[-2].time) / 1000 if len(history) > 1 else 0.0
    angle = 2 * math.pi * (state.last_time % DAY_MS) / DAY_MS
    return [
        math.log1p(views_of(state)),
        math.log1p(state.deeds),
        float(cart > 0),
        math.log1p(cart),
        float(bool(state.bought)),
        float(views_of(state) + state.deeds <= 1),
        math.log1p(max(0, state.last_time - state.first_time) / 1000),
        math.log1p(gap),
        math.log1p(span / max(1, len(history) - 1)),
        len(set(subjects)) / max(1, len(subjects)),
        float(subjects[-1] in subjects[:-1]) if subjects else 0.0,
        *(float(kind == each) for each in _KINDS),
        math.sin(angle),
        math.cos(angle),
    ]


def intent_of(heads: Mapping[str, Logistic], state: SessionState, kind: str) -> Intent | None:
    """What the heads say after an event; None: there are none.

    Args:
        heads: by name; one that was not fitted says nothing.
    """
    able = {name: head for name, head in heads.items() if head.fitted}
    if not able:
        return None
    row = features(state, kind)
    return Intent(**{name: head.probability(row) for name, head in able.items()})


def heads_of(told: Mapping[str, Any]) -> dict[str, Logistic]:
    """The heads as a manifest has them.

    Raises:
        ValueError: one is nothing of the kind.
    """
    return {name: Logistic.from_dict(told[name], FEATURES) for name in HEADS if name in told}
