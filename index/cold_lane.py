"""The cold lane: an item that hardly anybody has had borrows the pairs of those that it resembles, and, where the
network never met it, the place that they have in its space. It is looked for among its own kind, for among all items
those that are known stand before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index import fusion
from index.candidates import best_first
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
SOUGHT = np.array([0.8, 0.2, 0.0, 2.0, 0.0])
"""Likewise, when a session looks for cold items."""
_LOOKED_AT = 8 * LENDERS
"""Nearest items among which the warm ones are."""
AT_ONCE = 8_192
"""Items that look for their lenders at once; vectors and queries of these are copied."""

COMPARED = 1_024
"""Cold items that a session is compared with, those of the highest codes, which came last."""


class ColdLane:
    """Who borrows from whom. Cold: seen less than `CoSettings.cold_below` times. Not for more than one thread."""

    def __init__(self, counts: CoOccurrence, index: VectorIndex, layout: Layout, met: Codes | None = None) -> None:
        """
        Args:
            met: items that the network learned of; None: there is no network, or it says itself where others lie.
        """
        self._counts, self._index, self._layout = counts, index, layout
        self._lenders: dict[int, tuple[Codes, Vectors]] = {}  # cold item -> warm ones and how alike they are
        weights = SOUGHT[:-1].repeat(layout.widths[:-1])
        self._columns = np.flatnonzero(weights)
        self._weights = weights[self._columns].astype(np.float32)
        self._compared: tuple[Codes, Vectors] | None = None  # with their columns; None: they are others since
        self._met: NDArray[np.bool_] | None = None  # by code
        if met is not None:
            self._met = np.zeros(met.max(initial=-1) + 1, np.bool_)
            self._met[met] = True

    def meet(self, codes: Codes) -> None:
        """Items whose vectors are new, in the index by now: those that are cold look for their lenders, in text and
        graph. So do those that the network never met: in its space each is put where the mean of its lenders lies, for
        by its words alone it is as far from where sessions look as words are from what visitors do."""
        changed = [self._look(codes[begin : begin + AT_ONCE]) for begin in range(0, len(codes), AT_ONCE)]
        if any(changed):
            self.open(True)

    def _look(self, codes: Codes) -> bool:
        """Finds the lenders of those that are cold; whether any are others now."""
        below = self._counts.settings.cold_below
        known, met = self._counts.seen(codes) >= below, self._is_met(codes)
        warmed = [code for code in codes[known].tolist() if self._lenders.pop(code, None) is not None]
        looking = np.flatnonzero(~(known & met))
        rows = self._index.vectors(codes[looking])
        queries = fusion.query(rows[:, : self._layout.session], _ALIKE, layout=self._layout)
        told = queries.any(axis=1)
        looking, rows, moved = looking[told], rows[told], []
        for place, (at, found) in enumerate(
            zip(looking.tolist(), self._index.near(queries[told], _LOOKED_AT), strict=True)
        ):
            warm = found[self._counts.seen(found) >= below]
            alike = (self._index.products(warm, rows[place], self._layout.ends) @ _ALIKE).clip(0, 1)
            order = best_first(alike, warm, self._index.vocabulary)
            if not known[at]:
                best = order[:LENDERS]
                self._lenders[int(codes[at])] = warm[best], alike[best].astype(np.float32)
            if not met[at]:
                best = order[self._is_met(warm[order])][:LENDERS]
                if self._move(rows[place], warm[best], alike[best]):
                    moved.append(place)
        if moved:
            self._index.upsert(codes[looking[moved]], rows[moved])
        return bool(warmed) or not known[looking].all()

    def _is_met(self, codes: Codes) -> NDArray[np.bool_]:
        """(n,): whether the network learned of each, or does without."""
        if self._met is None:
            return np.ones(len(codes), np.bool_)
        found = np.zeros(len(codes), np.bool_)
        inside = codes < len(self._met)
        found[inside] = self._met[codes[inside]]
        return found

    def _move(self, row: Vectors, lenders: Codes, alike: NDArray[np.float64]) -> bool:
        """Puts an item's vector where the mean of these lies in the network's space; whether they have any."""
        space = self._layout.slices[3]
        mean = (alike[:, None] ** SHARPNESS * self._index.vectors(lenders)[:, space]).sum(axis=0)
        length = np.sqrt(np.square(mean).sum())
        if length <= fusion.NOTHING:
            return False
        row[space] = mean / length
        return True

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

    def nearest(self, sessions: Vectors, n: int) -> list[Codes]:
        """Of each session the n cold items that are most like it in text, graph and what the network expects, ties by
        code; none that are not.

        Args:
            sessions: (q, layout.session), each block of length 1.
        """
        if self._compared is None:
            codes = np.sort(np.fromiter(self._lenders, np.int32, len(self._lenders)))[-COMPARED:]
            self._compared = codes, self._index.vectors(codes).take(self._columns, axis=1)
        codes, vectors = self._compared
        asked = sessions.take(self._columns, axis=1) * self._weights  # [:, columns] would lay columns side by side
        alike = crossed(vectors, asked, len(self._columns))  # each item with all sessions in turn: items are read once
        alike[self._counts.seen(codes) >= self._counts.settings.cold_below] = 0.0
        places, found = _largest(alike, n)
        return [codes[its[:count]] for its, count in zip(places, found.tolist(), strict=True)]

    def lenders(self, code: int) -> list[tuple[int, float]]:
        """The warm items that a cold one borrows from, with how much they are alike, the most alike first. None of an
        item that has been seen often enough by now."""
        found = self._lenders.get(code)
        if found is None or self._counts.seen(np.array([code]))[0] >= self._counts.settings.cold_below:
            return []
        return list(zip(*(column.tolist() for column in found), strict=True))


@njit
def _largest(alike: Vectors, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each column of (m, q) the rows of its n largest numbers above 0, largest first, of equals the first: (q, n);
    and how many those are, (q,)."""
    columns = alike.shape[1]
    places, found = np.empty((columns, n), np.int64), np.zeros(columns, np.int64)
    for row in range(len(alike)):
        for column in range(columns):
            value, count = alike[row, column], found[column]
            if not value > 0 or n == 0 or (count == n and value <= alike[places[column, n - 1], column]):
                continue
            at = min(count, n - 1)
            while at > 0 and alike[places[column, at - 1], column] < value:
                places[column, at] = places[column, at - 1]
                at -= 1
            places[column, at] = row
            found[column] = min(count + 1, n)
    return places, found
