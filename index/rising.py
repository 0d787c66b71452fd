"""What is on the rise: the items whose last sessions are the newest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index.popularity import Leaders
from index.session_store import SessionStore
from index.vocabulary import Codes, Vocabulary

RANK = 4
"""The session of an item, from its last back, that says how it rises: one alone is chance, and many take too long."""
SIZE = 100
"""Items that are kept in order."""


class Rising:
    """The items whose `RANK`-last session is newest, in order all the time; what it says follows from what the store
    holds. Not thread-safe: its owner locks.

    Memory: 8 bytes an item.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._leaders = Leaders(vocabulary, SIZE)
        self._times: NDArray[np.int64] | None = None  # by code, of the session that says it; None: nobody has asked yet

    def best(self, store: SessionStore, n: int) -> Codes:
        """The n that rise most, ties by item id. Items with fewer sessions are not among them."""
        if self._times is None:
            self._times = self._of(store, np.arange(len(store.items), dtype=np.int32))
        return np.array(self._leaders.best(self._times, n), np.int32)

    def met(self, store: SessionStore, code: int) -> None:
        """To be told after a session had an item."""
        if self._times is None:
            return
        if code >= len(self._times):
            self._times = np.append(self._times, np.zeros(len(store.items) - len(self._times), np.int64))
        self._times[code] = now = self._of(store, np.array([code], np.int32))[0]
        if now:
            self._leaders.grown(self._times, code, int(now))

    def _of(self, store: SessionStore, codes: Codes) -> NDArray[np.int64]:
        return store.newest(codes, np.array([RANK]))[:, 0].clip(min=0)
