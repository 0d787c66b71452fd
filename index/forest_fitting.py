"""A forest that ranks, grown by LightGBM's LambdaRank (Burges 2010): the one door to that library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from index.forest import Features, Forest


@dataclass(frozen=True, slots=True)
class ForestSettings:
    """How a forest is grown. The defaults are the best of a few on Amazon Beauty's validation items."""

    trees: int = 100
    """At most; fewer where rows set aside lose by more."""
    leaves: int = 31
    depth: int = 7
    """Steps from a root to a leaf at most: what a ranking costs."""
    learning_rate: float = 0.1
    least: int = 100
    """Rows of a leaf."""
    features: float = 0.7
    rows: float = 0.8
    """Shares that a tree sees."""
    truncation: int = 30
    """Places of a ranking that are looked at."""
    bins: int = 63
    """Values that a feature is told apart by; time and memory grow with them."""
    given_up: float = 0.0
    """Share of what is gained on rows set aside that may be given up, so that items that nobody has had rank higher."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.trees, self.leaves - 1, self.depth, self.least, self.truncation, self.bins - 1) < 1:
            raise ValueError(f"{self}: expected whole numbers of at least 1, leaves and bins of at least 2")
        if not 0 < self.features <= 1 or not 0 < self.rows <= 1 or self.learning_rate <= 0:
            raise ValueError(f"{self}: expected shares above 0 and at most 1, and a learning_rate above 0")
        if not 0 <= self.given_up < 1:
            raise ValueError(f"{self}: expected a share given_up of at least 0, below 1")


@dataclass(frozen=True, slots=True)
class Lists:
    """Rankings to learn from."""

    rows: Features
    """(total, features): the candidates of all rankings, one after the other."""
    sizes: NDArray[np.int64]
    """(rankings,): candidates of each."""
    right: NDArray[np.bool_]
    """(total,): which are what came."""

    def some(self, chosen: NDArray[np.bool_]) -> Lists:
        """The chosen rankings of these, (rankings,)."""
        within = np.repeat(chosen, self.sizes)
        return Lists(self.rows[within], self.sizes[chosen], self.right[within])

    def answered(self) -> Lists:
        """Those rankings that have what came among them: no other teaches anything."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        has = np.zeros(len(self.sizes), np.bool_)
        has[self.sizes > 0] = np.add.reduceat(self.right, starts[self.sizes > 0]) > 0
        return self if has.all() else self.some(has)


@dataclass(frozen=True, slots=True)
class Grown:
    """A forest, and how it came about."""

    forest: Forest
    ndcg_10: list[float] = field(default_factory=list)
    """After each tree, on the rankings set aside; none: none were."""


def grow(
    lists: Lists,
    rising: Sequence[int],
    settings: ForestSettings,
    *,
    aside: Lists | None = None,
    names: Sequence[str] = (),
) -> Grown:
    """A forest that puts first what came.

    Args:
        rising: (features,), 1 of a feature of which more never ranks lower, 0 of others.
        aside: rankings that it does not learn from, to tell how it went.
        names: of the features.

    Raises:
        ValueError: no ranking has what came among its candidates.
    """
    lists = lists.answered()
    if not len(lists.sizes):
        raise ValueError("no ranking holds what came, expected some to learn from")
    told = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "max_bin": settings.bins,
        "max_depth": settings.depth,
        "min_data_in_leaf": settings.least,
        "feature_fraction": settings.features,
        "bagging_fraction": settings.rows,
        "bagging_freq": 1,
        "lambdarank_truncation_level": settings.truncation,
        "monotone_constraints": list(rising),
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    curve: dict[str, dict[str, list[float]]] = {}
    callbacks: list[Callable[..., Any]] = [lightgbm.record_evaluation(curve)]
    sets, valid = _dataset(lists, names), []
    if aside is not None:
        valid = [_dataset(aside.answered(), names, sets)]
    booster = lightgbm.train(told, sets, settings.trees, valid_sets=valid, callbacks=callbacks)
    dump = booster.dump_model()
    seen = next(iter(curve.values()), {}).get("ndcg@10", [])
    return Grown(_flat([tree["tree_structure"] for tree in dump["tree_info"]], lists.rows.shape[1]), seen)


def _dataset(lists: Lists, names: Sequence[str], like: Any = None) -> Any:
    return lightgbm.Dataset(
        lists.rows,
        lists.right.astype(np.int32),
        group=lists.sizes,
        reference=like,
        feature_name=list(names) or "auto",
    )


def _flat(trees: Sequence[Mapping[str, Any]], width: int) -> Forest:
    """The trees of LightGBM's dump as arrays."""
    features: list[int] = []
    thresholds: list[float] = []
    children: list[list[int]] = []
    values: list[float] = []

    def add(node: Mapping[str, Any]) -> tuple[int, int]:
        """Its number, and the steps to its deepest leaf."""
        number = len(features)
        features.append(int(node.get("split_feature", 0)))
        thresholds.append(float(node.get("threshold", np.inf)))
        values.append(float(node.get("leaf_value", 0.0)))
        children.append([number, number])
        if "split_feature" not in node:
            return number, 0
        if node["decision_type"] != "<=":
            raise ValueError(f"a node decides by {node['decision_type']!r}, expected <=")
        left, deep = add(node["left_child"])
        right, deeper = add(node["right_child"])
        children[number] = [left, right]
        return number, 1 + max(deep, deeper)

    roots = [add(tree) for tree in trees]
    return Forest(
        features=np.array(features, np.int32),
        thresholds=np.array(thresholds),
        children=np.array(children, np.int32).reshape(-1, 2),
        values=np.array(values),
        roots=np.array([root for root, _ in roots], np.int32),
        depths=np.array([depth for _, depth in roots], np.int32),
        width=np.array([width], np.int32),
    )
