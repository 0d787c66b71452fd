"""The forest that ranks the best once more, grown on moments whose answer is known, and what it says of moments that it
was not grown on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from index.candidates import Column
from index.forest import Forest
from index.forest_fitting import ForestSettings, Grown, Lists, grow
from streaming.reranking import FEATURES, RISING, Shortlist, reordered

LEAST = 200
"""Moments with an answer among their candidates below which no forest is grown."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One moment with its candidates."""

    z: Column
    """(m,): sums of weighed parts."""
    best: Shortlist
    allowed: NDArray[np.bool_]
    """(m,): which could have been offered."""
    right: NDArray[np.bool_]
    """(m,): which came."""


@dataclass(frozen=True, slots=True)
class ForestChoice:
    """What came of growing."""

    forest: Forest
    """Grown on all moments."""
    out_of_fold: list[Column]
    """Of each moment, (m,): what its candidates are ordered by, by a forest that did not see its fold."""
    ndcg_10: dict[str, list[float]] = field(default_factory=dict)
    """By fold, after each tree, on the fold that was set aside."""


def grow_forest(asked: Sequence[Asked], folds: NDArray[np.uint8], settings: ForestSettings) -> ForestChoice | None:
    """A forest of all moments, of as many trees as did best on halves that were set aside; None: too few moments.

    Args:
        folds: (moments,): 0 or 1. Moments of one session belong into one fold.
    """
    lists = _lists(asked)
    halves = [lists.some(folds == fold) for fold in (0, 1)]
    if min(len(half.answered().sizes) for half in halves) < LEAST // 2:
        return None
    grown = [grow(halves[1 - fold], RISING, settings, aside=halves[fold], names=FEATURES) for fold in (0, 1)]
    settled = replace(settings, trees=max(1, round(sum(each.trees for each in grown) / 2)))
    whole = grow(lists, RISING, settled, names=FEATURES)
    # Of as many trees as the one that is served: with more or fewer, scores would be of another scale than its.
    apart = [grow(halves[1 - fold], RISING, settled, names=FEATURES).forest for fold in (0, 1)]
    out_of_fold = [
        reordered(moment.z, moment.best.places, moment.best.rows, apart[fold])
        for moment, fold in zip(asked, folds.tolist(), strict=True)
    ]
    return ForestChoice(
        whole.forest, out_of_fold, {f"forest, half {n + 1}": _curve(each) for n, each in enumerate(grown)}
    )


def _lists(asked: Sequence[Asked]) -> Lists:
    kept = [moment.allowed[moment.best.places] for moment in asked]
    return Lists(
        np.concatenate([moment.best.rows[chosen] for moment, chosen in zip(asked, kept, strict=True)]),
        np.array([int(chosen.sum()) for chosen in kept], np.int64),
        np.concatenate([moment.right[moment.best.places][chosen] for moment, chosen in zip(asked, kept, strict=True)]),
    )


def _curve(grown: Grown) -> list[float]:
    return grown.ndcg_10[: grown.trees]
