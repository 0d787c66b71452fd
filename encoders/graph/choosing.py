"""Which graph vectors a shop gets: those that rank its validation items best, beside a control that knows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.graph.facts import Fact
from encoders.graph.kge import KgeSettings, fit_kge
from encoders.graph.svd import SvdSettings, fit_svd
from encoders.graph.vectors import GraphVectors, Vectors, shuffled

Codes = NDArray[np.int32]
Scores = NDArray[np.floating[Any]]

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Of the graph beside base scores of which the best is 1."""

DECAY = 0.6
"""What a step of a history leaves of those before it."""

_CELLS = 20_000_000
"""Scores that are held at once."""


class Validation(NamedTuple):
    """What came next in sessions of the validation window. Items are rows of the vectors."""

    histories: Sequence[Codes]
    """What each session had before, newest last; none is empty."""
    targets: Codes
    """(sessions,): what came next."""
    base: Callable[[int, int], Scores] | None = None
    """Scores of every item without the graph, for the sessions from a place up to another: (b, items), 0 for what is
    unknown. None: the graph is judged alone."""
    repeats: bool = False
    """Whether items of the history may come again."""


class Trial(NamedTuple):
    """How well one kind of vectors ranks: mean reciprocal rank among all items."""

    method: str
    alone: float
    """By cosine with the decayed mean of the history."""
    fused: float
    """With the base scores, at the best of `WEIGHTS`; without base scores as alone."""
    weight: float
    """That weight; 0: the graph adds nothing."""
    control_alone: float
    """The same vectors, each with another item."""
    control_fused: float
    """The control, at the weight above."""


class Choice(NamedTuple):
    """The vectors chosen, and all that were tried, best first."""

    vectors: GraphVectors
    trials: list[Trial]


def choose(
    items: Sequence[str],
    facts: Mapping[str, Sequence[Fact]],
    others: Sequence[Fact],
    validation: Validation,
    candidates: Sequence[SvdSettings | KgeSettings] = (SvdSettings(), KgeSettings()),
    *,
    seed: int = 0,
) -> Choice:
    """Fit each candidate and keep the one that ranks best together with the base scores; of equals the first.

    Args:
        items: all items, in the order of the validation's codes.
        facts: by item id, of the training window; items without any may be absent.
        others: facts of heads that are no items.
        seed: of the control.
    """
    fitted = [
        fit_svd(facts, its) if isinstance(its, SvdSettings) else fit_kge(facts, others, its) for its in candidates
    ]
    its_facts = [facts.get(item, ()) for item in items]
    trials = [judge(graph.method, graph.vectors(its_facts), validation, seed) for graph in fitted]
    order = sorted(range(len(trials)), key=lambda place: -trials[place].fused)
    return Choice(fitted[order[0]], [trials[place] for place in order])


def judge(method: str, vectors: Vectors, validation: Validation, seed: int = 0) -> Trial:
    """How well vectors (items, dimension) rank what came next, beside their control."""
    control = shuffled(vectors, seed)
    apart = validation._replace(base=None)
    alone, control_alone = (mean_reciprocal_rank(its, apart, (1.0,))[1.0] for its in (vectors, control))
    if validation.base is None:
        return Trial(method, alone, alone, 1.0, control_alone, control_alone)
    fused = mean_reciprocal_rank(vectors, validation)
    weight = max(WEIGHTS, key=lambda its: (fused[its], -its))
    control_fused = mean_reciprocal_rank(control, validation, (weight,))[weight]
    return Trial(method, alone, fused[weight], weight, control_alone, control_fused)


def mean_reciprocal_rank(
    vectors: Vectors, validation: Validation, weights: Sequence[float] = WEIGHTS
) -> dict[float, float]:
    """Of the targets, by weight as `target_ranks` has them. 0 where there are no sessions."""
    found = target_ranks(vectors, validation, weights)
    return {weight: float((1 / ranks).mean()) if len(ranks) else 0.0 for weight, ranks in found.items()}


def target_ranks(
    vectors: Vectors, validation: Validation, weights: Sequence[float] = (1.0,)
) -> dict[float, NDArray[np.float64]]:
    """Ranks of the targets among all items, (sessions,) from 1, by weight of the vectors' cosine beside the base
    scores; ties share their ranks' middle."""
    found: dict[float, list[NDArray[np.float64]]] = {weight: [np.empty(0)] for weight in weights}
    step = max(1, _CELLS // max(len(vectors), 1))
    for start in range(0, len(validation.targets), step):
        end = min(start + step, len(validation.targets))
        histories, targets = validation.histories[start:end], validation.targets[start:end]
        near = _pooled(vectors, histories) @ vectors.T  # (b, items)
        base = np.float32(0) if validation.base is None else _to_one(validation.base(start, end))
        seen = [history[:0] if validation.repeats else history for history in histories]
        for weight in weights:
            found[weight].append(_ranks(base + np.float32(weight) * near, targets, seen))
    return {weight: np.concatenate(ranks) for weight, ranks in found.items()}


def _pooled(vectors: Vectors, histories: Iterable[Codes]) -> Vectors:
    """Decayed sums of the histories' vectors, to length 1: float32 (b, dimension)."""
    sums = np.stack([DECAY ** np.arange(len(its))[::-1] @ vectors[its] for its in histories])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(lengths > 1e-9, lengths, 1.0)).astype(np.float32)


def _to_one(scores: Scores) -> Vectors:
    """Each row divided by its largest score."""
    largest = scores.max(axis=1, keepdims=True)
    return (scores / np.where(largest > 0, largest, 1.0)).astype(np.float32)


def _ranks(scores: Vectors, targets: Codes, seen: Sequence[Codes]) -> NDArray[np.float64]:
    """(b,): ranks of the targets from 1; items seen do not compete."""
    own = scores[np.arange(len(targets)), targets][:, None]
    above, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1
    for row, its in enumerate(seen):
        others = np.unique(its[its != targets[row]])
        above[row] -= int((scores[row, others] > own[row]).sum())
        equal[row] -= int((scores[row, others] == own[row]).sum())
    ranks: NDArray[np.float64] = 1 + above + equal / 2
    return ranks
