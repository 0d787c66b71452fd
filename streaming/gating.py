"""What the gate is asked with, how sure a ranking is of what a prediction offers and where its session stands; and from
which chance on a precision is kept that an operator asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from index.fusion import PARTS as BLOCKS
from index.gate import Gate, Threshold
from streaming.errors import InputError
from streaming.sessions import Step

PARTS = ("counts", "neighbours", *BLOCKS)
"""As `streaming.reranking.PARTS`."""
HORIZON_EVENTS = 5
HORIZON_MS = 1_800_000
"""What a chance is of: that something comes within so many events of the session and so much time."""
OFFERS = 10
"""Items of a prediction that count: as many as are offered unless a setting says otherwise."""
CONTEXT = ("best_counts", "best_neighbours", "best_text", "log_history")
"""Features of `Raw.context`, in order."""
FEATURES = (
    "first", "any", "second_behind", "fifth_behind", "entropy",
    *(f"first_{part}" for part in PARTS),
    *CONTEXT,
    "log_gap", "acted", "searched", "repeats",
)  # fmt: skip
"""In order. `first`: log-odds of the first offer's score; `any`: those of a hit among all, were they independent;
`behind`: how much less than the first the second and the fifth have; `entropy`: of the scores, as shares; `first_`: the
weighed parts of the first offer; `log_gap`: seconds between the newest two steps; `acted`, `searched`: the newest step
is a cart or a purchase, a search; `repeats`: its subject stood in the history before."""

_LEAST = 1e-6
"""What a score is at least, and at most below 1, so that its log-odds are finite."""
_ACTED = frozenset({"cart_add", "purchase"})


def features(
    scores: Sequence[float],
    z: Sequence[float],
    parts: Sequence[float],
    context: Sequence[float],
    history: Sequence[Step],
) -> list[float]:
    """(FEATURES,) of one prediction. Some 10 us.

    Args:
        scores: probabilities of the offers, best first, at least one; those beyond `OFFERS` are left out.
        z: what the offers are ordered by.
        parts: (PARTS,) of the first offer, weighed.
        context: as `Raw.context`.
        history: of the session, oldest first.
    """
    sure = [min(max(score, _LEAST), 1 - _LEAST) for score in scores[:OFFERS]]
    none, total = 0.0, sum(sure)
    entropy = math.log(total)
    for score in sure:
        none += math.log1p(-score)
        entropy -= score / total * math.log(score)
    newest = history[-1] if history else None
    before = history[-2] if len(history) > 1 else None
    gap = 0 if newest is None or before is None else max(0, newest.time - before.time)
    subject, kind = ("", "") if newest is None else (newest.subject, newest.kind)
    return [
        math.log(sure[0] / (1 - sure[0])),
        math.log(max(-math.expm1(none), _LEAST)) - none,
        z[0] - z[min(1, len(z) - 1)],
        z[0] - z[min(4, len(z) - 1)],
        entropy,
        *parts,
        *context,
        math.log1p(gap / 1000),
        float(kind in _ACTED),
        float(kind == "search"),
        float(any(step.subject == subject for step in history[:-1])),
    ]


def threshold_of(gate: Gate, precision: float, offers: int) -> Threshold | None:
    """From which chance on a precision is kept; None: none is asked for.

    Args:
        precision: as `RuleSettings.min_precision`.
        offers: of a prediction, at most.

    Raises:
        InputError: the gate cannot keep it.
    """
    if not precision:
        return None
    asked, remedy = f"rule min_precision = {precision:g}", "or set BEFOREHAND_RULES__MIN_PRECISION to 0"
    if not gate.fitted:
        raise InputError(
            f"{asked}, but the model has no gate ({gate.model.why}), expected one that was built on more events; build "
            f"it anew on a longer past, {remedy}"
        )
    if offers < OFFERS:
        raise InputError(
            f"{asked} with {offers} offers a prediction, expected {OFFERS} or more, as where the gate's thresholds were"
            f" chosen; raise BEFOREHAND_TRIGGERS__OFFERS, {remedy}"
        )
    found = gate.threshold_for(precision)
    if found is None:
        most = max((each.precision for each in gate.thresholds), default=0.0)
        raise InputError(
            f"{asked}, expected at most {most:g}: no threshold of the model's gate kept more where it was built;"
            f" ask for less, {remedy}"
        )
    return found
