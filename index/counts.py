"""Counts: what follows what, and what is popular. Plain, strong, and learning at every event.

A co-occurrence table, directed and weighted by distance. Tuned, such a table beats most published networks on
sequences of purchases and clicks; it needs no vectors and no index.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from index.pairs import count_pairs, encode_ids
from index.rows import Rows

LEARNING_KINDS = frozenset({"view", "click", "cart_add", "purchase"})
"""Kinds of event that teach; the others say nothing about what goes with what."""


@dataclass(frozen=True, slots=True)
class CountSettings:
    """How pairs are counted and scored."""

    window: int = 10
    """Two events of a session at most this many places apart are a pair."""
    by_distance: bool = True
    """A pair weighs 1 / distance; False: 1 wherever the two stand, for sessions whose order means nothing."""
    backward: float = 0.2
    """What a pair weighs against its direction; 1 where order means nothing, as among the lines of a
    basket."""
    damping: float = 0.1
    """A neighbour's score is multiplied by its count to the power of -damping: less of what everybody
    takes."""
    doubt: float = 10.0
    """Added to an item's total weight, so that an item seen once is not sure of its one neighbour."""
    neighbours: int = 100
    """Neighbours kept of an item; up to twice as many while learning."""
    popular: int = 200
    """Most popular items that are kept in order between calls."""

    def __post_init__(self) -> None:
        if self.window < 1 or self.neighbours < 1 or self.popular < 1:
            raise ValueError(f"{self}: expected window, neighbours and popular of at least 1")
        if not 0 <= self.backward <= 1 or self.damping < 0 or self.doubt < 0:
            raise ValueError(f"{self}: expected backward from 0 to 1, damping and doubt of at least 0")


class Together(NamedTuple):
    """Items that go with a history, as columns."""

    item_ids: list[str]
    scores: NDArray[np.float64]
    evidence: list[str]


