"""Which predictions were seen, and which of them still hold. A value of its own, without Kafka and without a clock."""

from __future__ import annotations

from streaming.records import Prediction

MAX_IDS = 1_000_000
WITHDRAWN = 0
"""Until when a withdrawn prediction holds: before all time."""
_BUCKET_MS = 60_000


class Ledger:
    """Remembers prediction ids until they expire, at most `max_ids`: makes "at least once" into "once" for a reader.

    Ids are forgotten by whole minutes, the earliest to expire first, so memory is bounded: about 200 bytes an id.
    """

    def __init__(self, max_ids: int = MAX_IDS) -> None:
        self._max_ids = max_ids
        self._until: dict[str, int] = {}  # id -> ms until which it holds; 0: withdrawn
        self._minutes: dict[int, list[str]] = {}  # minute in which an id may be forgotten -> ids
        self._purged = 0  # the minute before which all is forgotten
        self.repeats = 0
        """Predictions that came again."""
        self.expired = 0
        """Predictions that were over when they came."""
        self.withdrawn = 0
        """Predictions that another one replaced or withdrew, before or after they came."""

    def __len__(self) -> int:
        """Ids remembered now."""
        return len(self._until)

    def accept(self, prediction: Prediction, now: int) -> bool:
        """Take note of a prediction at time `now` (ms); whether it is new and holds.

        What it supersedes or cancels stops holding, even where that has not come yet.
        """
        self._purge(now)
        if prediction.prediction_id in self._until:
            if self._until[prediction.prediction_id] != WITHDRAWN:
                self.repeats += 1
            return False
        if prediction.expires_at <= now:
            self.expired += 1
            return False
        for earlier in (*prediction.supersedes, *prediction.cancels):
            if self._until.get(earlier) != WITHDRAWN:
                self.withdrawn += 1
                self._note(earlier, WITHDRAWN, prediction.expires_at)
        self._note(prediction.prediction_id, prediction.expires_at, prediction.expires_at)
        return True

    def holds(self, prediction_id: str, now: int) -> bool:
        """Whether the prediction was accepted, and is neither over nor replaced nor withdrawn."""
        return self._until.get(prediction_id, WITHDRAWN) > now

    def _note(self, prediction_id: str, until: int, remembered_ms: int) -> None:
        if prediction_id not in self._until:
            self._minutes.setdefault(remembered_ms // _BUCKET_MS, []).append(prediction_id)
        self._until[prediction_id] = until
        while len(self._until) > self._max_ids:
            self._forget(min(self._minutes))

    def _purge(self, now: int) -> None:
        minute = now // _BUCKET_MS
        if minute > self._purged:
            self._purged = minute
            for over in [known for known in self._minutes if known < minute]:
                self._forget(over)

    def _forget(self, minute: int) -> None:
        for prediction_id in self._minutes.pop(minute):
            del self._until[prediction_id]
