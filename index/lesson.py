"""What one event teaches: the same for every worker, in whatever order they hear of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEARNING_KINDS = frozenset({"view", "click", "cart_add", "purchase"})
"""Kinds of event that teach; the others say nothing about what goes with what."""


class Lesson(NamedTuple):
    """One event on an item, with what its session had before."""

    after: str
    """The event's item."""
    context: Sequence[str]
    """Items before it in its session, nearest first, one a place, as `index.meetings.lesson_context` makes it: the item
    itself where it comes again; empty text where the pair does not count, for it met in this session within half an
    hour."""
    kind: str
    time: int
    """ms since the epoch."""
    session: int
    """64 bits, signed, that stand for the session."""
    visitor: int
    """32 bits that stand for the user, else for the session."""


class Together(NamedTuple):
    """Items that go with a history, as columns in no promised order; an item stands in it once."""

    codes: NDArray[np.int32]
    """(m,): by the shared vocabulary."""
    scores: NDArray[np.float64]
    """(m,): from 0 to 1."""
    evidence: NDArray[np.int32]
    """(m,): the item of the history that gave most of the score."""
