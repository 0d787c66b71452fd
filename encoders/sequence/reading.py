"""A session by the words of what it saw: the titles of its last items, newest last, through the shop's text encoder,
and by a trained linear map to a direction in the items' space.

Meant for a GPU: on a CPU each event costs a forward pass of the text encoder over all these words.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from encoders.cache import CachedTextEncoder
from encoders.errors import EncoderError
from encoders.sequence.beside import BesidePooled
from encoders.sequence.lessons import Session
from encoders.sequence.settings import Network
from encoders.session import PooledSessionEncoder, Vector
from encoders.text import TextEncoder

logger = logging.getLogger(__name__)

TITLES_KEPT = 20_000
"""Titles whose tokens are remembered."""
AT_ONCE = 256
"""Sessions' words that are read before time is looked at."""
_LEAST = 1e-12


@runtime_checkable
class Reader(Protocol):
    """A text encoder whose texts can be put together of tokens."""

    device: str
    """`cpu` or `cuda`."""
    dimension: int
    room: int
    """Tokens that a text may have, without those that every text begins and ends with."""

    def tokens(self, text: str) -> list[int]:
        """Of a text, without those; at most `room`."""

    def read(self, rows: Sequence[Sequence[int]]) -> Vector:
        """(n, dimension), each of length 1, of n texts' tokens."""


def reader_of(texts: TextEncoder | None) -> Reader:
    """The text encoder itself, behind its cache: sessions' words are not kept.

    Raises:
        EncoderError: it is none that can be read by tokens.
    """
    inner = texts.inner if isinstance(texts, CachedTextEncoder) else texts
    if not isinstance(inner, Reader):
        raise EncoderError(
            f"text encoder {type(inner).__name__}: it reads no sessions, expected a BERT; set BEFOREHAND_ENCODER__MODEL"
            " to one, or train with --network gru"
        )
    return inner


class TextWeights(NamedTuple):
    """The linear map, float32."""

    out: Vector
    """(width, reader's dimension)"""
    out_bias: Vector
    """(width,)"""

    @property
    def kind(self) -> Network:
        """As the settings call it."""
        return "text"

    @property
    def width(self) -> int:
        """Of an item's vector."""
        return len(self.out)

    def check(self) -> None:
        """Nothing, unless the arrays do not fit together.

        Raises:
            ValueError: they do not.
        """
        found = self.out.shape, self.out_bias.shape
        if self.out.ndim != 2 or found[1] != found[0][:1] or not all(np.isfinite(each).all() for each in self):
            raise ValueError(f"a map of shapes {found}, expected (width, reader's dimension), (width,), all finite")

    def tensors(self) -> dict[str, Vector]:
        """For a safetensors file."""
        return dict(self._asdict())

    @classmethod
    def of(cls, tensors: Mapping[str, Vector]) -> TextWeights:
        """What `tensors` gave.

        Raises:
            KeyError: one is not there.
        """
        return cls(*(tensors[name] for name in cls._fields))


class ReadingSessionEncoder(BesidePooled):
    """`SessionEncoder` of [pooled | sequence]; an event without words leaves the sequence as it is.

    Its state holds the newest tokens, as many as the text encoder takes. Vectors of many states are made in one call.
    """

    def __init__(self, pooled: PooledSessionEncoder, weights: TextWeights, reader: Reader) -> None:
        """
        Args:
            pooled: of the blocks before the sequence's. reader: that the weights were trained on.

        Raises:
            ValueError: the weights do not fit together, or not the reader.
        """
        weights.check()
        if weights.out.shape[1] != reader.dimension:
            raise ValueError(f"a map of {weights.out.shape[1]} numbers, expected {reader.dimension} as the reader's")
        super().__init__(pooled, 1 + reader.room, weights.width)
        self._weights, self._reader = weights, reader
        self._tokens = lru_cache(TITLES_KEPT)(reader.tokens)
        if reader.device == "cpu":
            logger.warning(
                "sessions are read by the text encoder on a CPU: expect some 40 to 80 ms an event; use a GPU, or a "
                "model that was trained with --network gru"
            )

    def stepped(
        self, state: Vector, items: Vector, _kinds: Sequence[str], _gaps_ms: Sequence[int], texts: Sequence[str]
    ) -> Vector:
        states = np.zeros((len(items), len(state)), np.float32)
        window = state[1 : 1 + int(state[0])].astype(np.int64).tolist()
        for after, now in zip(states, windows(texts, self._tokens, self._reader.room, window), strict=True):
            after[0], after[1 : 1 + len(now)] = len(now), now
        return states

    def outcome(self, states: Vector) -> Vector:
        found = np.zeros((len(states), self._weights.width), np.float32)
        known = np.flatnonzero(states[:, 0])
        if len(known):
            rows = [states[place, 1 : 1 + int(states[place, 0])].astype(np.int64).tolist() for place in known]
            told = self._reader.read(rows) @ self._weights.out.T + self._weights.out_bias
            found[known] = told / np.maximum(np.linalg.norm(told, axis=1, keepdims=True), _LEAST)
        return found


def windows(
    texts: Sequence[str], tokens: Callable[[str], list[int]], room: int, window: Sequence[int] = ()
) -> Iterator[list[int]]:
    """What can be read after each of these texts: the newest tokens, at most `room`.

    >>> list(windows(["1 2", "", "3 4"], lambda text: [int(word) for word in text.split()], 3))
    [[1, 2], [1, 2], [2, 3, 4]]
    """
    now = list(window)
    for text in texts:
        now = [*now, *tokens(text)][-room:] if text else now
        yield now


def read_sessions(
    sessions: Sequence[Session],
    titles: Sequence[str],
    reader: Reader,
    budget_s: float,
    note: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Session]:
    """The newest of these sessions, in their order, with what their words say after each event: some, and as many as
    so much processor time allows.

    Args:
        titles: of the items, by code.
    """
    tokens, since, found = lru_cache(TITLES_KEPT)(reader.tokens), time.thread_time(), []
    waiting, count = list(reversed(sessions)), 0
    while count < len(waiting) and (not count or time.thread_time() - since < budget_s):
        part, moments = [], 0
        while count < len(waiting) and moments < AT_ONCE:
            part.append(waiting[count])
            moments += len(waiting[count].codes)
            count += 1
        rows = [
            row
            for session in part
            for row in windows([titles[code] for code in session.codes.tolist()], tokens, reader.room)
        ]
        read = np.zeros((len(rows), reader.dimension), np.float32)
        worded = [place for place, row in enumerate(rows) if row]
        if worded:
            read[worded] = reader.read([rows[place] for place in worded])
        ends = np.cumsum([len(session.codes) for session in part])[:-1]
        found += [session._replace(read=its) for session, its in zip(part, np.split(read, ends), strict=True)]
        note(count, len(waiting))
    return found[::-1]
