"""Graph vectors by truncated SVD of the item-fact matrix, each fact weighted by how specific it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from encoders.graph.facts import GOES_WITH, SEPARATOR, Fact
from encoders.graph.vectors import ITSELF, GraphVectors, feature


@dataclass(frozen=True, slots=True)
class SvdSettings:
    """How the matrix is weighted and cut."""

    dimension: int = 64
    """Numbers of a vector."""
    exponent: float = 0.5
    """Of the singular values: 0 makes all axes equally wide, 1 keeps their widths."""
    weights: Mapping[str, float] = field(default_factory=lambda: {GOES_WITH: 3.0})
    """Of a relation's facts, beside log(items / heads); 1 where it is not here."""
    seed: int = 0
    """Of the randomised SVD."""


def fit_svd(facts: Mapping[str, Sequence[Fact]], settings: SvdSettings | None = None) -> GraphVectors:
    """Graph vectors of items, from all that is known of each.

    A fact that leads to another item is also, to that item, what it is itself; so items are near those that lead to
    them. A fact that one item alone has says nothing about others and is left out. Equal input gives equal vectors on
    one machine.

    Args:
        facts: by item id.
    """
    its = settings or SvdSettings()
    table = _tabled(facts)
    heads = np.bincount(table.columns, minlength=len(table.keys))
    of_relation = np.array([its.weights.get(relation, 1.0) for relation in table.relations])
    weights = np.where(heads > 1, np.log(max(len(facts), 1) / np.maximum(heads, 1)) * of_relation, 0.0)  # (columns,)
    matrix = sparse.csr_matrix(
        (weights[table.columns], (table.rows, table.columns)), shape=(len(facts), len(table.keys)), dtype=np.float64
    )
    matrix.eliminate_zeros()
    axes = _axes(matrix, its) * weights[:, None]  # (columns, dimension): what a fact adds to a vector
    itself = [f"{ITSELF}{SEPARATOR}{item}" for item in table.ends]
    of_end = np.array([axes[columns].sum(axis=0) for columns in table.ends.values()]).reshape(-1, its.dimension)
    return GraphVectors("svd", [*table.keys, *itself], np.concatenate([axes, of_end]).astype(np.float32))


class _Table(NamedTuple):
    """The item-fact matrix before it is weighted: one cell a fact."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    keys: list[str]
    """Of the columns."""
    relations: list[str]
    """Of the columns."""
    ends: dict[str, list[int]]
    """Items that facts lead to, with the columns of these."""


def _tabled(facts: Mapping[str, Sequence[Fact]]) -> _Table:
    row_of = {item: row for row, item in enumerate(sorted(facts))}
    column_of: dict[str, int] = {}
    relations: list[str] = []
    cells: set[tuple[int, int]] = set()
    ends: dict[str, list[int]] = {}
    for item, row in row_of.items():
        for fact in facts[item]:
            column = column_of.setdefault(feature(fact), len(column_of))
            if column == len(relations):
                relations.append(fact.relation)
                if fact.tail in row_of:
                    ends.setdefault(fact.tail, []).append(column)
                    cells.add((row_of[fact.tail], column))
            cells.add((row, column))
    rows, columns = np.array(sorted(cells), dtype=np.int64).reshape(-1, 2).T
    return _Table(rows, columns, list(column_of), relations, ends)


def _axes(matrix: sparse.csr_matrix, settings: SvdSettings) -> NDArray[np.float64]:
    """What turns a row of the matrix to its vector: (columns, dimension). Fewer axes than asked for: zeros."""
    axes = np.zeros((matrix.shape[1], settings.dimension))
    if matrix.nnz:
        rank = min(settings.dimension, *matrix.shape)
        _, values, right = randomized_svd(matrix, rank, n_iter=6, random_state=settings.seed)  # (rank, columns)
        real = values > 1e-9 * values[0]  # axes of noise have no direction
        axes[:, :rank][:, real] = right[real].T * values[real] ** (settings.exponent - 1)
    return axes
