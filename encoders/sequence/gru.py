"""A session by a GRU (Cho et al. 2014) over its items' vectors, stepped without a framework: what is likely next, as a
direction in the space of the items.

The state stands beside the pooled mean's in one array, so that a session has one vector: [pooled | sequence].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from encoders.jit import njit
from encoders.sequence.beside import BesidePooled
from encoders.sequence.settings import EXTRAS, INPUT_KINDS, Network
from encoders.session import PooledSessionEncoder, Vector

GAP_SCALE = 0.1
"""Of log(1 + seconds), which is about 1 after six hours."""
_REASSOCIATED = {"reassoc", "contract"}
"""Sums in lanes: in an order of their own, and the same one for every row."""


class GruWeights(NamedTuple):
    """All float32; gates in PyTorch's order: reset, update, new."""

    inputs: Vector
    """(3 hidden, width + EXTRAS)"""
    inputs_bias: Vector
    """(3 hidden,)"""
    hidden: Vector
    """(3 hidden, hidden)"""
    hidden_bias: Vector
    """(3 hidden,)"""
    out: Vector
    """(width, hidden)"""
    out_bias: Vector
    """(width,)"""
    skip: Vector
    """(1,): what of the newest item's own vector is added to the outcome."""

    @property
    def kind(self) -> Network:
        """As the settings call it."""
        return "gru"

    def tensors(self) -> dict[str, Vector]:
        """For a safetensors file."""
        return dict(self._asdict())

    @classmethod
    def of(cls, tensors: Mapping[str, Vector]) -> GruWeights:
        """What `tensors` gave.

        Raises:
            KeyError: one is not there.
        """
        return cls(*(tensors[name] for name in cls._fields))

    @property
    def width(self) -> int:
        """Of an item's vector."""
        return len(self.out)

    @property
    def size(self) -> int:
        """Of the state: the hidden units, and the newest item's vector."""
        return int(self.hidden.shape[1]) + self.width

    def check(self) -> None:
        """Nothing, unless the arrays do not fit together.

        Raises:
            ValueError: they do not.
        """
        size, width = self.hidden.shape[1], len(self.out)
        expected = (
            (3 * size, width + EXTRAS),
            (3 * size,),
            (3 * size, size),
            (3 * size,),
            (width, size),
            (width,),
            (1,),
        )
        found = tuple(each.shape for each in self)
        if found != expected or not all(np.isfinite(each).all() for each in self):
            raise ValueError(f"weights of a GRU of shapes {found}, expected {expected}, all finite")


def features(kinds: Sequence[str], gaps_ms: Sequence[int]) -> Vector:
    """What an input says besides the item: (n, EXTRAS).

    >>> features(["click", "exit"], [0, 60_000]).round(2)
    array([[0.  , 1.  , 0.  , 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.  , 0.  , 0.41]], dtype=float32)
    """
    rows = np.zeros((len(kinds), EXTRAS), np.float32)
    for row, kind in zip(rows, kinds, strict=True):
        if kind in _PLACES:
            row[_PLACES[kind]] = 1
    rows[:, -1] = np.log1p(np.maximum(np.asarray(gaps_ms, np.float64), 0) / 1000) * GAP_SCALE
    return rows


_PLACES: Mapping[str, int] = {kind: place for place, kind in enumerate(INPUT_KINDS)}


class GruSessionEncoder(BesidePooled):
    """`SessionEncoder` of [pooled | sequence]; an item without a vector in the sequence space leaves the GRU as it is.

    About 12 us a step of 128 hidden units.
    """

    def __init__(self, pooled: PooledSessionEncoder, weights: GruWeights) -> None:
        """
        Args:
            pooled: of the blocks before the sequence's.

        Raises:
            ValueError: the weights do not fit together.
        """
        weights.check()
        super().__init__(pooled, weights.size, weights.width)
        self._weights, self._units = weights, weights.hidden.shape[1]

    def stepped(
        self, state: Vector, items: Vector, kinds: Sequence[str], gaps_ms: Sequence[int], _texts: Sequence[str]
    ) -> Vector:
        after: Vector = _stepped(state, items, features(kinds, gaps_ms), self._weights[:4], self._units)
        return after

    def outcome(self, states: Vector) -> Vector:
        weights = self._weights
        told: Vector = _outcome(states, weights.out, weights.out_bias, float(weights.skip[0]))
        return told


@njit(fastmath=_REASSOCIATED)
def _inner(one: Vector, other: Vector) -> float:
    total = np.float32(0)
    for column in range(len(one)):
        total += one[column] * other[column]
    return total  # type: ignore[return-value]


@njit
def _stepped(
    state: Vector, items: Vector, told: Vector, weights: tuple[Vector, Vector, Vector, Vector], units: int
) -> Vector:
    """(n, units + width): hidden units and newest item after each of n inputs."""
    inputs, inputs_bias, hidden, hidden_bias = weights
    width = items.shape[1]
    states = np.empty((len(items), len(state)), np.float32)
    gates, recurrent = np.empty(3 * units, np.float32), np.empty(3 * units, np.float32)
    row = np.empty(width + told.shape[1], np.float32)
    before = state
    for place in range(len(items)):
        after = states[place]
        if not items[place].any():
            after[:] = before
            before = after
            continue
        row[:width], row[width:] = items[place], told[place]
        for gate in range(3 * units):
            gates[gate] = _inner(inputs[gate], row) + inputs_bias[gate]
            recurrent[gate] = _inner(hidden[gate], before[:units]) + hidden_bias[gate]
        for unit in range(units):
            reset = 1 / (1 + np.exp(-(gates[unit] + recurrent[unit])))
            update = 1 / (1 + np.exp(-(gates[units + unit] + recurrent[units + unit])))
            new = np.tanh(gates[2 * units + unit] + reset * recurrent[2 * units + unit])
            after[unit] = (1 - update) * new + update * before[unit]
        after[units:] = items[place]
        before = after
    return states


@njit
def _outcome(states: Vector, out: Vector, bias: Vector, skip: float) -> Vector:
    """(n, width), each of length 1; zeros where nothing was stepped."""
    width = len(out)
    units = states.shape[1] - width
    found = np.zeros((len(states), width), np.float32)
    for place in range(len(states)):
        if not states[place, units:].any():
            continue
        square = 0.0
        for column in range(width):
            value = _inner(out[column], states[place, :units]) + bias[column] + skip * states[place, units + column]
            found[place, column] = value
            square += value * value
        length = np.sqrt(square)
        for column in range(width):
            found[place, column] = found[place, column] / length if length > 1e-12 else 0.0
    return found
