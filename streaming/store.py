"""The session states of one worker: decoded values in memory over the local copy of the changelog."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol

from streaming import codec
from streaming.outbox import Outbox
from streaming.sessions import SessionState
from streaming.topics import OUTBOX_KEY


class Local(Protocol):
    """Where encoded states are kept; `streaming.writing.LocalState`, or a dictionary in tests."""

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The encoded state, or none."""

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Write the encoded state; none deletes it."""

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All states of a partition, in key order."""


class StateStore:
    """States by partition and session. A cache of decoded values, least recently used dropped first.

    Nothing may be put before the changelog has confirmed it. `clear` when the assignment changes: another worker may
    have gone on with a session in between.
    """

    def __init__(self, local: Local, capacity: int) -> None:
        self._local = local
        self._capacity = capacity
        self._cache: OrderedDict[tuple[int, str], SessionState] = OrderedDict()

    def __len__(self) -> int:
        """Decoded states in memory."""
        return len(self._cache)

    def get(self, partition: int, session: str) -> SessionState | None:
        """The session's state, or none if it has none."""
        slot = (partition, session)
        state = self._cache.get(slot)
        if state is not None:
            self._cache.move_to_end(slot)
            return state
        encoded = self._local.get(partition, session.encode())
        if encoded is None:
            return None
        state = codec.decode(encoded, SessionState)
        self._remember(slot, state)
        return state

    def put(self, partition: int, session: str, state: SessionState | None, encoded: bytes | None) -> None:
        """Keep what the changelog has confirmed: the state and its encoded form, or none for both to delete it."""
        slot = (partition, session)
        self._local.put(partition, session.encode(), encoded)
        if state is None:
            self._cache.pop(slot, None)
        else:
            self._remember(slot, state)

    def scan(self, partition: int) -> Iterator[tuple[str, SessionState]]:
        """All sessions of a partition, decoded one by one, past the cache."""
        for key, encoded in self._local.items(partition):
            yield key.decode(), codec.decode(encoded, SessionState)

    def encoded(self, partition: int) -> Iterator[tuple[str, bytes]]:
        """All sessions of a partition as they are stored."""
        for key, encoded in self._local.items(partition):
            yield key.decode(), encoded

    def outbox(self, partition: int) -> Outbox | None:
        """What recovery found that the partition's last owner had decided to send; none if there is nothing."""
        encoded = self._local.get(partition, OUTBOX_KEY)
        return None if encoded is None else codec.decode(encoded, Outbox)

    def empty_outbox(self, partition: int) -> None:
        """All of it was delivered."""
        self._local.put(partition, OUTBOX_KEY, None)

    def clear(self) -> None:
        """Forget the decoded values; the local copy stays."""
        self._cache.clear()

    def _remember(self, slot: tuple[int, str], state: SessionState) -> None:
        self._cache[slot] = state
        self._cache.move_to_end(slot)
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
