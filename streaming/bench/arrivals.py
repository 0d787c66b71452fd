"""When events are sent: a Poisson process, with bursts where they are asked for. Open loop: nobody's answer is waited
for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Burst:
    """A stretch of time in which events come oftener."""

    factor: float
    """How much oftener than outside of it."""
    begins_s: float
    lasts_s: float

    def __post_init__(self) -> None:
        if self.factor <= 0 or self.begins_s < 0 or self.lasts_s <= 0:
            raise InputError(
                f"burst {self.factor:g} x from {self.begins_s:g} s for {self.lasts_s:g} s, expected a factor and a"
                " length above 0, and a begin of at least 0; give it as FACTOR:BEGIN:SECONDS, such as 20:10:30"
            )

    @classmethod
    def parse(cls, text: str) -> Burst:
        """`FACTOR:BEGIN:SECONDS`.

        >>> Burst.parse("20:10:30")
        Burst(factor=20.0, begins_s=10.0, lasts_s=30.0)

        Raises:
            InputError: it is none.
        """
        try:
            factor, begins, lasts = (float(part) for part in text.split(":"))
        except ValueError as exc:
            raise InputError(f"burst {text!r}, expected FACTOR:BEGIN:SECONDS, such as 20:10:30") from exc
        return cls(factor, begins, lasts)


def arrivals(rate: float, seconds: float, *, seed: int, burst: Burst | None = None) -> Seconds:
    """Times of a Poisson process, ascending, in s from its start.

    Args:
        rate: events a second outside of the burst; infinite: see `backlog`.

    Raises:
        InputError: rate or length is no finite number above 0.
    """
    for name, value in (("rate", rate), ("seconds", seconds)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} {value:g}, expected a finite number above 0")
    corners = np.array([0.0, seconds])
    if burst is not None and burst.begins_s < seconds:
        corners = np.array([0.0, burst.begins_s, min(seconds, burst.begins_s + burst.lasts_s), seconds])
    middles = (corners[1:] + corners[:-1]) / 2
    rates = [rate * (burst.factor if burst is not None and _within(burst, at) else 1.0) for at in middles]
    expected = np.concatenate(([0.0], np.cumsum(np.diff(corners) * rates)))  # events up to each corner
    draw = np.random.default_rng(seed)
    most = int(expected[-1] + 10 * math.sqrt(expected[-1]) + 20)
    steps = np.cumsum(draw.exponential(1.0, most))  # a process of rate 1 ...
    times: Seconds = np.interp(steps[steps < expected[-1]], expected, corners)  # ... in the time that passes evenly
    return times


def backlog(events: int) -> Seconds:
    """All at once: for the most that can be worked off."""
    return np.zeros(events)


def _within(burst: Burst, at: float) -> bool:
    return burst.begins_s <= at < burst.begins_s + burst.lasts_s
