"""Which fetch from Kafka may go, so that a round of the batcher pays for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mode.utils.futures import notify

FETCH_PATIENCE_S = 0.05
"""How long a fetch waits for its turn, at most."""


class Turns:
    """When to fetch again: once what the last fetch brought is decided.

    aiokafka fetches ahead. A fetch that waits at the broker is answered at the first record, and the next would follow
    at once: while a round is under way each would bring a record or two, and each costs worker and broker as much as
    one that brings them all. So a fetch that brought something ends the turn, and the round that works it off gives
    the next as it sends its states, so that the fetch comes back before it is over. A worker that is idle has a fetch
    waiting. The turn is one for all nodes: a round is made of what they brought together.
    """

    def __init__(self, in_rounds: Callable[[], bool], patience_s: float = FETCH_PATIENCE_S) -> None:
        """Only while records lead to rounds, `in_rounds`, must a fetch wait; never longer than `patience_s`, for rounds
        may be long, and what was fetched may be of an older assignment."""
        self._in_rounds = in_rounds
        self._patience_s = patience_s
        self._given = True
        self._waiting: set[asyncio.Future[None]] = set()

    def give(self) -> None:
        """Fetch: from any thread."""
        self._given = True  # before the look at who waits: see `_turn`
        for waiter in tuple(self._waiting):
            waiter.get_loop().call_soon_threadsafe(notify, waiter)

    async def _turn(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)  # before the look at whether it is given: one of both sees the other
        try:
            if not self._given:
                await asyncio.wait([waiter], timeout=self._patience_s)
        finally:
            self._waiting.discard(waiter)

    def taken(self, fetch: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
        """aiokafka's `Fetcher._proc_fetch_request`, in turn."""

        async def fetch_in_turn(assignment: Any, node_id: int, request: Any) -> bool:
            if not self._given:
                try:
                    await self._turn()
                except asyncio.CancelledError:  # as the original answers it
                    return False
            brought = await fetch(assignment, node_id, request)
            if brought and self._in_rounds():
                self._given = False
            return brought

        return fetch_in_turn
