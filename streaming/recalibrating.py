"""What came of what was said, and the correction that it teaches while a worker runs.

Every ranking is noted, sent or not, with what it would have offered. It is held against what its session does until its
horizon is over, and rankings are looked at in the order in which they were made: else those that are soon answered
would speak before the others, and all would seem better than it is.

A worker notes its own sessions, in memory: the correction depends on which partitions it has and on the order in which
events of its topics meet, and begins anew with the process and with another model. Equal events in equal order correct
alike, as in a backtest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from index.correction import Correction
from streaming.gating import HORIZON_EVENTS, HORIZON_MS

NOTED = 20_000
"""Rankings whose horizon is not over, at most; what comes on top is not noted."""


@dataclass(slots=True, eq=False)
class _Spoken:
    session: str
    time: int
    items: tuple[Hashable, ...]
    scores: tuple[float, ...]
    chance: float | None
    left: int = HORIZON_EVENTS
    came: set[Hashable] = field(default_factory=set)


class Recalibration:
    """Not for more than one thread."""

    def __init__(self, noted: int = NOTED) -> None:
        self.offers = Correction(every=1_000)
        """Of each offer's score."""
        self.predictions = Correction(half_life=4_000.0)
        """Of the chance of a whole prediction."""
        self._most = noted
        self._open: dict[str, list[_Spoken]] = {}
        self._order: deque[_Spoken] = deque()
        self._now = 0

    def __len__(self) -> int:
        """Rankings whose horizon is not over."""
        return len(self._order)

    def said(
        self,
        session: str,
        time: int,
        items: Sequence[Hashable],
        scores: Sequence[float],
        chance: float | None,
    ) -> None:
        """A ranking would offer these.

        Args:
            time: of the event that it was made at, ms since the epoch.
            scores: of the items, uncorrected.
            chance: that any of them comes, uncorrected; None: there is no gate.
        """
        if len(self._order) < self._most:
            spoken = _Spoken(session, time, tuple(items), tuple(scores), chance)
            self._order.append(spoken)
            self._open.setdefault(session, []).append(spoken)

    def met(self, session: str, item: Hashable, time: int) -> None:
        """A session's event on an item: what was said before it hears of it, and what is over is learned from."""
        for spoken in self._open.get(session, ()):
            if spoken.left and time - spoken.time <= HORIZON_MS:
                spoken.left -= 1
                if item in spoken.items:
                    spoken.came.add(item)
        self._now = max(self._now, time)
        while self._order and self._over(self._order[0]):
            self._learn(self._order.popleft())

    def _over(self, spoken: _Spoken) -> bool:
        return not spoken.left or self._now - spoken.time > HORIZON_MS

    def _learn(self, spoken: _Spoken) -> None:
        others = self._open[spoken.session]
        others.remove(spoken)
        if not others:
            del self._open[spoken.session]
        came = [item in spoken.came for item in spoken.items]
        self.offers.hear(spoken.scores, came)
        if spoken.chance is not None:
            self.predictions.hear([spoken.chance], [any(came)])
