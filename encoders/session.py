"""A session to a vector: what the visitor has in mind, in the space of the item vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit

Vector = NDArray[np.float32]

KIND_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"view": 1.0, "click": 1.0, "search": 1.0, "cart_add": 2.0, "purchase": 3.0}
)
"""How much an event says about what the visitor wants; a kind that is not here says nothing."""


class SessionEncoder(Protocol):
    """Steps a session's state at each event. Pure: equal arguments, equal results; no argument is changed.

    A state is one flat float32 array whatever the encoder is, so that it can be stored with the session.
    """

    @property
    def dimension(self) -> int:
        """Length of an item vector and of the session's vector."""

    def start(self) -> Vector:
        """The state of a session without events."""

    def step(self, state: Vector, item_vector: Vector, kind: str, gap_ms: int, text: str = "", /) -> Vector:
        """The state after one more event.

        Args:
            item_vector: (dimension,), length 1, of the item seen or the words searched for; zeros: not known.
            kind: as in the event.
            gap_ms: time since the event that was stepped before this one; 0 for the first.
            text: title of the item, or the words searched for; of use to an encoder that reads.
        """

    def steps(
        self,
        state: Vector,
        item_vectors: Vector,
        kinds: Sequence[str],
        gaps_ms: Sequence[int],
        texts: Sequence[str] = (),
        /,
    ) -> Vector:
        """The states after each of n events in a row, (n, state), to the bit as step after step.

        Args:
            item_vectors: (n, dimension)
            kinds, gaps_ms: n of each.
            texts: n, or none: there are no words.
        """

    def about(self, states: Vector) -> Vector:
        """(n, blocks that are pooled): what n sessions are about, to the bit as one by one: the beginning of their
        vectors, without what may come next. Cheap."""

    def vector(self, state: Vector) -> Vector:
        """(dimension,), length 1; zeros where no event said anything."""

    def vectors(self, states: Vector) -> Vector:
        """(n, dimension) of n states, in one call. As one by one: to the bit, but for encoders in torch, where it is
        up to the rounding of a matrix product (1e-5)."""


class PooledSessionEncoder:
    """Recency- and kind-weighted mean: the sum decays with each event and with time, the event adds its item.

        state' = state * decay * 2^(-min(gap, longest_gap) / half_life) + weight(kind) * item_vector

    A kind without weight and an unknown item leave the state as it is.

    >>> encoder = PooledSessionEncoder(2)
    >>> one, two = np.eye(2, dtype=np.float32)
    >>> state = encoder.step(encoder.start(), one, "view", 0)
    >>> [round(float(x), 2) for x in encoder.vector(encoder.step(state, two, "view", 1000))]
    [0.51, 0.86]
    """

    def __init__(
        self,
        dimension: int,
        *,
        decay: float = 0.6,
        half_life_ms: int = 1_800_000,
        longest_gap_ms: int = 3_600_000,
        weights: Mapping[str, float] = KIND_WEIGHTS,
    ) -> None:
        """
        Args:
            decay: what an event leaves of those before it; 0 < decay <= 1.
            half_life_ms: time in which what went before is worth half.
            longest_gap_ms: a longer gap counts as this one, so that a shop whose sessions never end (a review
                a month) keeps its history.
            weights: by kind of event.
        """
        if dimension < 1:
            raise ValueError(f"dimension {dimension}: expected at least 1")
        if not 0 < decay <= 1:
            raise ValueError(f"decay {decay}: expected above 0, at most 1")
        if half_life_ms <= 0 or longest_gap_ms < 0:
            raise ValueError(f"half_life_ms {half_life_ms}, longest_gap_ms {longest_gap_ms}: expected > 0 and >= 0")
        self.dimension = dimension
        self._decay = decay
        self._half_life_ms = half_life_ms
        self._longest_gap_ms = longest_gap_ms
        self._weights = dict(weights)

    def start(self) -> Vector:
        return np.zeros(self.dimension, dtype=np.float32)

    def step(self, state: Vector, item_vector: Vector, kind: str, gap_ms: int, _text: str = "", /) -> Vector:
        after: Vector = self.steps(state, item_vector[None, :], (kind,), (gap_ms,))[0]
        return after

    def steps(
        self,
        state: Vector,
        item_vectors: Vector,
        kinds: Sequence[str],
        gaps_ms: Sequence[int],
        _texts: Sequence[str] = (),
        /,
    ) -> Vector:
        weights = np.array([self._weights.get(kind, 0.0) for kind in kinds], np.float32)
        # A late event has a negative gap.
        gaps = [min(max(gap, 0), self._longest_gap_ms) for gap in gaps_ms]
        keep = np.array([self._decay * 2.0 ** (-gap / self._half_life_ms) for gap in gaps], np.float32)
        states: Vector = _pooled(state, item_vectors, weights, keep)
        return states

    def about(self, states: Vector) -> Vector:
        return self.vectors(states)

    def vector(self, state: Vector) -> Vector:
        unit: Vector = self.vectors(state[None, :])[0]
        return unit

    def vectors(self, states: Vector) -> Vector:
        units: Vector = _of_length_one(states)
        return units


@njit
def _pooled(state: Vector, items: Vector, weights: Vector, keep: Vector) -> Vector:
    """(n, dimension): the sum after each item."""
    sums = np.empty((len(items), len(state)), np.float32)
    before = state
    for place in range(len(items)):
        said = False
        if weights[place] != 0:
            for column in range(len(state)):
                said |= items[place, column] != 0
        for column in range(len(state)):
            now = before[column]
            if said:
                now = now * keep[place] + items[place, column] * weights[place]
            sums[place, column] = now
        before = sums[place]
    return sums


@njit
def _of_length_one(rows: Vector) -> Vector:
    """Rows divided by their length; zeros stay zeros."""
    units = np.zeros(rows.shape, np.float32)
    for place in range(len(rows)):
        square = 0.0
        for column in range(rows.shape[1]):
            square += np.float64(rows[place, column]) ** 2
        length = np.sqrt(square)
        if length > 1e-12:
            for column in range(rows.shape[1]):
                units[place, column] = rows[place, column] / length
    return units
