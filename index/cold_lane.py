"""The cold lane: an item that hardly anybody has had borrows the pairs of those that it resembles, and is looked for
among its own kind, for among all items those that are known stand before it."""

from __future__ import annotations

import numpy as np

from index import fusion
from index.cooccurrence import CoOccurrence
from index.exact import Vectors
from index.fusion import Layout
from index.rows import crossed
from index.vector_index import VectorIndex
from index.vocabulary import Codes

LENDERS = 10
"""Warm items that a cold one borrows from, at most."""
SHARPNESS = 3
"""Power of the likeness by which it borrows: what is half as like lends an eighth."""
_ALIKE = np.array([0.8, 0.2, 0.0, 0.0, 0.0])
"""What text, graph, behaviour, sequence and popularity count when an item looks for its like."""
_LOOKED_AT = 8 * LENDERS
"""Nearest items among which the warm ones are."""

COMPARED = 1_024
"""Cold items that a session is compared with, those of the highest codes, which came last; of 416 some 30 us."""


class ColdLane:
    """Who borrows from whom. Cold: seen less than `CoSettings.cold_below` times. Not for more than one thread."""

    def __init__(self, counts: CoOccurrence, index: VectorIndex, layout: Layout) -> None:
        self._counts, self._index, self._layout = counts, index, layout
        self._lenders: dict[int, tuple[Codes, Vectors]] = {}  # cold item -> warm ones and how alike they are
        self._weights = _ALIKE[:2].astype(np.float32).repeat(layout.widths[:2])
        self._compared: tuple[Codes, Vectors] | None = None  # with text and graph; None: they are others since

    def meet(self, codes: Codes, rows: Vectors) -> None:
        """Items whose vectors are new: those that are cold look for their lenders, in text and graph.

        Args:
            codes: (n,), already in the index.
            rows: (n, layout.dimension), their vectors.
        """
        below = self._counts.settings.cold_below
        known = self._counts.seen(codes) >= below
        warmed = [code for code in codes[known].tolist() if self._lenders.pop(code, None) is not None]
        queries = fusion.query(rows[:, : self._layout.session], _ALIKE, layout=self._layout)
        cold = np.flatnonzero(~known & queries.any(axis=1))
        if len(cold):
            ids = self._index.vocabulary.ids
            for place, found in zip(cold.tolist(), self._index.search(queries[cold], _LOOKED_AT), strict=True):
                warm = found[self._counts.seen(found) >= below]
                parts = self._index.products(warm, rows[place], self._layout.ends)
                alike = (parts @ _ALIKE).clip(0, 1)
                best = np.lexsort((np.array(ids(warm), object), -alike))[:LENDERS]
                self._lenders[int(codes[place])] = warm[best], alike[best].astype(np.float32)
        if len(cold) or warmed:
            self.open(True)

    def forget(self, codes: Codes) -> None:
        """Items that are sold no more."""
        gone = [self._lenders.pop(code, None) for code in codes.tolist()]
        if any(lenders is not None for lenders in gone):
            self.open(True)

    def open(self, lending: bool) -> None:
        """Whether cold items borrow, as they do but while weights are chosen."""
        self._compared = None
        cold = np.fromiter(self._lenders, np.int32, len(self._lenders))
        nearest = np.full((len(cold), LENDERS), -1, np.int32)
        shares = np.zeros((len(cold), LENDERS), np.float32)
        for row, (warm, alike) in enumerate(self._lenders.values()):
            nearest[row, : len(warm)], shares[row, : len(warm)] = warm, alike**SHARPNESS
        self._counts.cold(cold, nearest, shares if lending else np.zeros_like(shares))

    def follow(self, counts: CoOccurrence) -> None:
        """Lend by these counts, of the same items, from now on."""
        self._counts = counts
        self.open(True)

    def nearest(self, session: Vectors, n: int) -> Codes:
        """The n cold items that are most like a session in text and graph, ties by code; none that are not like it.

        Args:
            session: (layout.session,), each block of length 1.
        """
        width = int(self._layout.ends[1])
        if self._compared is None:
            codes = np.sort(np.fromiter(self._lenders, np.int32, len(self._lenders)))[-COMPARED:]
            self._compared = codes, self._index.vectors(codes, width)
        codes, vectors = self._compared
        alike = crossed((session[:width] * self._weights)[None], vectors, width)[0]
        left = (alike > 0) & (self._counts.seen(codes) < self._counts.settings.cold_below)
        found: Codes = codes[left][np.argsort(-alike[left], kind="stable")[:n]]  # codes ascend
        return found

    def lenders(self, code: int) -> list[tuple[int, float]]:
        """The warm items that a cold one borrows from, with how much they are alike, the most alike first. None of an
        item that has been seen often enough by now."""
        found = self._lenders.get(code)
        if found is None or self._counts.seen(np.array([code]))[0] >= self._counts.settings.cold_below:
            return []
        return list(zip(*(column.tolist() for column in found), strict=True))
