"""When a replayed record is due, and which ticks make time pass between records. No clock in here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streaming.errors import InputError

SECOND_MS = 1000
COARSE_TICK_MS = 30_000
"""Event time between ticks where a replay does not keep the log's spacing: a tenth of the shortest idle time."""
TICKED_GAP_MS = 3_600_000
"""Of a longer gap only the first hour is ticked, which closes every session of it; then time jumps."""
TICKS_PER_GAP = 120


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a log is replayed: its own spacing divided by `speed`, or `rate` records a second, or at once."""

    speed: float | None = None
    rate: float | None = None

    @classmethod
    def parse(cls, text: str) -> Pace:
        """
        >>> Pace.parse("60")
        Pace(speed=60.0, rate=None)
        >>> Pace.parse("300/s")
        Pace(speed=None, rate=300.0)
        >>> Pace.parse("max")
        Pace(speed=None, rate=None)

        Raises:
            InputError: it is none of these.
        """
        if text == "max":
            return cls()
        number, rate, _ = text.partition("/s")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf") or text not in (number, f"{number}/s"):
            raise InputError(
                f"--speed {text!r}, expected a factor such as 1 or 60, a rate such as 300/s, or max; give one of them"
            )
        return cls(rate=value) if rate else cls(speed=value)

    def due_s(self, number: int, since_first_ms: int) -> float:
        """Seconds from the start until a record is due: the `number`th (from 0), so much later than the first."""
        if self.rate is not None:
            return number / self.rate
        return 0.0 if self.speed is None else since_first_ms / 1000 / self.speed

    @property
    def tick_ms(self) -> int:
        """Event time between two ticks: a second where the log's spacing is kept, as on a live worker."""
        return SECOND_MS if self.speed is not None else COARSE_TICK_MS


class Ticks:
    """The times of the ticks that belong before each event, whole seconds of event time that never go back."""

    def __init__(self, every_ms: int) -> None:
        self._every = every_ms
        self._last: int | None = None

    def before(self, time: int) -> Iterator[int]:
        """Ticks due before an event at `time` (ms), the last one in the event's own second."""
        now = time - time % SECOND_MS
        last, self._last = self._last, max(now, self._last or now)
        if last is None:
            yield now
        elif now >= last + self._every:
            span = min(now - last, TICKED_GAP_MS)
            step = max(self._every, -(-span // TICKS_PER_GAP // SECOND_MS) * SECOND_MS)
            yield from range(last + step, min(last + span, now - 1) + 1, step)
            yield now
        else:
            self._last = last
