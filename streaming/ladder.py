"""How much of the work is done when events wait for too long: the rungs from `full` down to `popular`, and back.

| level | what is left out |
|---|---|
| `full` | nothing |
| `cached` | the text encoder: words that were not met before are passed over |
| `graph` | the session's vector and the search for what is near to it: counts, neighbours and popularity remain |
| `popular` | all but popularity |

Age is that of the oldest event of a batch, by the time of its Kafka record. Where it grows beyond the budget the next
rung is taken, beyond twice and four times the budget the ones below, at once. Up it goes one rung at a time, after a
second in which events waited for no more than half of what the rung was taken for: so it does not swing.
"""

from __future__ import annotations

from typing import Final

from streaming.records import Level

LEVELS: Final[tuple[Level, ...]] = ("full", "cached", "graph", "popular")
"""From the most to the least."""
CALM_S = 1.0
"""How long it has to be calm for each rung up."""
_OVER = (0.0, 1.0, 2.0, 4.0)
"""Budgets from which on a rung is taken."""


class Ladder:
    """The rung that holds now. No clock in it: time comes in.

    >>> ladder = Ladder(100)
    >>> [ladder.settle(age, at) for age, at in ((20, 0), (150, 1), (500, 2), (10, 3), (10, 4), (10, 5))]
    ['full', 'cached', 'popular', 'popular', 'graph', 'cached']
    """

    def __init__(self, budget_ms: float) -> None:
        """`budget_ms`: how old an event may be when its batch begins; 0: no matter, the level is always `full`."""
        self._budget_ms = budget_ms
        self._rung = 0
        self._calm_since: float | None = None
        self.age_ms = 0.0
        """As it was last told."""

    @property
    def level(self) -> Level:
        """The most that may be done."""
        return LEVELS[self._rung]

    @property
    def rung(self) -> int:
        """The level's place in `LEVELS`."""
        return self._rung

    @property
    def reason(self) -> str | None:
        """Why the level is not `full`; none: it is."""
        if not self._rung:
            return None
        return f"level {self.level}: events waited for {self.age_ms:.0f} ms, the budget is {self._budget_ms:.0f} ms"

    def settle(self, age_ms: float, now: float) -> Level:
        """The level for a batch whose oldest event has waited for so long.

        Args:
            now: in s, of any clock that does not jump.
        """
        self.age_ms = age_ms
        if not self._budget_ms:
            return "full"
        wanted = sum(age_ms > self._budget_ms * over for over in _OVER[1:])
        if wanted > self._rung:
            self._rung, self._calm_since = wanted, None
        elif self._rung:
            self._climb(age_ms, now)
        return self.level

    def _climb(self, age_ms: float, now: float) -> None:
        if age_ms > self._budget_ms * _OVER[self._rung] / 2:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= CALM_S:
            self._rung, self._calm_since = self._rung - 1, now
