"""What every session encoder promises. A test class derives from `SessionSuite` and says how one is made."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import pytest

ONE, TWO, THREE = np.eye(3, dtype=np.float32)
UNKNOWN = np.zeros(3, dtype=np.float32)
MINUTE = 60_000


class SessionSuite:
    @abstractmethod
    def make(self, dimension: int) -> Any:
        """An encoder."""

    def vector(self, *events: tuple[np.ndarray, str, int]) -> np.ndarray:
        encoder = self.make(3)
        state = encoder.start()
        for item, kind, gap in events:
            state = encoder.step(state, item, kind, gap)
        return encoder.vector(state)

    def test_a_session_without_events_is_zeros(self):
        assert self.vector().tolist() == [0, 0, 0]

    def test_one_view_is_the_items_vector(self):
        assert self.vector((TWO, "view", 0)) == pytest.approx(TWO)

    def test_one_item_seen_often_is_the_items_vector(self):
        assert self.vector(*[(TWO, "view", MINUTE)] * 30) == pytest.approx(TWO)

    def test_the_vector_has_length_one(self):
        vector = self.vector((ONE, "view", 0), (TWO, "cart_add", MINUTE), (THREE, "view", MINUTE))
        assert np.linalg.norm(vector) == pytest.approx(1)
        assert vector.dtype == np.float32

    def test_the_last_item_weighs_most(self):
        first, second, third = self.vector((ONE, "view", 0), (TWO, "view", MINUTE), (THREE, "view", MINUTE))
        assert 0 < first < second < third

    def test_a_purchase_weighs_more_than_a_cart_and_a_cart_more_than_a_view(self):
        shares = [self.vector((ONE, kind, 0), (TWO, "view", MINUTE))[0] for kind in ("view", "cart_add", "purchase")]
        assert shares[0] < shares[1] < shares[2]

    def test_a_long_gap_lets_go_of_what_was_before(self):
        soon, late = (self.vector((ONE, "view", 0), (TWO, "view", gap))[0] for gap in (1000, 40 * MINUTE))
        assert 0 < late < soon

    def test_a_year_does_not_forget_all(self):
        assert self.vector((ONE, "view", 0), (TWO, "view", 365 * 24 * 60 * MINUTE))[0] > 0.05

    def test_an_unknown_item_and_a_kind_that_says_nothing_change_nothing(self):
        known = self.vector((ONE, "view", 0), (TWO, "view", MINUTE))
        with_more = self.vector(
            (UNKNOWN, "purchase", 0),
            (ONE, "view", 0),
            (THREE, "impression", MINUTE),
            (THREE, "cart_remove", 0),
            (UNKNOWN, "view", 0),
            (TWO, "view", MINUTE),
            (THREE, "exit", 0),
        )
        assert with_more.tolist() == known.tolist()
        assert self.vector((UNKNOWN, "view", 0)).tolist() == [0, 0, 0]

    def test_a_late_event_has_a_negative_gap_and_does_no_harm(self):
        assert self.vector((ONE, "view", 0), (TWO, "view", -MINUTE)).tolist() == (
            self.vector((ONE, "view", 0), (TWO, "view", 0)).tolist()
        )

    def test_steps_are_pure_and_states_are_flat_float32(self):
        encoder = self.make(3)
        start = encoder.start()
        state = encoder.step(start, ONE, "view", 0)
        copy = state.copy()
        once, again = (encoder.step(state, TWO, "view", MINUTE) for _ in range(2))
        encoder.vector(state)
        assert start.tolist() == encoder.start().tolist()
        assert state.tolist() == copy.tolist()
        assert once.tolist() == again.tolist()
        assert once.ndim == 1
        assert once.dtype == np.float32

    def test_several_steps_at_once_are_to_the_bit_one_after_another(self):
        encoder = self.make(3)
        items = np.array([ONE, UNKNOWN, TWO, THREE, (ONE + TWO) / np.float32(3)], np.float32)
        kinds, gaps = ["view", "view", "exit", "purchase", "click"], [0, MINUTE, 0, 7 * MINUTE, 1]
        states = encoder.steps(encoder.start(), items, kinds, gaps)
        one = encoder.start()
        for state, vector, *event in zip(states, encoder.vectors(states), items, kinds, gaps, strict=True):
            one = encoder.step(one, *event)
            assert state.tobytes() == one.tobytes()
            assert vector.tobytes() == encoder.vector(one).tobytes()
        assert encoder.steps(one, items[:0], [], []).shape == (0, *one.shape)

    def test_many_events_stay_finite(self):
        vector = self.vector(*[(ONE, "purchase", 0), (TWO, "view", 90 * MINUTE)] * 500)
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1)
