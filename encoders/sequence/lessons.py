"""What a sequence network learns from: sessions, in pieces, parted into those to learn from and those to ask about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.sequence.gru import features
from encoders.sequence.settings import LONGEST
from encoders.session import Vector

Codes = NDArray[np.int64]

ASIDE = 10
"""One session in so many is set aside to tell when to stop: of each its last item is asked for and not learned."""
MOST_ASKED = 2000
TOGETHER = 20
"""Batches whose sessions are sorted by length, so that those of a batch are of like length."""


class Session(NamedTuple):
    """Items of one session, in time order."""

    codes: Codes
    told: Vector
    """(n, EXTRAS): see `gru.features`."""
    read: Vector | None = None
    """(n, reader's dimension): what the session's words up to each event say; None: they were not read."""

    @classmethod
    def of(cls, codes: Codes, kinds: Sequence[str], times: Sequence[int], read: Vector | None = None) -> Session:
        """From a session's events on items; times in ms."""
        gaps = np.diff(np.asarray(times, np.int64), prepend=times[:1]).tolist()
        return cls(codes, features(kinds, gaps), read)

    def part(self, begin: int, end: int | None) -> Session:
        """Some of its events in a row."""
        read = None if self.read is None else self.read[begin:end]
        return Session(self.codes[begin:end], self.told[begin:end], read)


def pieces(session: Session) -> list[Session]:
    """A session in pieces of LONGEST + 1 at most, each beginning where the one before ended."""
    starts = range(0, max(1, len(session.codes) - 1), LONGEST)
    cut = [session.part(at, at + LONGEST + 1) for at in starts]
    return [piece for piece in cut if len(piece.codes) >= 2]


def parted(sessions: Sequence[Session]) -> tuple[list[Session], list[Session]]:
    """Those to learn from, and those set aside, of which all but the last item is learned."""
    lessons: list[Session] = []
    exam: list[Session] = []
    for place, session in enumerate(sessions):
        if place % ASIDE or len(exam) >= MOST_ASKED:
            lessons.append(session)
        else:
            exam.append(session)
            if len(session.codes) > 2:
                lessons.append(session.part(0, -1))
    return lessons, exam


def batches(sessions: Sequence[Session], size: int, source: np.random.Generator) -> list[list[Session]]:
    """All sessions in batches of like length, in random order."""
    order = source.permutation(len(sessions))
    lengths = np.array([len(session.codes) for session in sessions])
    found = []
    for start in range(0, len(order), size * TOGETHER):
        chunk = order[start : start + size * TOGETHER]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        found += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    return [[sessions[place] for place in found[number].tolist()] for number in source.permutation(len(found))]
