"""Sequences of items as a network learns them: numbers in one array, and what is set aside to stop training by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

ASIDE = 0.1
"""Share of the sequences of two items or more whose last item is set aside."""
MOST_ASIDE = 2000


@dataclass(frozen=True, slots=True)
class Sequences:
    """Items that sessions had, session by session, oldest first."""

    items: Numbers
    """(n,)"""
    ends: Numbers
    """(sequences,), rising to n."""
    count: int
    """Items that there are; numbers are below it."""
    repeats: bool
    """Whether an item may follow that the sequence had before."""

    def __post_init__(self) -> None:
        rising = len(self.ends) == 0 or ((np.diff(self.ends) > 0).all() and self.ends[0] > 0)
        if not rising or (self.ends[-1] if len(self.ends) else 0) != len(self.items):
            raise ValueError(f"{len(self.items)} items, ends {self.ends}: expected ends that rise to the last item")
        if len(self.items) and not 0 <= self.items.min() <= self.items.max() < self.count:
            raise ValueError(f"items {self.items.min()} to {self.items.max()}, expected 0 to {self.count - 1}")

    @classmethod
    def of(cls, keys: NDArray[np.integer], items: NDArray[np.integer], count: int, *, repeats: bool) -> Sequences:
        """One sequence a key, in the order of the keys' numbers; `keys` and `items`, (n,), in time order."""
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        ends = np.append(edges, len(keys)) if len(keys) else edges
        return cls(items[order].astype(np.int64), ends.astype(np.int64), count, repeats)

    def __len__(self) -> int:
        """Sequences."""
        return len(self.ends)

    def __iter__(self) -> Iterator[Numbers]:
        """Each sequence, (length,)."""
        start = 0
        for end in self.ends.tolist():
            yield self.items[start:end]
            start = end

    @property
    def counts(self) -> Numbers:
        """(count,): how often each item stands in a sequence."""
        return np.bincount(self.items, minlength=self.count)

    def parted(self, seed: int) -> Parted:
        """Some sequences without their last item, which is asked for to tell when training has to stop. Of what is not
        to repeat, an item that the sequence had before is not asked for."""
        sizes = np.diff(self.ends, prepend=0)
        able = np.flatnonzero(sizes >= 2)
        wanted = min(MOST_ASIDE, max(1, round(ASIDE * len(able)))) if len(able) else 0
        chosen = np.random.default_rng(seed).choice(able, wanted, replace=False) if wanted else able
        kept = np.ones(len(self.items), bool)
        histories, targets = [], []
        for number in np.sort(chosen).tolist():
            end = int(self.ends[number])
            history, target = self.items[end - sizes[number] : end - 1], int(self.items[end - 1])
            if self.repeats or target not in history:
                kept[end - 1] = False
                histories.append(history)
                targets.append(target)
        rest = Sequences(self.items[kept], np.cumsum(kept)[self.ends - 1], self.count, self.repeats)
        return Parted(rest, histories, np.array(targets, np.int64))


class Parted(NamedTuple):
    """What is learned from, and what tells when to stop."""

    rest: Sequences
    histories: list[Numbers]
    targets: Numbers
    """(len(histories),): what came next."""


def padded(histories: list[Numbers], longest: int, filler: int) -> tuple[Numbers, Numbers]:
    """The newest items of each, (b, L) with `filler` behind them, and how many those are, (b,)."""
    sizes = np.array([min(len(history), longest) for history in histories], np.int64)
    rows = np.full((len(histories), int(sizes.max(initial=1))), filler, np.int64)
    for row, history, size in zip(rows, histories, sizes.tolist(), strict=True):
        row[:size] = history[len(history) - size :]
    return rows, sizes


def batches(sequences: Sequences, longest: int, tokens: int, chance: np.random.Generator) -> Iterator[list[Numbers]]:
    """Pieces of at most `longest` + 1 items that cover every step of every sequence once, those of like length
    together, some `tokens` of them at a time; batches in random order."""
    pieces = [
        sequence[max(0, end - longest - 1) : end] for sequence in sequences for end in range(len(sequence), 1, -longest)
    ]
    sizes = np.array([len(piece) for piece in pieces]) + chance.random(len(pieces))
    order = np.argsort(sizes)
    width = 0
    cuts = [0]
    for place, number in enumerate(order.tolist()):
        width = len(pieces[number])
        if (place + 1 - cuts[-1]) * width > tokens and place > cuts[-1]:
            cuts.append(place)
    cuts.append(len(order))
    for number in chance.permutation(len(cuts) - 1).tolist():
        yield [pieces[place] for place in order[cuts[number] : cuts[number + 1]].tolist()]
