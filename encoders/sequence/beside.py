"""A session by a sequence encoder beside its pooled mean: one state, one vector, [pooled | sequence]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from encoders.session import PooledSessionEncoder, Vector


class BesidePooled(ABC):
    """`SessionEncoder` of [pooled | sequence]. Who derives says how the second half is stepped, and what it gives."""

    def __init__(self, pooled: PooledSessionEncoder, size: int, width: int) -> None:
        """
        Args:
            pooled: of the blocks before the sequence's.
            size: of the sequence's state. width: of its vector, and of an item's in its space.
        """
        self._pooled, self._size = pooled, size
        self.dimension = pooled.dimension + width

    @abstractmethod
    def stepped(
        self, state: Vector, items: Vector, kinds: Sequence[str], gaps_ms: Sequence[int], texts: Sequence[str]
    ) -> Vector:
        """The sequence's states after each of n events, (n, size), to the bit as one after another.

        Args:
            state: (size,). items: (n, width), zeros where nothing is known. texts: n.
        """

    @abstractmethod
    def outcome(self, states: Vector) -> Vector:
        """The sequence's vectors of n states, (n, width), each of length 1; zeros where nothing was stepped.

        Args:
            states: (n, size), at least one.
        """

    def start(self) -> Vector:
        return np.zeros(self._pooled.dimension + self._size, np.float32)

    def step(self, state: Vector, item_vector: Vector, kind: str, gap_ms: int, text: str = "", /) -> Vector:
        after: Vector = self.steps(state, item_vector[None, :], (kind,), (gap_ms,), (text,))[0]
        return after

    def steps(
        self,
        state: Vector,
        item_vectors: Vector,
        kinds: Sequence[str],
        gaps_ms: Sequence[int],
        texts: Sequence[str] = (),
        /,
    ) -> Vector:
        width = self._pooled.dimension
        means = self._pooled.steps(state[:width], item_vectors[:, :width], kinds, gaps_ms)
        items = np.ascontiguousarray(item_vectors[:, width:])
        after = self.stepped(state[width:], items, kinds, gaps_ms, texts or [""] * len(items))
        return np.concatenate([means, after], axis=1)

    def about(self, states: Vector) -> Vector:
        return self._pooled.vectors(np.ascontiguousarray(states[:, : self._pooled.dimension]))

    def vector(self, state: Vector) -> Vector:
        unit: Vector = self.vectors(state[None, :])[0]
        return unit

    def vectors(self, states: Vector) -> Vector:
        if not len(states):
            return np.zeros((0, self.dimension), np.float32)
        told = self.outcome(np.ascontiguousarray(states[:, self._pooled.dimension :]))
        return np.concatenate([self.about(states), told], axis=1)
