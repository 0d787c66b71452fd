"""Moments at which a ranker is asked, and what then really came.

The answer stands apart from the question: a ranker is handed `Moment`s and never sees a target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from index.vocabulary import Codes
from streaming.evaluation.log import Rows, TrainingPart


class Moment(NamedTuple):
    """What a session had when the question was asked: at its newest event, before the next."""

    session: int
    user: int
    items: Codes
    """(h,), h >= 1, newest last; an item may stand in it twice."""
    kinds: NDArray[np.uint8]
    """(h,), by place in `log.KINDS`."""
    times: Rows
    """(h,), ms since the epoch."""

    @property
    def time(self) -> int:
        """Of the newest event: when the question is asked."""
        return int(self.times[-1])


class Ranked(NamedTuple):
    """Items with their scores, in any order, each once."""

    codes: Codes
    """(m,)"""
    scores: NDArray[np.float64]
    """(m,)"""
    probabilities: NDArray[np.float64] | None = None
    """(m,): that each comes within the horizon (`forecasts.HORIZON`); None: the ranker says none."""
    acts: float | None = None
    """Probability that any of the first `forecasts.OFFERS` that may be offered does; None: the ranker says none."""


class Passed(NamedTuple):
    """An event that has been asked about, and may now be learned."""

    session: int
    user: int
    item: int
    kind: int
    """By place in `log.KINDS`."""
    time: int


class Ranker(Protocol):
    """Anything that can be asked what comes next."""

    @property
    def name(self) -> str:
        """In tables, and for life."""

    @property
    def learns(self) -> bool:
        """Whether `learn` changes anything; where not, it is not shown beside its frozen self."""

    def fit(self, part: TrainingPart) -> None:
        """Learn from a part, forgetting what was learned before."""

    def rank(self, moment: Moment, k: int) -> Ranked:
        """The k best items, or all that it has a score for where those are fewer.

        Whatever ties with the k-th is in it too, so that a tie is judged whole. Items of the history may be in it: the
        protocol takes them out where they may not be predicted.
        """

    def learn(self, passed: Passed) -> None:
        """Learn from one event more, in time order. What `rank` gives may change at once."""


@runtime_checkable
class RanksMany(Protocol):
    """A ranker that answers many moments at once in less time than one after the other."""

    def rank_many(self, moments: Sequence[Moment], k: int) -> Iterable[Ranked]:
        """What `Ranker.rank` would say to each."""


@dataclass(frozen=True, slots=True)
class Split:
    """What is learned from, what is asked, and what came. All arrays are (n,), one entry a moment."""

    protocol: str
    part: TrainingPart
    moments: Sequence[Moment]
    targets: Codes
    target_rows: Rows
    """Rows of the log."""
    target_times: Rows
    target_kinds: NDArray[np.uint8]
    groups: NDArray[np.int64]
    """Who is drawn whole by the bootstrap: 0 and up, users or sessions."""
    repeats: bool
    """Whether an item of the history may be the answer. Where not, none of the targets is."""
    passed: Sequence[Passed] = ()
    """Prequential only: every event of the test, in time order."""
    asked: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(len(passed),): the moment whose target the event is; -1: none."""
    by_day: bool = False
    """Learn only when a day has passed, since times are whole days."""
    endings: Sequence[Moment] = ()
    """Sessions at their last event, after which nothing came for as long as a prediction is good for. Nothing can be
    ranked there; what is said of chances is held against it."""
    ends: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Prequential only, (len(passed),): the ending after which the event stands; -1: none."""
    left_out: int = 0
    """Events that would be targets, but repeat their history where that may not be predicted."""

    def __len__(self) -> int:
        """Moments."""
        return len(self.targets)


def best(scores: NDArray[np.float64], k: int) -> Ranked:
    """The k best of dense scores, (items,), with all ties; only what scores above 0."""
    return _highest(scores, scores > 0, k)


def highest(scores: NDArray[np.float64], k: int) -> Ranked:
    """The k highest of dense scores, (items,), with all ties; none that is -inf."""
    return _highest(scores, np.isfinite(scores), k)


def _highest(scores: NDArray[np.float64], able: NDArray[np.bool_], k: int) -> Ranked:
    codes = np.flatnonzero(able)
    found = scores[codes]
    if len(found) > k:
        least = np.partition(found, len(found) - k)[len(found) - k]
        chosen = found >= least
        codes, found = codes[chosen], found[chosen]
    return Ranked(codes.astype(np.int32), found)
