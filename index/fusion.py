"""The item vector: five blocks side by side, unweighted, so that weights stand on the query's side.

The inner product of an item with `query` is the weighted sum of the blocks' own, which `VectorIndex.products`
gives: one search ranks by all of them, weights may change with each session, and the terms say why an item came.

    item     [text | graph | behaviour | sequence | prior]      each of the first four of length 1, or zeros: unknown
    query    [w_text text | w_graph graph | w_behaviour behaviour | w_sequence sequence | w_prior]
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders.jit import njit
from index.exact import Vectors, checked

PARTS = ("text", "graph", "behaviour", "sequence", "prior")
"""Names of the blocks, in their order."""

NOTHING = 1e-12
"""A block shorter than this says nothing and becomes zeros."""


@dataclass(frozen=True)
class Layout:
    """Widths of the blocks.

    >>> layout = Layout()
    >>> layout.dimension, layout.session, layout.slices[1]
    (321, 320, slice(128, 192, None))
    >>> Layout(sequence=128).blocks
    array([128, 192, 320, 448])
    """

    text: int = 128
    graph: int = 64
    behaviour: int = 128
    sequence: int = 0
    """0: no session encoder was trained."""
    prior: int = 1

    def __post_init__(self) -> None:
        if min(self.text, self.graph, self.behaviour) < 1 or self.sequence < 0 or self.prior != 1:
            raise ValueError(
                f"widths {self.widths}: expected at least 1 of text, graph and behaviour, 0 or more of sequence, and 1"
                " of the prior"
            )

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Of each block, in the order of `PARTS`."""
        return tuple(getattr(self, entry.name) for entry in fields(self))

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each block begins."""
        return (0, *np.cumsum(self.widths)[:-1].tolist())

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where each block ends; read only."""
        ends = np.cumsum(self.widths)
        ends.flags.writeable = False
        return ends

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """Where each block but the prior ends; read only."""
        return self.ends[:-1]

    @property
    def slices(self) -> tuple[slice, ...]:
        """Columns of each block."""
        return tuple(slice(begin, begin + width) for begin, width in zip(self.offsets, self.widths, strict=True))

    @property
    def dimension(self) -> int:
        """Of an item vector and of a query."""
        return sum(self.widths)

    @property
    def session(self) -> int:
        """Of a session vector: all blocks but the prior."""
        return self.dimension - self.prior


LAYOUT = Layout()
"""What is used where nothing else is said."""


def assemble(
    text: Vectors,
    graph: Vectors | None,
    behaviour: Vectors | None,
    sequence: Vectors | None,
    prior: ArrayLike,
    *,
    layout: Layout = LAYOUT,
) -> Vectors:
    """Item vectors, (n, layout.dimension) float32: each block brought to length 1, zeros stay zeros.

    Args:
        text, graph, behaviour, sequence: (n, width of the block); None: unknown of all of them.
        prior: (n,), 0 to 1.

    Raises:
        ValueError: another shape, a number that is not finite, or a prior outside 0..1.

    >>> small = Layout(text=2, graph=2, behaviour=1)
    >>> assemble(np.array([[3, 4]]), None, np.array([[-2]]), None, [0.5], layout=small)
    array([[ 0.6,  0.8,  0. ,  0. , -1. ,  0.5]], dtype=float32)
    """
    count = len(text)
    rows = np.zeros((count, layout.dimension), dtype=np.float32)
    for columns, width, block in zip(layout.slices, layout.widths, (text, graph, behaviour, sequence), strict=False):
        if block is not None:
            rows[:, columns] = _unit(checked(block, width, count))
    priors = checked(np.reshape(prior, (-1, 1)), 1, count)[:, 0]
    if count and (priors.min() < 0 or priors.max() > 1):
        raise ValueError(f"priors from {priors.min()} to {priors.max()}: expected 0 to 1")
    rows[:, -1] = priors
    return rows


def normalised(vectors: Vectors, *, layout: Layout = LAYOUT) -> Vectors:
    """Session vectors, (n, layout.session), with each block brought to length 1 on its own; zeros stay zeros.

    For a session that was pooled from item vectors: the pooled blocks are shorter than 1 by how much its items differ.

    Raises:
        ValueError: another shape, or a number is not finite.
    """
    rows = checked(vectors, layout.session)
    _to_unit_blocks(rows, layout.blocks)
    return rows


def query(sessions: Vectors, weights: ArrayLike, *, layout: Layout = LAYOUT) -> Vectors:
    """What the index is asked, (q, layout.dimension): the session's blocks times their weights, and the prior's.

    Args:
        sessions: (q, layout.session), or one of (layout.session,); used as they are, see `normalised`.
        weights: (5,) for all sessions, or (q, 5), in the order of `PARTS`.

    Raises:
        ValueError: another shape, or a number is not finite.

    >>> small = Layout(text=2, graph=1, behaviour=1)
    >>> query(np.array([1.0, 0.0, 1.0, 1.0]), [0.5, 2, 0, 0, 0.25], layout=small)
    array([[0.5 , 0.  , 2.  , 0.  , 0.25]], dtype=float32)
    """
    asked = checked(np.atleast_2d(sessions), layout.session)
    given = np.asarray(weights, dtype=np.float32)
    if given.shape not in ((len(PARTS),), (len(asked), len(PARTS))) or not np.isfinite(given).all():
        raise ValueError(f"weights {given.tolist()}: expected one finite weight for each of {', '.join(PARTS)}")
    return _weighed(asked, given.reshape(-1, len(PARTS)), layout.blocks)


@njit
def _weighed(sessions: Vectors, weights: Vectors, ends: NDArray[np.int64]) -> Vectors:
    """(q, width + 1): each block times its weight, and the last weight behind them.

    Args:
        weights: (q, 5), or (1, 5) for all of them.
        ends: of the blocks.
    """
    queries = np.empty((len(sessions), sessions.shape[1] + 1), np.float32)
    for place in range(len(sessions)):
        own = weights[min(place, len(weights) - 1)]
        begin = 0
        for block in range(len(ends)):
            for column in range(begin, ends[block]):
                queries[place, column] = sessions[place, column] * own[block]
            begin = ends[block]
        queries[place, -1] = own[-1]
    return queries


@njit
def _to_unit_blocks(rows: Vectors, ends: NDArray[np.int64]) -> None:
    """Brings each block of each row to length 1, in place."""
    for place in range(len(rows)):
        begin = 0
        for end in ends:
            square = 0.0
            for column in range(begin, end):
                square += np.float64(rows[place, column]) ** 2
            length = np.sqrt(square)
            for column in range(begin, end):
                rows[place, column] = rows[place, column] / length if length > NOTHING else 0.0
            begin = end


def _unit(block: Vectors) -> Vectors:
    lengths = np.sqrt(np.add.reduce(np.square(block, dtype=np.float64), axis=1, keepdims=True))
    return np.divide(block, lengths, out=np.zeros_like(block), where=lengths > NOTHING, casting="same_kind")
