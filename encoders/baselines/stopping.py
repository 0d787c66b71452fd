"""When training stops: once what was set aside is ranked no better, or once its time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.baselines.sequences import Numbers, Parted, Sequences

Scores = NDArray[np.float32]
Scorer = Callable[[Sequence[Numbers]], Scores]
"""Histories to (b, items): what each item is worth as the next; -inf where an item was never seen."""
Weights = dict[str, NDArray[Any]]
"""By name, for a file."""
Note = Callable[[int, int], None]
"""Hears of epochs done, and of how many at most."""
METRIC = "ndcg_10"
AT_ONCE = 250


@dataclass(slots=True)
class Course:
    """How a training went."""

    losses: list[float] = field(default_factory=list)
    """Mean of each epoch."""
    ranked: list[float] = field(default_factory=list)
    """NDCG@10 after each epoch over what was set aside; all items ranked."""
    seconds: float = 0.0
    """CPU time."""
    ended: str = ""
    """no better, budget, or epochs: why it stopped."""

    @property
    def best(self) -> int:
        """The epoch whose weights are kept, 1 the first; 0: there was none."""
        return int(np.argmax(self.ranked)) + 1 if self.ranked else 0

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "losses": [round(loss, 5) for loss in self.losses],
            METRIC: [round(value, 5) for value in self.ranked],
            "seconds": round(self.seconds, 3),
            "ended": self.ended,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Course:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is nothing of the kind.
        """
        return cls(
            [float(loss) for loss in told["losses"]],
            [float(value) for value in told[METRIC]],
            float(told["seconds"]),
            str(told["ended"]),
        )


@dataclass(frozen=True, slots=True)
class Patience:
    """How long training goes on."""

    epochs: int
    """At most."""
    waits: int
    """Epochs that may pass without a better one."""
    minutes: float
    """CPU time at most; the epoch that is under way then is finished."""


def trained(
    sequences: Sequences,
    parted: Parted,
    patience: Patience,
    epoch: Callable[[], float],
    score: Scorer,
    keep: Callable[[], None],
    note: Note = lambda _done, _most: None,
) -> Course:
    """Trains until nothing gets better.

    Args:
        sequences: all of them, for whether items may come again.
        epoch: trains on `parted.rest` once, and gives its mean loss.
        score: ranks with the weights as they are.
        keep: the weights as they are now are the best so far.
    """
    course, began = Course(ended="epochs"), time.process_time()
    for number in range(1, patience.epochs + 1):
        course.losses.append(epoch())
        course.ranked.append(ndcg(score, parted, repeats=sequences.repeats))
        course.seconds = time.process_time() - began
        note(number, patience.epochs)
        if course.best == number:
            keep()
        elif number - course.best >= patience.waits:
            course.ended = "no better"
            break
        if course.seconds > 60 * patience.minutes:
            course.ended = "budget"
            break
    return course


def ndcg(score: Scorer, parted: Parted, *, repeats: bool) -> float:
    """NDCG@10 over what was set aside, ties to the ranker's disadvantage; 0 where nothing was."""
    gained = 0.0
    for start in range(0, len(parted.targets), AT_ONCE):
        histories = parted.histories[start : start + AT_ONCE]
        scores = score(histories)
        targets = parted.targets[start : start + AT_ONCE]
        rows = np.arange(len(targets))
        own = scores[rows, targets].copy()
        if not repeats:
            for row, history in zip(scores, histories, strict=True):
                row[history] = -np.inf
        scores[rows, targets] = -np.inf
        ranks = 1 + (scores >= own[:, None]).sum(axis=1)
        ranks[~np.isfinite(own)] = scores.shape[1]
        gained += float(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0).sum())
    return gained / len(parted.targets) if len(parted.targets) else 0.0
