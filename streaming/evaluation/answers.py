"""Asking a ranker, and holding its lists against what came: the mid-rank of each target, and the first twenty.

All items of the catalogue are ranked. Those that a list leaves out share the places below it; a target that ties takes
the middle place of its equals, so that a ranker gains nothing by having no opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.vocabulary import Codes
from streaming.evaluation.moments import Moment, Ranked, Ranker, RanksMany, Split
from streaming.holdout import DAY_MS

DEPTH = 20
"""The deepest cut-off of any metric."""
Advance = Callable[[int], None]
"""Hears how many moments were asked since it last heard."""
_STEP = 200
"""Moments between two notes, and those that are asked at once where a ranker can."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a ranker said."""

    ranks: NDArray[np.float64]
    """(n,): place of each target, 1 the best; ties take the middle."""
    lists: Codes
    """(n, DEPTH): the best items, best first, ties by number; -1 where there were no more."""
    scores: NDArray[np.float64]
    """(n,), of the first item; NaN where there was none."""
    probabilities: NDArray[np.float32]
    """(n, DEPTH), of those items: that each comes within the horizon; NaN: the ranker says none."""
    acts: NDArray[np.float64]
    """(n,): probability that any of the first offers does; NaN: the ranker says none."""
    at_endings: tuple[NDArray[np.float32], NDArray[np.float64]]
    """`probabilities` and `acts` where nothing came any more, (e, DEPTH) and (e,); NaN where it was not asked."""

    @classmethod
    def none(cls, count: int, endings: int = 0) -> Answers:
        """To `count` moments and so many endings that were not asked yet."""
        return cls(
            np.empty(count),
            np.full((count, DEPTH), -1, dtype=np.int32),
            np.full(count, np.nan),
            np.full((count, DEPTH), np.nan, dtype=np.float32),
            np.full(count, np.nan),
            (np.full((endings, DEPTH), np.nan, dtype=np.float32), np.full(endings, np.nan)),
        )


def ask(ranker: Ranker, split: Split, advance: Advance = lambda _count: None, *, endings: bool = False) -> Answers:
    """Every moment, with the ranker as it was fitted.

    Args:
        endings: it is asked where nothing came any more, too.
    """
    judge = _Judge(split)
    for start in range(0, len(split), _STEP):
        moments = split.moments[start : start + _STEP]
        for number, ranked in enumerate(_ranked(ranker, moments), start):
            judge.hear(number, ranked)
        advance(len(moments))
    for number, moment in enumerate(split.endings if endings else ()):
        judge.hear_ending(number, ranker.rank(moment, DEPTH + len(moment.items)))
    return judge.answers


def _ranked(ranker: Ranker, moments: Sequence[Moment]) -> Iterator[Ranked]:
    """What a ranker says to each."""
    if isinstance(ranker, RanksMany):
        yield from ranker.rank_many(moments, DEPTH + max(len(moment.items) for moment in moments))
    else:
        yield from (ranker.rank(moment, DEPTH + len(moment.items)) for moment in moments)


def ask_and_teach(
    ranker: Ranker, split: Split, advance: Advance = lambda _count: None, *, endings: bool = False
) -> Answers:
    """Every moment in time order, each event learned after it was asked about: prequential (Gama et al. 2013).

    Where times are whole days, a day's events are learned when the next one begins.

    Args:
        endings: as `ask`.
    """
    judge = _Judge(split)
    waiting = 0  # the first event that was not learned yet
    done = 0
    for place, (passed, number) in enumerate(zip(split.passed, split.asked.tolist(), strict=True)):
        if split.by_day and passed.time // DAY_MS != split.passed[waiting].time // DAY_MS:
            for earlier in split.passed[waiting:place]:
                ranker.learn(earlier)
            waiting = place
        if number >= 0:
            moment: Moment = split.moments[number]
            judge.hear(number, ranker.rank(moment, DEPTH + len(moment.items)))
            done += 1
            if done % _STEP == 0:
                advance(_STEP)
        if not split.by_day:
            ranker.learn(passed)
            waiting = place + 1
        if endings and (ending := int(split.ends[place])) >= 0:
            last: Moment = split.endings[ending]
            judge.hear_ending(ending, ranker.rank(last, DEPTH + len(last.items)))
    advance(done % _STEP)
    return judge.answers


class _Judge:
    """Fills the answers, one moment after the other."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._barred = np.zeros(len(split.part.catalogue), dtype=bool)  # scratch, all False between calls
        self.answers = Answers.none(len(split), len(split.endings))

    def hear(self, number: int, ranked: Ranked) -> None:
        """What was said at a moment."""
        split, history = self._split, self._split.moments[number].items
        left = len(self._barred) - (0 if split.repeats else len(np.unique(history)))
        codes, scores, probabilities, acts = self._able(ranked, history)
        at = np.flatnonzero(codes == split.targets[number])
        if len(at):
            own = scores[at[0]]
            above, equal = np.count_nonzero(scores > own), np.count_nonzero(scores == own)
            self.answers.ranks[number] = above + (equal + 1) / 2
        else:
            self.answers.ranks[number] = len(codes) + (left - len(codes) + 1) / 2
        order = np.lexsort((codes, -scores))[:DEPTH]
        self.answers.lists[number, : len(order)] = codes[order]
        if len(order):
            self.answers.scores[number] = scores[order[0]]
        if probabilities is not None:
            self.answers.probabilities[number, : len(order)] = probabilities[order]
        if acts is not None:
            self.answers.acts[number] = acts

    def hear_ending(self, number: int, ranked: Ranked) -> None:
        """What was said where nothing came any more."""
        codes, scores, probabilities, acts = self._able(ranked, self._split.endings[number].items)
        shown, whole = self.answers.at_endings
        if probabilities is not None:
            order = np.lexsort((codes, -scores))[:DEPTH]
            shown[number, : len(order)] = probabilities[order]
        if acts is not None:
            whole[number] = acts

    def _able(self, ranked: Ranked, history: Codes) -> Ranked:
        """Without the items of the history, where they may not be the answer."""
        if self._split.repeats:
            return ranked
        self._barred[history] = True
        kept = ~self._barred[ranked.codes]
        self._barred[history] = False
        probabilities = None if ranked.probabilities is None else ranked.probabilities[kept]
        return Ranked(ranked.codes[kept], ranked.scores[kept], probabilities, ranked.acts)
