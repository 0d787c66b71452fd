"""How session neighbours are found and how they vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from index.session_store import FURTHEST

Decay = Literal["none", "linear", "quadratic", "inverse"]
"""How the weight of a place falls, p places before the newest of h: 1, 1 - p/h, its square, 1 / (p + 1)."""

_DECAYS = ("none", "linear", "quadratic", "inverse")


@dataclass(frozen=True, slots=True)
class KnnSettings:
    """How neighbours are found and how they vote."""

    k: int = 100
    """Neighbour sessions that vote."""
    recent: int = 500
    """Newest sessions of each item that are looked at, `m` of the paper; time grows with it."""
    history: int = 20
    """Last places of the session that are looked at."""
    decay: Decay = "linear"
    """By place of an item in the session: what sharing it adds to a neighbour's similarity."""
    match: Decay = "inverse"
    """By place of the newest item shared: how much the neighbour's vote counts beside its similarity."""
    near: float = 0.3
    """An item that the neighbour had d places from the shared one counts exp(-near (d - 1)); 0: always 1."""
    backward: float = 1.0
    """What an item counts that the neighbour had before the shared one, 0 to 1."""
    idf: float = 1.0
    """Votes for an item are multiplied by (log(entries / sessions with it) / log entries)^idf; 0: popular items lose
    nothing."""
    own: float = 0.25
    """What votes count for the session's own items: nearly every neighbour has them, which says little."""
    again: float = 8.0
    """Added to an own item's score: `again` times the share of events that came back to an item that far back. So a
    shop where nobody clicks a thing twice in a row, and one where every fourth does, need no setting of their own."""
    window: int = 10
    """Events back that returns are counted for; no more than lessons have in their context."""
    doubt: float = 2.0
    """Weight of neighbours without an opinion, added to the sum of weights by which votes are divided: few or poor
    neighbours then give low scores. 0: scores are plain shares."""
    longest: int = 100
    """Newest items kept of one session; a bot's session is no more than that."""
    capacity: int = 2_000_000
    """(session, item) entries kept; the oldest leave. About 100 bytes each."""

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("recent", 1), ("history", 1), ("longest", 1), ("capacity", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} or more")
        for name in ("near", "idf", "again", "doubt"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a finite number, 0 or more")
        for name in ("decay", "match"):
            if getattr(self, name) not in _DECAYS:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(_DECAYS)}")
        for name in ("backward", "own"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if not 0 <= self.window <= FURTHEST:
            raise ValueError(f"window is {self.window}, expected 0 to {FURTHEST}")
