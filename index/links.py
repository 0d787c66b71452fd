"""What the shop's facts join with a history: items that one fact leads to from an item of it, or back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.graph.adjacency import Graph
from encoders.jit import njit
from index.vocabulary import Codes, Vocabulary

Numbers = NDArray[np.float32]

FROM = 5
"""Newest items of a history whose links are followed."""
KEPT = 65_536
"""Items whose links are remembered until a fact changes; when there are more, all are forgotten."""
_NONE = np.empty(0, np.int32), np.empty(0, np.float32)


class Linked(NamedTuple):
    """Items joined with a history, columns of one length."""

    codes: Codes
    """(m,), ascending."""
    last: Numbers
    """(m,): facts that join the item with the newest of the history."""
    share: Numbers
    """(m,): facts an item of the history, each item weighed less than the one after it."""


class Links:
    """Facts of a graph between items, by their codes. Behaviour's own are not among them: counts know those better.

    >>> from encoders.graph.facts import Fact
    >>> items, graph = Vocabulary(["mug", "tea", "pot"]), Graph()
    >>> for item in items.ids(np.arange(3)):
    ...     graph.upsert_item(item)
    >>> facts = [Fact("mug", *told) for told in (("made_for", "tea"), ("suits", "tea"), ("made_in", "Delft"))]
    >>> graph.update("mug", facts)
    >>> linked = Links(graph, items).around(items.codes(["mug", "pot"]), fading=0.5)
    >>> items.ids(linked.codes), linked.last, linked.share.round(2)
    (['tea'], array([0.], dtype=float32), array([0.67], dtype=float32))
    """

    def __init__(self, graph: Graph, vocabulary: Vocabulary) -> None:
        self._graph, self._vocabulary = graph, vocabulary
        self._known: dict[int, tuple[Codes, Numbers]] = {}
        self._changes = -1

    def around(self, known: Codes, *, fading: float) -> Linked:
        """What is joined with the newest `FROM` items of a history, oldest first; of the history's own items, too.

        Args:
            fading: what an item of the history weighs against the one after it.
        """
        if self._changes != self._graph.changes or len(self._known) > KEPT:
            self._known.clear()
            self._changes = self._graph.changes
        found = [self._of(code) for code in known[: -FROM - 1 : -1].tolist()]
        if not any(len(codes) for codes, _ in found):
            return Linked(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.float32))
        sizes = np.array([len(codes) for codes, _ in found])
        return Linked(
            *_summed(
                np.concatenate([codes for codes, _ in found]),
                np.concatenate([facts for _, facts in found]),
                sizes,
                fading,
            )
        )

    def _of(self, code: int) -> tuple[Codes, Numbers]:
        """Items that facts join with one, and how many facts."""
        links = self._known.get(code)
        if links is None:
            links = self._known[code] = self._looked_up(code)
        return links

    def _looked_up(self, code: int) -> tuple[Codes, Numbers]:
        joined = self._graph.joined(self._vocabulary.id(code))
        codes = self._vocabulary.codes(list(joined))
        there = codes >= 0
        if not there.any():
            return _NONE
        return codes[there], np.fromiter(joined.values(), np.float32, len(joined))[there]


def most(linked: Linked, n: int) -> Codes:
    """The n that are joined most, ties by code; in no promised order."""
    if len(linked.codes) <= n:
        return linked.codes
    return linked.codes[np.argsort(-linked.share, kind="stable")[:n]]


@njit
def _summed(codes: Codes, facts: Numbers, sizes: NDArray[np.int64], fading: float) -> tuple[Codes, Numbers, Numbers]:
    """
    Args:
        codes: of the newest item's links first, then of the one before it, and so on.
        sizes: of each item, how many.
    """
    order = np.argsort(codes, kind="mergesort")
    weights = np.empty(len(codes), np.float32)
    at, weight, total = 0, 1.0, 0.0
    for size in sizes:
        weights[at : at + size] = weight
        at += size
        total += weight
        weight *= fading
    count = 0
    found = np.empty(len(codes), np.int32)
    last, share = np.zeros(len(codes), np.float32), np.zeros(len(codes), np.float32)
    for place in order:
        if count == 0 or found[count - 1] != codes[place]:
            found[count] = codes[place]
            count += 1
        share[count - 1] += facts[place] * weights[place] / total
        if place < sizes[0]:
            last[count - 1] += facts[place]
    return found[:count], last[:count], share[:count]
