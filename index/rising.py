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
_RANKS = np.array([RANK])


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
        return self._leaders.best(self._times, n)

    def met(self, store: SessionStore, codes: Codes) -> None:
        """To be told after sessions had items."""
        if self._times is None:
            return
        if len(store.items) > len(self._times):
            self._times = np.append(self._times, np.zeros(len(store.items) - len(self._times), np.int64))
        self._times[codes] = self._of(store, codes)
        self._leaders.grown(self._times, codes.tolist())

    def _of(self, store: SessionStore, codes: Codes) -> NDArray[np.int64]:
        return store.newest(codes, _RANKS)[:, 0].clip(min=0)
