from __future__ import annotations

import pytest

from streaming.errors import InputError
from streaming.pace import COARSE_TICK_MS, SECOND_MS, TICKED_GAP_MS, TICKS_PER_GAP, Pace, Ticks

T = 1_700_000_000_000


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "nan", "inf", "10/m", "/s", "1/s/s", "max/s"])
def test_what_is_no_speed_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match="--speed"):
        Pace.parse(text)


@pytest.mark.parametrize(("text", "due"), [("1", 6.0), ("60", 0.1), ("0.5", 12.0), ("300/s", 0.01), ("max", 0.0)])
def test_the_fourth_record_six_seconds_after_the_first_is_due(text: str, due: float) -> None:
    assert Pace.parse(text).due_s(3, 6000) == pytest.approx(due)


def test_ticks_come_every_second_where_the_spacing_is_kept_and_seldom_where_it_is_not() -> None:
    assert Pace.parse("60").tick_ms == SECOND_MS
    assert Pace.parse("300/s").tick_ms == Pace.parse("max").tick_ms == COARSE_TICK_MS


def test_each_second_ticks_once_up_to_that_of_the_event() -> None:
    ticks = Ticks(SECOND_MS)
    assert list(ticks.before(T + 100)) == [T]
    assert list(ticks.before(T + 900)) == []
    assert list(ticks.before(T + 3400)) == [T + 1000, T + 2000, T + 3000]


def test_time_never_goes_back() -> None:
    ticks = Ticks(SECOND_MS)
    assert list(ticks.before(T + 5000)) == [T + 5000]
    assert list(ticks.before(T)) == []
    assert list(ticks.before(T + 6000)) == [T + 6000]


def test_coarse_ticks_do_not_lose_time_in_steps_shorter_than_theirs() -> None:
    ticks = Ticks(COARSE_TICK_MS)
    found = [tick for second in range(0, 120, 10) for tick in ticks.before(T + second * 1000)]
    assert found == [T, T + 30_000, T + 60_000, T + 90_000]


def test_of_a_long_gap_the_first_hour_is_ticked_evenly_then_time_jumps() -> None:
    ticks = Ticks(SECOND_MS)
    list(ticks.before(T))
    found = list(ticks.before(T + 86_400_000))
    assert found[0] == T + TICKED_GAP_MS // TICKS_PER_GAP
    assert found[-2:] == [T + TICKED_GAP_MS, T + 86_400_000]
    assert len(found) == TICKS_PER_GAP + 1
