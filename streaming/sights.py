"""A session as the encoder sees it: its history folded into one vector, step by step, and what that vector finds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from encoders.jit import njit
from encoders.session import SessionEncoder, Vector
from index import fusion
from index.vocabulary import Codes
from streaming.errors import InputError
from streaming.items import Shop, Words
from streaming.sessions import Step

VECTORS_KEPT = 20_000
"""Sessions whose encoder state is kept between events; a session beyond that is folded anew, with the same result."""
SLOW = 0.9
"""What a step leaves of the slow mean of the session's vectors, which a shift is measured against."""

_NO_CODES = np.empty(0, np.int32)
_EXPECTED = np.array([part == "sequence" for part in fusion.PARTS], np.float32)
"""Weights of a search for what the network expects, whatever else there is."""


class Sight(NamedTuple):
    """What a session looks like."""

    vector: Vector
    """(session dimension,): each space's block of length 1; zeros where nothing is known there."""
    words: Words
    """What the steps of its history were read as."""
    shift: float | None = None
    """Cosine of the session's vector with the slow mean of those before it; None: there was none before."""

    blank: bool = False
    """Nothing is known of what the session saw."""

    @classmethod
    def nothing(cls, dimension: int) -> Sight:
        """Nobody looked."""
        return cls(np.zeros(dimension, np.float32), (), None, True)


@dataclass(slots=True)
class Folded:
    """The encoder's state after a history, so that one more event is one more step."""

    history: tuple[Step, ...]
    words: Words
    """What its steps were read as."""
    version: int
    """Of the shop's vectors."""
    state: Vector
    last_time: int | None
    """Of the last step that had a vector; None: none had."""
    slow: Vector | None
    """The slow mean of what the vectors after each such step say of what the session is about."""
    shift: float | None
    """As `Sight.shift`."""
    sight: Vector | None
    """As `Sight.vector`; None: it is to be made of the state yet."""


class Sights:
    """Folds histories; of a session it has seen before, only what is new. Not for more than one thread."""

    def __init__(self, shop: Shop, encoder: SessionEncoder) -> None:
        """
        Raises:
            InputError: shop and encoder are of different dimensions.
        """
        if encoder.dimension != shop.dimension:
            raise InputError(
                f"the session encoder has {encoder.dimension} dimensions, expected {shop.dimension} as the items' "
                "vectors; use the encoder that was built with the model folder"
            )
        self._shop, self._encoder = shop, encoder
        self._folded: OrderedDict[str, Folded] = OrderedDict()

    def of(self, session: str, history: tuple[Step, ...], *, at_hand: bool = False) -> Sight:
        """The session's vector after its history: always that of the history folded from the start.

        Args:
            at_hand: pass words over that no vector is at hand of, in place of encoding them.
        """
        return self.made([self.folded(session, history, at_hand=at_hand)])[0]

    def folded(self, session: str, history: tuple[Step, ...], *, at_hand: bool = False) -> Folded:
        """The first half of `of`: what has to be done in the order of the events."""
        words = self._shop.words_of(history)
        if at_hand:
            words = self._shop.at_hand(words)
        folded = self._fold(history, words, self._folded.get(session))
        self._folded[session] = folded
        self._folded.move_to_end(session)
        if len(self._folded) > VECTORS_KEPT:
            self._folded.popitem(last=False)
        return folded

    def made(self, folded: Sequence[Folded]) -> list[Sight]:
        """The second half, of many sessions: the vectors that are not made yet, in one call of the encoder."""
        waiting = list({id(each): each for each in folded if each.sight is None}.values())
        if waiting:
            vectors = self._encoder.vectors(np.stack([each.state for each in waiting]))
            for each, sight in zip(waiting, fusion.normalised(vectors, layout=self._shop.layout), strict=True):
                each.sight = sight.copy()
        return [
            Sight(each.sight, each.words, each.shift, not each.sight.any()) for each in folded if each.sight is not None
        ]

    def _fold(self, history: tuple[Step, ...], words: Words, known: Folded | None) -> Folded:
        """The encoder stepped over a history; from a known state on where that is a beginning of it."""
        state, last_time, done = self._encoder.start(), None, 0
        slow, shift = None, None
        sight: Vector | None = np.zeros(self._shop.dimension, np.float32)
        if known is not None and known.version == self._shop.version:
            beginning = len(known.history)
            if history[:beginning] == known.history and words[:beginning] == known.words:
                state, last_time, done = known.state, known.last_time, beginning
                slow, shift, sight = known.slow, known.shift, known.sight
        met, items = self._shop.vectors_of(history[done:], words[done:])  # (n,), (n, dimension)
        if met:
            steps = [history[done + place] for place in met]
            texts = [words[done + place] or self._shop.title_of(history[done + place].subject) or "" for place in met]
            times = [step.time for step in steps]
            gaps = [now - before for before, now in pairwise([times[0] if last_time is None else last_time, *times])]
            states = self._encoder.steps(state, items, [step.kind for step in steps], gaps, texts)
            now = self._encoder.about(states)  # (n, drifting)
            if slow is None:
                slow, now = now[0], now[1:]
            if len(now):
                slow, shift = _drift(slow, now, SLOW)
            state, last_time, sight = states[-1], times[-1], None
        return Folded(history, words, self._shop.version, state, last_time, slow, shift, sight)


@njit
def _drift(slow: Vector, vectors: Vector, share: float) -> tuple[Vector, float]:
    """The slow mean after each of these vectors in turn, and the cosine of the last one with the mean before it."""
    mean, cosine = slow.copy(), 0.0
    for place in range(len(vectors)):
        inner, square = 0.0, 0.0
        for column in range(len(mean)):
            inner += np.float64(vectors[place, column]) * mean[column]
            square += np.float64(mean[column]) ** 2
        cosine = inner / max(np.sqrt(square), 1e-12)
        for column in range(len(mean)):
            mean[column] = mean[column] * share + vectors[place, column] * (1 - share)
    return mean, cosine


def search(shop: Shop, sights: Sequence[Sight | None], weights: Vector, k: int, *, cold: int) -> list[Codes]:
    """About the k items nearest to each session, in one search; none where there is nothing to search with.

    Where there is a network, the k items that it expects most come on top: what all else speaks against may be right.
    So do the nearest of those that hardly anybody has had, which known ones stand before.

    Args:
        weights: of text, graph, behaviour, sequence and prior, which the queries carry.
        cold: so many of them.
    """
    found = [_NO_CODES for _ in sights]
    asking = {place: sight for place, sight in enumerate(sights) if sight is not None and not sight.blank}
    if asking:
        vectors = np.stack([sight.vector for sight in asking.values()])  # (q, session dimension)
        questions = [weights, _EXPECTED] if shop.layout.sequence else [weights]
        asked = [fusion.query(vectors, each, layout=shop.layout) for each in questions]
        answers = shop.index.near(np.concatenate(asked), k)  # (questions * q, dimension) -> one by one
        new = shop.lane.nearest(vectors, cold)
        for number, place in enumerate(asking):
            found[place] = np.concatenate([*answers[number :: len(asking)], new[number]])
    return found
