"""Ranking metrics of weighted parts, compiled: what a set of weights is worth, a few milliseconds a look.

Every loop runs in one fixed order, so that equal input gives equal bits on one machine.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit

Objective = Literal["ndcg_10", "ndcg_20", "mrr_10", "mrr_20", "hr_10", "hr_20"]
"""Metric and cut-off."""

_NDCG, _MRR, _HR = 0, 1, 2
_KINDS = {"ndcg": _NDCG, "mrr": _MRR, "hr": _HR}


def kind_and_depth(objective: str) -> tuple[int, int]:
    """The kernels' number of a metric, and its cut-off.

    Raises:
        ValueError: there is no such metric.

    >>> kind_and_depth("mrr_20")
    (1, 20)
    """
    name, _, depth = objective.partition("_")
    if name not in _KINDS or not depth.isdigit() or int(depth) < 1:
        raise ValueError(f"objective {objective!r}, expected ndcg, mrr or hr with a cut-off, as ndcg_10")
    return _KINDS[name], int(depth)


@njit
def values(
    parts: NDArray[np.float32],
    starts: NDArray[np.int64],
    relevant: NDArray[np.uint8],
    wanted: NDArray[np.int64],
    weights: NDArray[np.float64],
    kind: int,
    depth: int,
    chosen: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The metric of each chosen moment, (len(chosen),).

    A tie counts half: rank = 1 + those above + half of those that are equal.

    Args:
        parts: (total, P), unweighted.
        starts: (N + 1,), where each moment's candidates begin.
        relevant: (total,), 1 where the candidate is a target.
        wanted: (N,), targets of each moment, those that are not among the candidates too.
        weights: (P,).
        kind, depth: as `kind_and_depth`.
    """
    count = parts.shape[1]
    found = np.zeros(len(chosen))
    longest = 0
    for place in range(len(chosen)):
        longest = max(longest, starts[chosen[place] + 1] - starts[chosen[place]])
    scores = np.empty(longest)
    for place in range(len(chosen)):
        moment = chosen[place]
        begin, end = starts[moment], starts[moment + 1]
        for row in range(begin, end):
            score = 0.0
            for part in range(count):
                score += weights[part] * parts[row, part]
            scores[row - begin] = score
        best = 0.0
        gained = 0.0
        for row in range(begin, end):
            if relevant[row] == 0:
                continue
            own = scores[row - begin]
            above, equal = 0, -1
            for other in range(end - begin):
                if scores[other] > own:
                    above += 1
                elif scores[other] == own:
                    equal += 1
            rank = 1.0 + above + 0.5 * equal
            if rank <= depth:
                best = max(best, 1.0 / rank)
                gained += 1.0 / np.log2(1.0 + rank)
        if kind == _MRR:
            found[place] = best
        elif kind == _HR:
            found[place] = 1.0 if best > 0.0 else 0.0
        elif gained > 0.0:
            ideal = 0.0
            for rank_of in range(1, min(wanted[moment], depth) + 1):
                ideal += 1.0 / np.log2(1.0 + rank_of)
            found[place] = gained / ideal
    return found


@njit
def along(
    columns: NDArray[np.float32],
    starts: NDArray[np.int64],
    relevant: NDArray[np.uint8],
    wanted: NDArray[np.int64],
    weights: NDArray[np.float64],
    part: int,
    grid: NDArray[np.float64],
    kind: int,
    depth: int,
    chosen: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sums of the metric over the chosen moments, (G,), as one part's weight takes each value of the grid.

    As `values`, but for rounding: the other parts are summed once and the part is added to that.

    Args:
        columns: (P, total), the parts turned.
    """
    count = columns.shape[0]
    sums = np.zeros(len(grid))
    longest = 0
    for place in range(len(chosen)):
        longest = max(longest, starts[chosen[place] + 1] - starts[chosen[place]])
    base = np.empty(longest)
    for place in range(len(chosen)):
        moment = chosen[place]
        begin, end = starts[moment], starts[moment + 1]
        size = end - begin
        base[:size] = 0.0
        for other in range(count):
            weight = weights[other]
            if other != part and weight != 0.0:
                for row in range(size):
                    base[row] += weight * columns[other, begin + row]
        varied = columns[part, begin:end]
        ideal = 0.0
        for rank_of in range(1, min(wanted[moment], depth) + 1):
            ideal += 1.0 / np.log2(1.0 + rank_of)
        for step in range(len(grid)):
            weight = grid[step]
            best = 0.0
            gained = 0.0
            for row in range(size):
                if relevant[begin + row] == 0:
                    continue
                own = base[row] + weight * varied[row]
                above, equal = 0, -1
                for other in range(size):
                    score = base[other] + weight * varied[other]
                    above += score > own
                    equal += score == own
                rank = 1.0 + above + 0.5 * equal
                if rank <= depth:
                    best = max(best, 1.0 / rank)
                    gained += 1.0 / np.log2(1.0 + rank)
            if kind == _MRR:
                sums[step] += best
            elif kind == _HR:
                sums[step] += 1.0 if best > 0.0 else 0.0
            elif gained > 0.0:
                sums[step] += gained / ideal
    return sums


@njit
def choice_loss(
    parts: NDArray[np.float32],
    starts: NDArray[np.int64],
    relevant: NDArray[np.uint8],
    weights: NDArray[np.float64],
    chosen: NDArray[np.int64],
    slope: NDArray[np.float64],
) -> float:
    """Mean negative log-likelihood of the targets under a softmax of the scores, with its gradient in `slope` (P,).

    A conditional logit (McFadden 1974): a smooth, convex stand-in for any metric of ranks. Moments without a target
    among their candidates say nothing.
    """
    count = parts.shape[1]
    for part in range(count):
        slope[part] = 0.0
    mean = np.zeros(count)
    loss = 0.0
    used = 0
    longest = 0
    for place in range(len(chosen)):
        longest = max(longest, starts[chosen[place] + 1] - starts[chosen[place]])
    scores = np.empty(longest)
    for place in range(len(chosen)):
        begin, end = starts[chosen[place]], starts[chosen[place] + 1]
        targets = 0
        highest = -np.inf
        for row in range(begin, end):
            targets += relevant[row]
            score = 0.0
            for part in range(count):
                score += weights[part] * parts[row, part]
            scores[row - begin] = score
            highest = max(highest, score)
        if targets == 0:
            continue
        used += 1
        mass = 0.0
        for part in range(count):
            mean[part] = 0.0
        for row in range(begin, end):
            share = np.exp(scores[row - begin] - highest)
            mass += share
            for part in range(count):
                mean[part] += share * parts[row, part]
        log_mass = highest + np.log(mass)
        for row in range(begin, end):
            if relevant[row] == 1:
                loss += (log_mass - scores[row - begin]) / targets
                for part in range(count):
                    slope[part] += (mean[part] / mass - parts[row, part]) / targets
    if used == 0:
        return 0.0
    for part in range(count):
        slope[part] /= used
    return loss / used


@njit
def spreads(parts: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far each part tells the candidates of one moment apart, (P,): root of its mean variance within moments."""
    count = parts.shape[1]
    variance = np.zeros(count)
    moments = 0
    for moment in range(len(starts) - 1):
        begin, end = starts[moment], starts[moment + 1]
        if end - begin < 2:
            continue
        moments += 1
        for part in range(count):
            mean = 0.0
            for row in range(begin, end):
                mean += parts[row, part]
            mean /= end - begin
            square = 0.0
            for row in range(begin, end):
                square += (parts[row, part] - mean) ** 2
            variance[part] += square / (end - begin)
    return np.sqrt(variance / max(moments, 1))
