"""A snapshot, what was taken out of it, and the side index: together the items as they are now. Not locked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index import rows
from index.exact import Vectors, best
from index.nearest import Flat, Nearest
from index.side import Side, looked_up
from index.sifting import NO_SCORE, sifted, within
from index.snapshot import Snapshot
from index.vocabulary import Codes, Vocabulary

SLACK = 64
"""This many more than are wanted are fetched, so that items of equal score are ordered by id and not by row, and of few
that are wanted none is lost to coarse codes."""

TIE = 1e-5
"""Scores this near each other, as a share of what vectors so long can reach, may be equal: FAISS rounds otherwise than
`rows.products` does."""

_NONE_GONE = np.empty(0, np.bool_)


class LiveRows:
    """An item is in the side index, or in the snapshot and not taken out, or nowhere; never in two places."""

    def __init__(self, main: Snapshot, vocabulary: Vocabulary, *, threads: int = 1) -> None:
        self.main = main
        self.side = Side(main.vectors.shape[1])
        self.gone = np.zeros(len(main), dtype=np.bool_)
        """By row of the snapshot: taken out, or newer in the side index."""
        self.gone_count = 0
        self._vocabulary = vocabulary
        self._threads = threads

    def __len__(self) -> int:
        return len(self.main) - self.gone_count + len(self.side)

    @property
    def drift(self) -> int:
        """Rows in which this differs from its snapshot."""
        return self.gone_count + len(self.side)

    def has(self, codes: Codes) -> NDArray[np.bool_]:
        return rows.there(self.main.home, self.gone, self.side.home, codes)

    def vectors(self, codes: Codes, width: int | None = None) -> Vectors:
        """(n, width); zeros for what is not there. `width`: columns, the first; None: all."""
        main, side = self.main, self.side
        width = main.vectors.shape[1] if width is None else width
        return rows.taken(main.vectors, main.home, self.gone, side.room, side.home, codes, width)

    def products(self, codes: Codes, query: Vectors, ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """Inner products of blocks, (n, blocks); 0 for what is not there."""
        main, side = self.main, self.side
        return rows.products(main.vectors, main.home, self.gone, side.room, side.home, codes, query, ends)

    def upsert(self, codes: Codes, vectors: Vectors) -> None:
        """No code twice. A vector that the snapshot has to the bit is served from there, so that a catalogue read again
        changes nothing."""
        homes = looked_up(self.main.home, codes)
        same = homes >= 0
        same[same] = (self.main.vectors.take(homes[same], axis=0) == vectors[same]).all(axis=1)
        self._mark(homes[same], gone=False)
        self.side.drop(codes[same])
        self._mark(homes[~same & (homes >= 0)], gone=True)
        self.side.put(codes[~same], vectors[~same])

    def remove(self, codes: Codes) -> None:
        """What is not there is passed over. No code twice."""
        homes = looked_up(self.main.home, codes)
        self._mark(homes[homes >= 0], gone=True)
        self.side.drop(codes)

    def search(self, queries: Vectors, count: int) -> list[Codes]:
        """For each query the `count` best, ascending by code; `count` from 1 to the number of items."""
        ties = self._ties(queries)
        fetch = count * self.main.nearest.refine + SLACK
        scores, codes, rest = self._pool(queries, ties, fetch, 0)  # (q, m), (q, m), (q,)
        if not self.main.nearest.exact and len(self.main):
            return [
                self._compared(query, count, tie, fetch, (scores[at], codes[at], float(rest[at])))
                for at, (query, tie) in enumerate(zip(queries, ties.tolist(), strict=True))
            ]
        width = scores.shape[1]
        if width > count:
            order = np.argpartition(scores, (width - count - 1, width - count), axis=1)
            edge = np.take_along_axis(scores, order[:, width - count - 1 : width - count + 1], axis=1)
            found = np.sort(np.take_along_axis(codes, order[:, width - count :], axis=1), axis=1)
            clear = edge[:, 1] - ties > np.maximum(edge[:, 0], rest)
        else:
            found = np.sort(codes, axis=1)
            clear = scores.min(axis=1) > NO_SCORE
        return [
            plain if sure else self._compared(query, count, tie, fetch, (scores[at], codes[at], float(rest[at])))
            for at, (query, tie, plain, sure) in enumerate(
                zip(queries, ties.tolist(), found, clear.tolist(), strict=True)
            )
        ]

    def near(self, queries: Vectors, count: int) -> list[Codes]:
        """As `search`, but where scores are approximate they decide: `count` items or some fewer, for of those that tie
        at the border none is taken."""
        main = self.main
        if main.nearest.exact or not len(main):
            return self.search(queries, count)
        ties = self._ties(queries)
        scores, codes, _ = self._pool(queries, ties, count + SLACK, 0)  # (q, m), (q, m)
        found, sizes = within(scores, codes, count)
        return [
            found[at, :size] if 2 * size > count else self.search(queries[at : at + 1], count)[0]
            for at, size in enumerate(sizes.tolist())
        ]

    def _compared(
        self, query: Vectors, count: int, tie: float, fetch: int, pool: tuple[Vectors, Codes, float]
    ) -> Codes:
        """The best by raw vectors, of all that may be among them: fetches more until the last one fetched cannot be."""
        effort = 0
        while True:
            scores, codes, rest = pool
            there = int(np.count_nonzero(scores > NO_SCORE))
            least = float(np.partition(scores, len(scores) - count)[len(scores) - count]) if there >= count else 0.0
            if there >= count and rest < least - tie:
                break
            fetch *= 4
            if rest == NO_SCORE:
                effort += 1  # all of the lists that were looked at is here, and is too little
            wide_scores, wide_codes, rests = self._pool(query[None], np.array([tie], dtype=np.float32), fetch, effort)
            pool = wide_scores[0], wide_codes[0], float(rests[0])
        # Approximate scores may err by more than `tie`: then all that was fetched is compared.
        kept = scores >= least - tie if self.main.nearest.exact else scores > NO_SCORE
        candidates = codes[kept]
        exact = self.products(candidates, query, np.array([len(query)]))[:, 0]
        return best(candidates, exact, count, self._vocabulary)

    def _pool(self, queries: Vectors, ties: Vectors, fetch: int, effort: int) -> tuple[Vectors, Codes, Vectors]:
        """Scores and codes of what was fetched, (q, m) each, -inf where there is nothing; and (q,) the score that
        nothing left behind exceeds, -inf where nothing was left that this effort can see.

        Where scores are approximate, what ties with the last one fetched is left behind with it: else raw vectors
        would decide about one of two equals and never see the other.
        """
        pools = []
        main, side = self.main, self.side
        if len(main):
            gone = self.gone if self.gone_count else _NONE_GONE
            pools.append(self._sifted(main.nearest, main.codes, gone, queries, ties, fetch, effort))
        if len(side):
            nearest = Flat(side.vectors, threads=self._threads)
            pools.append(self._sifted(nearest, side.codes, _NONE_GONE, queries, ties, fetch, effort))
        if len(pools) == 1:
            return pools[0]
        (scores, codes, rest), (more, their_codes, their_rest) = pools
        return (
            np.concatenate((scores, more), axis=1),
            np.concatenate((codes, their_codes), axis=1),
            np.maximum(rest, their_rest),
        )

    @staticmethod
    def _sifted(
        nearest: Nearest,
        by_row: Codes,
        gone: NDArray[np.bool_],
        queries: Vectors,
        ties: Vectors,
        fetch: int,
        effort: int,
    ) -> tuple[Vectors, Codes, Vectors]:
        scores, found = nearest.search(queries, min(fetch, len(by_row)), effort)
        return sifted(scores, found, by_row, gone, ties, fetch < len(by_row), not nearest.exact)

    def _ties(self, queries: Vectors) -> Vectors:
        """Of each query, how near each other scores may be equal, (q,)."""
        reach = max(self.main.longest, self.side.longest)
        return TIE * reach * np.sqrt(np.add.reduce(np.square(queries), axis=1))  # type: ignore[no-any-return]

    def _mark(self, rows: Codes, *, gone: bool) -> None:
        """Distinct rows of the snapshot."""
        self.gone_count += int(np.count_nonzero(self.gone[rows] != gone)) * (1 if gone else -1)
        self.gone[rows] = gone
