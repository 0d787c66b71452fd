"""Items that nobody has had yet: one in twenty is hidden from training, and found again or not.

A hidden item stays in the catalogue with its words and facts, and in the histories of those who had it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from streaming.errors import LeakError
from streaming.evaluation import metrics
from streaming.evaluation.evaluation import Told
from streaming.evaluation.log import told
from streaming.evaluation.moments import Split


@dataclass(frozen=True, slots=True)
class ColdLine:
    """One ranker, with items hidden and without."""

    cold: Mapping[str, float]
    """Metrics where the target is hidden."""
    warm: Mapping[str, float]
    """Metrics where it is not, with the others hidden."""
    warm_unhidden: Mapping[str, float]
    """At the same questions, with nothing hidden."""

    @property
    def warm_loss(self) -> float:
        """Share of HR@10 at warm targets that hiding costs; below 0 where it gains, since fewer items compete."""
        whole = self.warm_unhidden["hr_10"]
        return 1 - self.warm["hr_10"] / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class ColdTest:
    """What was found of hidden items."""

    hidden: int
    """Items."""
    n: int
    """Questions whose answer is hidden."""
    warm: int
    """Questions whose answer is not."""
    lines: Mapping[str, ColdLine]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "hidden_items": self.hidden,
            "n": self.n,
            "n_warm": self.warm,
            "rankers": {
                name: {
                    "cold": _rounded(line.cold),
                    "warm": _rounded(line.warm),
                    "warm_unhidden": _rounded(line.warm_unhidden),
                    "warm_loss": round(line.warm_loss, 5),
                }
                for name, line in self.lines.items()
            },
        }

    def table(self) -> Table:
        """For people."""
        table = Table(box=None, pad_edge=False, title=f"{self.hidden:,} items hidden", title_justify="left")
        table.add_column("")
        for title in (f"HR@10 of {self.n:,} cold", "NDCG@10", f"HR@10 of {self.warm:,} warm", "not hidden", "loss"):
            table.add_column(title, justify="right")
        for name, line in self.lines.items():
            figures = (line.cold["hr_10"], line.cold["ndcg_10"], line.warm["hr_10"], line.warm_unhidden["hr_10"])
            table.add_row(name, *(f"{figure:.4f}" for figure in figures), f"{line.warm_loss:+.2%}")
        return table


def cold_test(hidden: NDArray[np.bool_], shown: Sequence[Told], blind: Sequence[Told], split: Split) -> ColdTest:
    """What rankers said with nothing hidden, beside what they said with some items hidden.

    Args:
        hidden: (items,)
        shown: with nothing hidden, at the same questions.
        blind: with `split`'s training part, which has no event of a hidden item.

    Raises:
        LeakError: it has one.
        ValueError: no target is hidden, or all are.
    """
    seen = np.flatnonzero(hidden[split.part.codes])
    if len(seen):
        raise LeakError(
            f"the training part holds {len(seen):,} events of hidden items, expected none; the first is the"
            f" {told(split.part.events, int(seen[0]))}; hide them before fitting"
        )
    cold = hidden[split.targets]
    if cold.all() or not cold.any():
        raise ValueError(f"{int(cold.sum()):,} of {len(cold):,} targets are hidden, expected some and not all")
    lines = {}
    for before, after in zip(shown, blind, strict=True):
        whole, less = metrics.values_of(before.answers.ranks), metrics.values_of(after.answers.ranks)
        lines[after.name] = ColdLine(metrics.means(less[cold]), metrics.means(less[~cold]), metrics.means(whole[~cold]))
    return ColdTest(int(hidden.sum()), int(cold.sum()), int((~cold).sum()), lines)


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in figures.items()}
