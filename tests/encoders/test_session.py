import numpy as np
import pytest

from encoders.session import PooledSessionEncoder
from tests.suites.session_suite import SessionSuite

ONE, TWO = np.eye(2, dtype=np.float32)


class TestPooledSessionEncoder(SessionSuite):
    def make(self, dimension):
        return PooledSessionEncoder(dimension)


def test_the_formula():
    encoder = PooledSessionEncoder(2, decay=0.5, half_life_ms=1000, longest_gap_ms=2000, weights={"view": 1, "buy": 3})
    state = encoder.step(encoder.start(), ONE, "buy", 0)
    assert encoder.step(state, TWO, "view", 1000).tolist() == [0.75, 1]
    assert encoder.step(state, TWO, "view", 2000).tolist() == [0.375, 1]
    assert encoder.step(state, TWO, "view", 9000).tolist() == [0.375, 1]
    assert encoder.vector(state).tolist() == [1, 0]


@pytest.mark.parametrize(
    "wrong", [{"dimension": 0}, {"decay": 0}, {"decay": 1.1}, {"half_life_ms": 0}, {"longest_gap_ms": -1}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        PooledSessionEncoder(**{"dimension": 2} | wrong)
