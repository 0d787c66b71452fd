"""Rankers asked, measured and compared: from a split and what is to be asked, to everything a report says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.evaluation import metrics
from streaming.evaluation.answers import Answers, ask, ask_and_teach
from streaming.evaluation.bootstrap import Draws, draw, holm
from streaming.evaluation.log import refuse_leak
from streaming.evaluation.moments import Ranker, Split
from streaming.evaluation.slices import slices_of

Family = Literal["product", "variant", "baseline"]
"""What is shown; the same less something, or frozen; what it has to beat."""
Note = Callable[[str, int, int], None]
"""Hears of the ranker, how many moments it has answered, and of how many."""
PRIMARY = {"leave-one-out": "ndcg_10", "next-item": "mrr_20", "temporal": "mrr_20"}
"""The metric that the planned comparisons are of, by protocol."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A ranker that takes part."""

    ranker: Ranker
    family: Family
    teach: bool = False
    """Whether it learns as the test passes."""

    frozen: bool = False
    """Whether it stands beside itself learning, and its name has to say that it does not."""

    @property
    def name(self) -> str:
        """In the table."""
        return f"{self.ranker.name}, frozen" if self.frozen else self.ranker.name


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table."""

    name: str
    family: Family
    means: Mapping[str, float]
    """Of `metrics.NAMES`, and coverage_20, novelty_20 (bits), diversity_20."""
    intervals: Mapping[str, tuple[float, float]]
    """95 %, of `metrics.NAMES`."""
    by_slice: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Slice, label, metric."""
    slice_intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    """Slice, label: 95 % of the primary metric."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The product less another, by the primary metric."""

    against: str
    difference: float
    low: float
    high: float
    """95 %, paired."""
    p: float
    p_holm: float
    """Corrected for all planned comparisons."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured by one protocol; the first of `lines` is the product."""

    protocol: str
    n: int
    groups: int
    """Sessions or users, as the bootstrap draws them."""
    primary: str
    lines: Sequence[Measured]
    comparisons: Sequence[Comparison]
    sizes: Mapping[str, Mapping[str, int]]
    """Moments by slice and label."""

    @property
    def product(self) -> Measured:
        """The line that is judged."""
        return self.lines[0]

    @property
    def best_baseline(self) -> Measured:
        """By the primary metric."""
        return max(
            (line for line in self.lines if line.family == "baseline"), key=lambda line: line.means[self.primary]
        )


class Told(NamedTuple):
    """What a ranker said."""

    name: str
    family: Family
    answers: Answers


def ask_all(split: Split, entries: Iterable[Entry], note: Note = lambda _name, _done, _total: None) -> list[Told]:
    """Fits and asks each ranker, one after the other.

    Entries are taken one at a time, so that a generator need not hold all of them in memory.

    Raises:
        LeakError: a target stands in the training part; nothing was fitted.
    """
    refuse_leak(split.part, split.target_rows)
    told = []
    for entry in entries:
        name, total = entry.name, len(split)
        note(name, 0, total)
        entry.ranker.fit(split.part)
        advance = _Advance(name, total, note)
        asking = ask_and_teach if entry.teach else ask
        answers = asking(entry.ranker, split, advance, endings=entry.family == "product")
        told.append(Told(name, entry.family, answers))
    return told


class _Advance:
    """Adds up what was done, for a note."""

    def __init__(self, name: str, total: int, note: Note) -> None:
        self._name, self._total, self._note = name, total, note
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._note(self._name, self._done, self._total)


def measured(split: Split, told: Sequence[Told], alike: metrics.Alike) -> Evaluation:
    """All figures of what rankers said; the first is the product."""
    primary = PRIMARY[split.protocol]
    place, width = metrics.NAMES.index(primary), len(metrics.NAMES)
    values = [metrics.values_of(answers.ranks) for _, _, answers in told]
    draws = draw(np.concatenate(values, axis=1), split.groups)
    chosen = slices_of(split)
    primaries = np.stack([each[:, place] for each in values], axis=1)  # (n, rankers)
    drawn = {
        slice_: {label: draw(primaries[of], _renumbered(split.groups[of])) for label, of in labels.items()}
        for slice_, labels in chosen.items()
    }
    counts = split.part.counts()
    lines = []
    for number, (name, family, answers) in enumerate(told):
        beyond = {
            "coverage_20": metrics.coverage(answers.lists, len(split.part.catalogue)),
            "novelty_20": metrics.novelty(answers.lists, counts),
            "diversity_20": metrics.diversity(answers.lists, alike),
        }
        lines.append(
            Measured(
                name=name,
                family=family,
                means=metrics.means(values[number]) | beyond,
                intervals={name: draws.interval(number * width + at) for at, name in enumerate(metrics.NAMES)},
                by_slice={
                    slice_: {label: metrics.means(values[number][of]) for label, of in labels.items()}
                    for slice_, labels in chosen.items()
                },
                slice_intervals={
                    slice_: {label: of.interval(number) for label, of in labels.items()}
                    for slice_, labels in drawn.items()
                },
            )
        )
    return Evaluation(
        protocol=split.protocol,
        n=len(split),
        groups=int(split.groups.max()) + 1,
        primary=primary,
        lines=lines,
        comparisons=_comparisons(lines, draws, primary),
        sizes={slice_: {label: int(of.sum()) for label, of in labels.items()} for slice_, labels in chosen.items()},
    )


def _comparisons(lines: Sequence[Measured], draws: Draws, primary: str) -> list[Comparison]:
    """The product against every other line: what was planned."""
    width, place = len(metrics.NAMES), metrics.NAMES.index(primary)
    others = range(1, len(lines))
    p_values = [draws.p_value(place, number * width + place) for number in others]
    return [
        Comparison(
            lines[number].name,
            lines[0].means[primary] - lines[number].means[primary],
            *draws.difference(place, number * width + place),
            p,
            corrected,
        )
        for number, p, corrected in zip(others, p_values, holm(p_values), strict=True)
    ]


def _renumbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without gaps."""
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
