"""A forest of regression trees, scored without the library that grew it: all candidates of a moment walk down a tree
together, so that the processor has as many independent loads under way as there are candidates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from encoders.jit import njit
from index.errors import IndexingError

Features = NDArray[np.float32]
Scores = NDArray[np.float64]
BLOCK = 256
"""Rows that go down all trees before the next do: as many as stay at hand in the nearest cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees as flat arrays over all their nodes. Read-only: any thread may call."""

    features: NDArray[np.int32]
    """(nodes,): the feature that a node asks for; 0 of a leaf."""
    thresholds: NDArray[np.float64]
    """(nodes,): a value of at most this goes left; infinite of a leaf."""
    children: NDArray[np.int32]
    """(nodes, 2): left and right; a leaf leads to itself."""
    values: NDArray[np.float64]
    """(nodes,): what a leaf adds; 0 of others."""
    roots: NDArray[np.int32]
    """(trees,)"""
    depths: NDArray[np.int32]
    """(trees,): steps from the root to the deepest leaf."""
    width: NDArray[np.int32]
    """(1,): features of a row."""

    def __post_init__(self) -> None:
        nodes = len(self.features)
        whole = (
            len(self.thresholds) == len(self.values) == nodes
            and self.children.shape == (nodes, 2)
            and len(self.depths) == len(self.roots)
            and self.width.shape == (1,)
        )
        if not whole or not np.isfinite(self.values).all() or np.isnan(self.thresholds).any():
            raise ValueError(f"a forest of {nodes} nodes whose arrays do not fit together")
        for array, most in ((self.children, nodes), (self.roots, nodes), (self.features, int(self.width[0]))):
            if array.size and (array.min() < 0 or array.max() >= most):
                raise ValueError(f"a forest that points at {array.min()} to {array.max()}, expected 0 to {most - 1}")

    def scores(self, rows: Features) -> Scores:
        """(n,) of (n, width): the sum of the trees.

        Raises:
            ValueError: rows of another width.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width[0]:
            raise ValueError(f"features {rows.shape}, expected (n, {self.width[0]}) as the forest was grown on")
        found: Scores = _scores(
            rows, self.features, self.thresholds, self.children, self.values, self.roots, self.depths
        )
        return found

    def first(self, trees: int) -> Forest:
        """The forest of its first trees, as it was when no more had grown."""
        last = int(self.roots[trees]) if trees < len(self.roots) else len(self.features)
        cut = {name: getattr(self, name)[:last] for name in ("features", "thresholds", "children", "values")}
        return replace(self, roots=self.roots[:trees], depths=self.depths[:trees], **cut)

    def raised(self, feature: int, most: float, value: float) -> Forest:
        """The forest with one tree more: `value` for rows of which a feature is at most `most`."""
        root = len(self.features)
        return replace(
            self,
            features=np.append(self.features, np.array([feature, 0, 0], np.int32)),
            thresholds=np.append(self.thresholds, [most, np.inf, np.inf]),
            children=np.append(self.children, root + np.array([[1, 2], [1, 1], [2, 2]], np.int32), axis=0),
            values=np.append(self.values, [0.0, value, 0.0]),
            roots=np.append(self.roots, np.int32(root)),
            depths=np.append(self.depths, np.int32(1)),
        )

    @property
    def digest(self) -> str:
        """16 hex characters of the numbers."""
        content = hashlib.blake2b(digest_size=8)
        for entry in fields(self):
            content.update(getattr(self, entry.name).tobytes())
        return content.hexdigest()

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        save_file({entry.name: np.ascontiguousarray(getattr(self, entry.name)) for entry in fields(self)}, path)

    @classmethod
    def load(cls, path: Path) -> Forest:
        """Reads what `save` wrote.

        Raises:
            IndexingError: the file is not there or not whole.
        """
        try:
            tensors = load_file(path)
            return cls(**{entry.name: tensors[entry.name] for entry in fields(cls)})
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as exc:
            raise IndexingError(f"{path}: no forest ({exc}); train the model anew") from exc


@njit
def _scores(
    rows: Features,
    features: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    children: NDArray[np.int32],
    values: NDArray[np.float64],
    roots: NDArray[np.int32],
    depths: NDArray[np.int32],
) -> Scores:
    # Numbers without a sign: else numba asks of each whether it counts from the end, which takes as long again.
    totals = np.zeros(len(rows))
    nodes = np.empty(min(len(rows), BLOCK), np.uint32)
    for begin in range(0, len(rows), BLOCK):
        block, sums = rows[begin : begin + BLOCK], totals[begin : begin + BLOCK]
        for tree in range(len(roots)):
            nodes[:] = roots[tree]
            for _ in range(depths[tree]):
                for row in range(len(block)):
                    node = nodes[row]
                    right = np.uint32(block[row, np.uint32(features[node])] > thresholds[node])
                    nodes[row] = children[node, right]
            for row in range(len(block)):
                sums[row] += values[nodes[row]]
    return totals
