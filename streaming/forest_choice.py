"""The forest that ranks the best once more, grown on moments whose answer is known, and what it says of moments that it
was not grown on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from index.candidates import Column
from index.forest import Features, Forest, Scores
from index.forest_fitting import ForestSettings, Lists, grow
from index.rank_metrics import kind_and_depth, values
from streaming.reranking import AT, FEATURES, RISING, Shortlist, reordered

LEAST = 200
"""Moments with an answer among their candidates below which no forest is grown."""
LIFTS = np.arange(1, 121) / 40
"""What may be added to the scores of items that nobody has had."""
NOBODY = 0.5
"""At most so much is `log_seen` of an item that nobody has had."""


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
    set aside fewer did surely better: where such a curve has its top is mostly chance. Where something may be given up
    for items that nobody has had, one tree more lifts them as far as that allows on those halves.

    Args:
        folds: (moments,): 0 or 1. Moments of one session belong into one fold.
    """
    answered = np.array([(moment.right & moment.allowed)[moment.best.places].any() for moment in asked])
    if not asked or np.bincount(folds[answered], minlength=2).min() < LEAST // 2:
        return None
    lists = _lists([moment for moment, has in zip(asked, answered.tolist(), strict=True) if has])
    halves = [lists.some(folds[answered] == fold) for fold in (0, 1)]
    grown = [grow(halves[1 - fold], RISING, settings, aside=halves[fold], names=FEATURES) for fold in (0, 1)]
    trees = _enough([each.forest for each in grown], halves, np.mean([each.ndcg_10 for each in grown], axis=0))
    # Of as many trees as the one that is served: with more or fewer, scores would be of another scale than its.
    apart = [each.forest.first(trees) for each in grown]
    forest = grow(lists, RISING, replace(settings, trees=trees), names=FEATURES).forest
    if lift := _lift(apart, halves, settings.given_up):
        forest, *apart = [each.raised(AT.log_seen, NOBODY, lift) for each in (forest, *apart)]
    out_of_fold = [
        reordered(moment.z, moment.best.places, moment.best.rows, apart[fold])
        for moment, fold in zip(asked, folds.tolist(), strict=True)
    ]
    return ForestChoice(forest, out_of_fold, {f"forest, half {n + 1}": each.ndcg_10 for n, each in enumerate(grown)})


def _lists(asked: Sequence[Asked]) -> Lists:
    """Of moments that have what came among their best: no others teach anything, and they are most of the memory."""
    rows, right = zip(*(moment.told() for moment in asked), strict=True)
    sizes = np.array([len(each) for each in right], np.int64)
    return Lists(np.concatenate(rows), sizes, np.concatenate(right))


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
            _ndcg_10(forest.first(best).scores(half.rows), half) - _ndcg_10(forest.scores(half.rows), half)
            for forest, half in zip(grown, halves, strict=True)
        ]
    )
    return best if less.mean() > 2 * less.std() / np.sqrt(len(less)) else every


def _lift(apart: Sequence[Forest], halves: Sequence[Lists], given_up: float) -> float:
    """What is added to the scores of items that nobody has had: the most that gives up no more, as long as more of it
    ranks such items higher that came; 0: nothing.

    Args:
        apart: by fold, a forest that did not see that half.
    """
    if not given_up:
        return 0.0
    scores = [forest.scores(half.rows) for forest, half in zip(apart, halves, strict=True)]
    fresh = [half.rows[:, AT.log_seen] <= NOBODY for half in halves]
    came = np.concatenate([_new(half) for half in halves])

    def gained(lift: float) -> Column:
        lifted = zip(scores, fresh, halves, strict=True)
        return np.concatenate([_ndcg_10(told + lift * new, half) for told, new, half in lifted])

    plain, found = gained(0.0), 0.0
    most = plain[came].sum()
    for lift in LIFTS.tolist():
        now = gained(lift)
        if now.mean() < (1 - given_up) * plain.mean():
            break
        if now[came].sum() > most:
            most, found = now[came].sum(), lift
    return found


def _new(lists: Lists) -> NDArray[np.bool_]:
    """(rankings,): whether nobody had had what came."""
    came = lists.right & (lists.rows[:, AT.log_seen] <= NOBODY)
    return np.logical_or.reduceat(came, np.cumsum(lists.sizes) - lists.sizes)


def _ndcg_10(scores: Scores, lists: Lists) -> Column:
    """(rankings,)"""
    starts = np.concatenate([[0], np.cumsum(lists.sizes)])
    every, wanted = np.arange(len(lists.sizes)), np.add.reduceat(lists.right.astype(np.int64), starts[:-1])
    told = scores.astype(np.float32)[:, None]
    return values(told, starts, lists.right.view(np.uint8), wanted, np.ones(1), *kind_and_depth("ndcg_10"), every)