class Counts:
    """Directed co-occurrence and popularity of items. Any thread may call; each call is whole.

    Applying an event once is the caller's part: `observe` twice counts twice.

    >>> counts = Counts.fit(["a", "a", "b", "b"], ["tea", "mug", "tea", "mug"])
    >>> [(item, evidence) for item, _, evidence in counts.neighbours([("tea", 1.0)], 5)]
    [('mug', 'tea')]
    >>> counts.support("tea", "mug")
    2
    """

    def __init__(self, settings: CountSettings | None = None) -> None:
        self.settings = settings or CountSettings()
        self._ids: list[str] = []
        self._codes: dict[str, int] = {}
        self._seen = np.zeros(16, dtype=np.int64)  # events of an item, by its number; with room at the end
        self._damped = np.ones(16, dtype=np.float64)  # seen ** -damping; of an item never seen 1
        self._totals = np.zeros(16, dtype=np.float64)  # weight of all its pairs, those trimmed away included
        self._rows = Rows(self.settings.neighbours)
        self._most = 0  # events of the most popular item
        self._top: list[int] | None = None  # the most popular items, best first; None: to be found anew
        self._lock = threading.Lock()

    @classmethod
    def fit(
        cls,
        session_ids: Sequence[str] | pl.Series,
        item_ids: Sequence[str] | pl.Series,
        settings: CountSettings | None = None,
        *,
        backward: float | None = None,
    ) -> Counts:
        """Counts of events in time order, one session id and one item id each; sessions may be interleaved.

        Args:
            backward: in place of that of `settings`.

        Raises:
            ValueError: not equally many of both.
        """
        counts = cls(_with_backward(settings or CountSettings(), backward))
        if len(session_ids) != len(item_ids):
            raise ValueError(f"{len(session_ids)} session ids, {len(item_ids)} item ids: expected one of each an event")
        if not len(item_ids):
            return counts
        _, sessions = encode_ids(pl.Series(session_ids, dtype=pl.String))
        ids, items = encode_ids(pl.Series(item_ids, dtype=pl.String))
        pairs = count_pairs(
            sessions,
            items,
            counts.settings.window,
            counts.settings.backward,
            by_distance=counts.settings.by_distance,
        )
        totals = np.bincount(pairs["before"], pairs["weight"], len(ids)).astype(np.float64)
        counts._fill(ids, np.bincount(items, minlength=len(ids)), totals, pairs)
        return counts

    def __len__(self) -> int:
        """Items met so far."""
        return len(self._ids)

    def observe(self, before: str | None, after: str, kind: str) -> None:
        """Learns from one event: the session's item before it (None or empty: it is the first) and its own.

        A kind that does not teach (`LEARNING_KINDS`) changes nothing.
        """
        if kind not in LEARNING_KINDS:
            return
        with self._lock:
            second = self._code(after)
            self._seen[second] += 1
            self._damped[second] = self._damping(self._seen[second : second + 1])[0]
            self._most = max(self._most, int(self._seen[second]))
            self._reorder(second)
            if not before or before == after:
                return
            first = self._code(before)
            self._rows.add(first, second, 1.0)
            self._totals[first] += 1.0
            if self.settings.backward > 0:
                self._rows.add(second, first, self.settings.backward)
                self._totals[second] += self.settings.backward

    def neighbours(self, history: Sequence[tuple[str, float]], n: int) -> list[tuple[str, float, str]]:
        """The n items that go best with a history, those of the history included.

        score(b) = seen(b)^-damping * sum over a of w(a) * weight(a, b) / (total(a) + doubt), over the sum of
        w: from 0 to 1, and of one scale whatever the history's length.

        Args:
            history: (item, weight), newest last; the weights are decayed by the caller. Unknown items, and
                weights that are not above 0, add nothing; the weight of an unknown item lowers the scores.

        Returns:
            (item, score, evidence), best first, ties by item id. Evidence: the item of the history that adds
            most to the score; of equals, the newest.
        """
        found = self.together(history, n)
        return [
            (item_id, -score, because)
            for score, item_id, because in sorted(
                zip((-found.scores).tolist(), found.item_ids, found.evidence, strict=True)
            )
        ]

    def together(self, history: Sequence[tuple[str, float]], n: int) -> Together:
        """What `neighbours` finds, as columns in no promised order: for a caller who sorts by something else."""
        with self._lock:
            weights: dict[str, float] = {}
            for item, weight in history:
                if weight > 0:
                    weights[item] = weights.pop(item, 0.0) + weight  # newest last
            known = [(item, code) for item in weights if (code := self._codes.get(item)) is not None]
            after, weight_of, sizes = self._rows.joined([code for _, code in known])  # (pairs,) each
            if n < 1 or not len(after):
                return Together([], np.empty(0), [])
            factors = [weights[item] / (self._totals[code] + self.settings.doubt) for item, code in known]
            order, edges = _grouped(after)  # within a group, the newest evidence last
            starts, ends = edges[:-1], edges[1:]
            part = (weight_of * np.repeat(factors, sizes))[order]
            codes = after[order[starts]]  # (groups,)
            scores: NDArray[np.float64] = np.add.reduceat(part, starts) / sum(weights.values()) * self._damped[codes]
            best = _at_least_nth(scores, n)
            if len(best) > n:  # several tie with the n-th
                best = np.array(sorted(best.tolist(), key=lambda at: (-scores[at], self._ids[codes[at]]))[:n])
            largest = np.flatnonzero(part == np.repeat(np.maximum.reduceat(part, starts), ends - starts))
            newest = largest[np.searchsorted(largest, ends[best]) - 1]  # the last of each of the best groups
            source = np.repeat(np.arange(len(known)), sizes)[order[newest]]
            return Together(
                [self._ids[code] for code in codes[best].tolist()],
                np.minimum(scores[best], 1.0),
                [known[place][0] for place in source.tolist()],
            )

    def support(self, before: str, after: str) -> int:
        """Distinct sessions in which the two met, in either order, and live observations; 0 where the pair is
        not kept. What a sentence to a visitor may be founded on."""
        with self._lock:
            first, second = self._codes.get(before), self._codes.get(after)
            if first is None or second is None:
                return 0
            return self._rows.support(first, second)

    def prior(self, item_id: str) -> float:
        """Popularity from 0 (never seen) to 1 (the most popular): log(1 + n) / log(1 + most)."""
        with self._lock:
            code = self._codes.get(item_id)
            return 0.0 if code is None else self._prior(code)

    def popular(self, n: int) -> list[tuple[str, float]]:
        """The n most popular items with their prior, best first, ties by item id."""
        if n < 1:
            return []
        with self._lock:
            if self._top is None or n > len(self._top):
                self._top = self._most_popular(max(n, self.settings.popular))
            top, most = self._top[:n], math.log1p(max(self._most, 1))
            return [
                (self._ids[code], math.log1p(seen) / most)
                for code, seen in zip(top, self._seen[top].tolist(), strict=True)
            ]

    def to_frame(self) -> pl.DataFrame:
        """One row an item: item_id, seen, total, and lists of the same length: after (row numbers), weight,
        support."""
        with self._lock:
            size = len(self._ids)
            rows = self._rows.to_pairs(size).group_by("before", maintain_order=True).agg("after", "weight", "support")
            items = pl.DataFrame(
                {
                    "before": np.arange(size, dtype=np.int32),
                    "item_id": pl.Series(self._ids, dtype=pl.String),
                    "seen": self._seen[:size].copy(),
                    "total": self._totals[:size].copy(),
                }
            )
        return (
            items.join(rows, on="before", how="left", maintain_order="left")
            .with_columns(pl.col("after", "weight", "support").fill_null([]))
            .drop("before")
        )

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, settings: CountSettings | None = None) -> Counts:
        """What `to_frame` gave, with the settings it was fitted with."""
        counts = cls(settings)
        pairs = (
            frame.with_row_index("before")
            .filter(pl.col("after").list.len() > 0)
            .select(pl.col("before").cast(pl.Int32), "after", "weight", "support")
            .explode("after", "weight", "support")
        )
        counts._fill(frame["item_id"].to_list(), frame["seen"].to_numpy(), frame["total"].to_numpy(), pairs)
        return counts

    def _fill(self, ids: list[str], seen: NDArray[np.int64], totals: NDArray[np.float64], pairs: pl.DataFrame) -> None:
        self._ids = ids
        self._codes = {item_id: code for code, item_id in enumerate(ids)}
        self._seen = seen.astype(np.int64)
        self._damped = self._damping(self._seen)
        self._totals = totals.astype(np.float64)
        self._rows = Rows.from_pairs(pairs, len(ids), self.settings.neighbours)
        self._most = int(seen.max(initial=0))

    def _code(self, item_id: str) -> int:
        """The number of an item, which gets one if it has none."""
        code = self._codes.setdefault(item_id, len(self._ids))
        if code == len(self._ids):
            self._ids.append(item_id)
            if code >= len(self._seen):
                self._seen = np.concatenate([self._seen, np.zeros(len(self._seen) + 16, dtype=np.int64)])
                self._damped = np.concatenate([self._damped, np.ones(len(self._seen) - len(self._damped))])
                self._totals = np.concatenate([self._totals, np.zeros(len(self._seen) - len(self._totals))])
        return code

    def _damping(self, seen: NDArray[np.int64]) -> NDArray[np.float64]:
        """What scores are multiplied by, for items seen so often."""
        return np.maximum(seen, 1) ** -self.settings.damping

    def _prior(self, code: int) -> float:
        return math.log1p(self._seen[code]) / math.log1p(max(self._most, 1))

    def _reorder(self, code: int) -> None:
        """Keeps `_top` right after one more event of an item: counts only grow, so an item can only move
        up."""
        top = self._top
        if top is None:
            return
        if code not in top:
            if len(top) >= self.settings.popular and self._rank(code) > self._rank(top[-1]):
                return
            top.append(code)
        place = top.index(code)
        while place and self._rank(code) < self._rank(top[place - 1]):
            top[place] = top[place - 1]
            place -= 1
        top[place] = code
        del top[max(self.settings.popular, 1) :]

    def _rank(self, code: int) -> tuple[int, str]:
        return -int(self._seen[code]), self._ids[code]

    def _most_popular(self, n: int) -> list[int]:
        seen = self._seen[: len(self._ids)]
        return sorted(_at_least_nth(seen, n).tolist(), key=self._rank)[:n]


def _grouped(codes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A stable order that brings equal codes together, and the edges of the groups in it, both ends included.

    One sort of numbers that hold code and place: twice as fast as a stable argsort.
    """
    keys = np.sort(codes.astype(np.int64) << 32 | np.arange(len(codes)))
    grouped = keys >> 32
    return keys & 0xFFFF_FFFF, np.concatenate([[0], np.flatnonzero(grouped[1:] != grouped[:-1]) + 1, [len(codes)]])


def _at_least_nth(values: NDArray[np.number], n: int) -> NDArray[np.intp]:
    """Positions of the values that are at least the n-th largest."""
    if n >= len(values):
        return np.arange(len(values))
    return np.flatnonzero(values >= np.partition(values, len(values) - n)[len(values) - n])


def _with_backward(settings: CountSettings, backward: float | None) -> CountSettings:
    return settings if backward is None else replace(settings, backward=backward)
