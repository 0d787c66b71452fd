"""What every session encoder that a model may bring promises, whatever is behind it. A test class derives from
`SessionNetworkSuite` and says how one is made; `EXACT` where many states are to the bit as one by one."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from encoders.session import SessionEncoder

POOLED, WIDTH = 3, 10
"""Numbers of an item in the spaces before, and in the sequence's."""
TITLES = ["red mug 1", "blue kettle 2", "red kettle 3", "mug 4", "blue mug 5", "kettle 6"]
KINDS = ("view", "click", "cart_add", "purchase", "search", "exit")


class Seen(NamedTuple):
    """What a session saw."""

    items: np.ndarray
    kinds: list[str]
    gaps: list[int]
    texts: list[str]

    def part(self, begin: int, end: int) -> Seen:
        """Some of it in a row."""
        return Seen(*(each[begin:end] for each in self))


def seen(count: int, seed: int = 0) -> Seen:
    """So many events."""
    source = np.random.default_rng(seed)
    items = source.normal(size=(count, POOLED + WIDTH)).astype(np.float32)
    for columns in (slice(POOLED), slice(POOLED, None)):
        items[:, columns] /= np.linalg.norm(items[:, columns], axis=1, keepdims=True)
    gaps = [0, *source.integers(0, 4_000_000, count - 1).tolist()]
    return Seen(
        items,
        [KINDS[number] for number in source.integers(0, 4, count)],
        gaps,
        [TITLES[number] for number in source.integers(0, len(TITLES), count)],
    )


class SessionNetworkSuite:
    EXACT = True

    @abstractmethod
    def make(self, folder: Path) -> SessionEncoder:
        """An encoder, always the same: read from a file that is written into `folder`."""

    @pytest.fixture
    def encoder(self, tmp_path: Path) -> SessionEncoder:
        return self.make(tmp_path)

    def alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        return one.tobytes() == other.tobytes() if self.EXACT else bool(np.abs(one - other).max() < 1e-5)

    def after(self, encoder: SessionEncoder, history: Seen) -> np.ndarray:
        return encoder.vector(encoder.steps(encoder.start(), *history)[-1])

    def test_equal_histories_have_equal_vectors_in_this_encoder_and_in_one_made_again(self, encoder, tmp_path):
        again = self.make(tmp_path)
        for count in (1, 7, 20):
            vector = self.after(encoder, seen(count))
            assert vector.tobytes() == self.after(encoder, seen(count)).tobytes()
            assert vector.tobytes() == self.after(again, seen(count)).tobytes()
            assert vector.shape == (encoder.dimension,)
            assert vector.dtype == np.float32

    def test_steps_are_to_the_bit_one_after_another_and_change_no_argument(self, encoder):
        history = seen(25)
        before = [np.copy(each) for each in history]
        states = encoder.steps(encoder.start(), *history)
        state = encoder.start()
        for place in range(25):
            kept = state.copy()
            after = encoder.step(state, *(each[place] for each in history))
            assert state.tobytes() == kept.tobytes()
            assert after.tobytes() == states[place].tobytes()
            state = after
        halves = encoder.steps(encoder.start(), *history.part(0, 9))
        assert encoder.steps(halves[-1], *history.part(9, 25)).tobytes() == states[9:].tobytes()
        assert all(np.array_equal(one, other) for one, other in zip(history, before, strict=True))
        assert (states.ndim, states.dtype) == (2, np.float32)

    def test_many_sessions_at_once_are_as_one_by_one(self, encoder):
        states = np.stack([encoder.steps(encoder.start(), *seen(1 + n % 20, n))[-1] for n in range(40)])
        states = np.concatenate([states, encoder.start()[None, :]])
        together = encoder.vectors(states)
        for state, vector in zip(states, together, strict=True):
            assert self.alike(encoder.vector(state), vector)
        mixed = np.random.default_rng(3).permutation(len(states))
        assert self.alike(encoder.vectors(states[mixed]), together[mixed])
        assert encoder.vectors(states[:0]).shape == (0, encoder.dimension)
        about = encoder.about(states)
        assert about.tobytes() == np.ascontiguousarray(together[:, : about.shape[1]]).tobytes()

    def test_a_session_without_events_is_zeros(self, encoder):
        assert not encoder.vector(encoder.start()).any()
        assert encoder.steps(encoder.start(), *seen(4).part(0, 0)).shape == (0, *encoder.start().shape)

    def test_each_half_has_length_one(self, encoder):
        vectors = encoder.vectors(encoder.steps(encoder.start(), *seen(30)))
        width = encoder.about(encoder.start()[None, :]).shape[1]
        for half in (vectors[:, :width], vectors[:, width:]):
            if half.shape[1]:
                assert np.linalg.norm(half, axis=1) == pytest.approx(np.ones(30), abs=1e-5)

    def test_what_nothing_is_known_of_changes_nothing(self, encoder):
        history = seen(6)
        unknown = [np.zeros(encoder.dimension, np.float32), "view", 0, ""]
        state = encoder.steps(encoder.start(), *history)[-1]
        assert encoder.step(state, *unknown).tobytes() == state.tobytes()
        assert not encoder.vector(encoder.step(encoder.start(), *unknown)).any()

    def test_other_histories_have_other_vectors(self, encoder):
        vectors = [self.after(encoder, seen(5, seed)) for seed in range(4)]
        width = encoder.about(encoder.start()[None, :]).shape[1]
        halves = [[vector[:width] for vector in vectors]] + [[vector[width:] for vector in vectors]] * (
            width < encoder.dimension
        )
        for half in halves:
            assert all(np.abs(half[one] - half[other]).max() > 1e-3 for one in range(4) for other in range(one))

    def test_a_long_history_stays_finite_and_its_newest_events_tell(self, encoder):
        long = seen(500)
        states = encoder.steps(encoder.start(), *long)
        assert states.shape == (500, len(encoder.start()))
        assert np.isfinite(encoder.vectors(states[-3:])).all()
        other = seen(500, 9)
        ending = encoder.steps(states[-1], *other.part(470, 500))[-1]
        apart = encoder.steps(encoder.start(), *other)[-1]
        assert np.abs(encoder.vector(ending) - encoder.vector(apart)).max() < 0.1

    def test_a_kind_that_says_nothing_and_a_late_event_do_no_harm(self, encoder):
        history: Any = seen(3)
        told = history._replace(kinds=["view", "impression", "exit"], gaps=[0, -60_000, 5])
        assert np.isfinite(self.after(encoder, told)).all()
