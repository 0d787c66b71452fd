"""The forest that ranks the best once more, grown on moments whose answer is known, and what it says of moments that it
was not grown on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from index.candidates import Column
from index.forest import Features, Forest
from index.forest_fitting import ForestSettings, Lists, grow
from index.rank_metrics import kind_and_depth, values
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
    new: bool = False
    """What came is an item that hardly anybody has had."""

    def told(self) -> tuple[Features, NDArray[np.bool_]]:
        """Rows of the best that could have been offered, and which of them came."""
        kept = self.allowed[self.best.places]
        return self.best.rows[kept], self.right[self.best.places][kept]


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
    """A forest of all moments; None: too few moments. It has all the trees of the settings, unless on halves that were
    set aside fewer did surely better: where such a curve has its top is mostly chance.

    Args:
        folds: (moments,): 0 or 1. Moments of one session belong into one fold.
    """
    answered = np.array([(moment.right & moment.allowed)[moment.best.places].any() for moment in asked])
    if not asked or np.bincount(folds[answered], minlength=2).min() < LEAST // 2:
        return None
    lists = _lists([moment for moment, has in zip(asked, answered.tolist(), strict=True) if has], settings.new_items)
    halves = [lists.some(folds[answered] == fold) for fold in (0, 1)]
    grown = [grow(halves[1 - fold], RISING, settings, aside=halves[fold], names=FEATURES) for fold in (0, 1)]
    trees = _enough([each.forest for each in grown], halves, np.mean([each.ndcg_10 for each in grown], axis=0))
    whole = grow(lists, RISING, replace(settings, trees=trees), names=FEATURES)
    # Of as many trees as the one that is served: with more or fewer, scores would be of another scale than its.
    apart = [each.forest.first(trees) for each in grown]
    out_of_fold = [
        reordered(moment.z, moment.best.places, moment.best.rows, apart[fold])
        for moment, fold in zip(asked, folds.tolist(), strict=True)
    ]
    return ForestChoice(
        whole.forest, out_of_fold, {f"forest, half {n + 1}": each.ndcg_10 for n, each in enumerate(grown)}
    )


def _lists(asked: Sequence[Asked], new_items: float) -> Lists:
    """Of moments that have what came among their best: no others teach anything, and they are most of the memory."""
    rows, right = zip(*(moment.told() for moment in asked), strict=True)
    sizes = np.array([len(each) for each in right], np.int64)
    counts = None if new_items == 1 else np.array([new_items if each.new else 1.0 for each in asked], np.float32)
    return Lists(np.concatenate(rows), sizes, np.concatenate(right), counts)


def _enough(grown: Sequence[Forest], halves: Sequence[Lists], curve: Column) -> int:
    """How many trees are kept of those that were grown: all, unless the top of the curve is better by more than twice
    the standard error of the difference.

    Args:
        grown: by fold, a forest that did not see that half.
        curve: (trees,): what is gained on both.
    """
    best, every = int(np.argmax(curve)) + 1, len(curve)
    less = np.concatenate(
        [
            _ndcg_10(forest.first(best), half) - _ndcg_10(forest, half)
            for forest, half in zip(grown, halves, strict=True)
        ]
    )
    return best if less.mean() > 2 * less.std() / np.sqrt(len(less)) else every


def _ndcg_10(forest: Forest, lists: Lists) -> Column:
    """(rankings,)"""
    starts = np.concatenate([[0], np.cumsum(lists.sizes)])
    scores = forest.scores(lists.rows).astype(np.float32)[:, None]
    every, wanted = np.arange(len(lists.sizes)), np.add.reduceat(lists.right.astype(np.int64), starts[:-1])
    return values(scores, starts, lists.right.view(np.uint8), wanted, np.ones(1), *kind_and_depth("ndcg_10"), every)
