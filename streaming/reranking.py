"""The best of a ranking ranked once more, by a forest that learned from what came: what each candidate has, and how it
stands among the others."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.attributes import Numbers as Attributes
from index.candidates import Column
from index.cold_lane import SOUGHT
from index.forest import Features, Forest
from index.fusion import PARTS as BLOCKS
from index.links import Linked, Numbers
from index.vocabulary import Codes
from streaming.items import Shop

DEPTH = 100
"""Candidates that are ranked once more, the best by their score."""
EXPECTED = 80
"""Of the others, those that are ranked once more because a network expects them most."""
RECENT = 3
"""Newest items of the history that a candidate's text is compared with."""
FADING = 0.6
"""What an item of the history weighs against the one after it, for what it has in common with a candidate."""
LINKED = 40
"""Of the others, those that are ranked once more because facts join them most with the history."""
ON_THE_RISE = 40
"""Likewise, those whose last sessions are the newest of all items'."""
COLD = 20
"""Likewise, those that hardly anybody has had that are most like the session, as `index.cold_lane` has it."""
TOGETHER = 100
"""Items that go with the newest of the history, of which the forest is told."""
RANKS = np.array([1, 4, 16, 0])
"""Sessions of a candidate that the forest is told the age of, as `SessionKnn.newest` has them: how new the item is, and
whether it is on the rise. Of the first it is told no hours but a share of all that is kept: a log's length is no trait
of an item, and grows."""
NEVER = 20.0
HOUR_MS = 3_600_000
TIE = 1e-3
"""Of the score before, what is added: more of any part is never no better, and hardly anything ties."""

PARTS = ("counts", "neighbours", *BLOCKS)
"""What a score is made of, in this order everywhere."""
FEATURES = (
    *PARTS,
    "score", "place",
    "score_behind", "counts_behind", "neighbours_behind", "text_behind", "sequence_behind",
    "sequence_place",
    "text_last", "text_recent", "sequence_last", "behaviour_last",
    "log_seen", "log_seen_last", "history", "best_counts", "best_neighbours", "best_text", "best_sequence",
    "steps_back",
    "counts_last", "counts_last_behind",
    "brand_last", "brand_share", "category_last", "category_share", "section_last", "section_share",
    "links_last", "links_share",
    "counts_even", "since_last", "since_fourth", "since_sixteenth",
    "age_share", "newest_age_share",
)  # fmt: skip
"""Of a candidate, in order. `behind`: less the best candidate's; `last`, `recent`: cosine with the newest item, the
most of the newest three; `best`: the same for all candidates; `steps_back`: 1 / how long ago it stood in the history, 0
where it does not. `counts_last`: counts of the newest item alone. `brand_last`: 1 where that is of its brand;
`brand_share`: the share of the history that is, its items weighed by `FADING`; category and section alike.
`links`: as `index.links.Linked`. `counts_even`: counts of the whole history, none of it weighed less. `since`: log(1 +
hours) from the last session that had it, the fourth last, the sixteenth, to the newest event that was learned; `NEVER`
where there was none. `age_share`: from the first session that had it to then, of all the time that is kept: 0 to 1, and
-1 where none had it; `newest`: of the newest item."""
_Columns = namedtuple("_Columns", FEATURES)  # type: ignore[misc]
AT: Any = _Columns(*range(len(FEATURES)))
"""Column of each feature by its name, also for compiled code."""
TEXT, BEHAVIOUR, SEQUENCE = (BLOCKS.index(name) for name in ("text", "behaviour", "sequence"))
_MORE = {
    *PARTS[:-1],
    *(name for name in FEATURES if name.endswith(("_behind", "_last", "_recent"))),
    "score",
    "links_share",
    "counts_even",
}
_EITHER = {"log_seen_last", "brand_last", "category_last", "section_last"}
_LESS = {"place", "sequence_place"}
RISING = tuple((name in _MORE - _EITHER) - (name in _LESS) for name in FEATURES)
"""Of each feature: 1 where more of it never ranks lower, -1 where it never ranks higher, else 0: an offer that loses
what speaks for it does not rise."""


class Shortlist(NamedTuple):
    """The candidates that are ranked once more."""

    places: NDArray[np.int64]
    """(n,), best first by their score."""
    rows: Features
    """(n, FEATURES)"""


def shortlist(codes: Codes, parts: Column, z: Column, known: Codes, linked: Linked, shop: Shop) -> Shortlist:
    """The best candidates by their score, those that a network expects, those that are on the rise, those that facts
    join with the history, and those that hardly anybody has had, with what the forest asks of each.

    Args:
        parts: (m, parts), not weighed.
        z: (m,), scores.
        known: items of the history, oldest first.
        linked: what facts join with them.
    """
    shares = _shares(codes, *linked)
    expected = EXPECTED if shop.layout.sequence else 0
    rising = np.sort(shop.knn.rising(ON_THE_RISE))
    seen = shop.counts.seen(codes)
    cold = np.where(seen < shop.counts.settings.cold_below, parts[:, AT.text :] @ SOUGHT, 0.0)
    places = _chosen(codes, z, parts[:, AT.sequence], shares[:, 1], cold, rising, expected)
    chosen = codes[places]
    recent = known[::-1][:RECENT]
    blocks = shop.layout.blocks
    alike = np.zeros((len(recent), len(chosen), len(blocks)))  # (recent, n, blocks)
    for number, row in enumerate(shop.index.vectors(recent)):
        alike[number] = shop.index.products(chosen, row, blocks if not number else blocks[:1])
    last = shop.counts.seen(recent[:1])[0] if len(recent) else 0
    after = shop.counts.together(recent[:1], np.ones(len(recent[:1])), TOGETHER)
    rows = _rows(parts[places], z[places], alike, seen[places], last, chosen, known)
    _add_scores(rows, AT.counts_last, chosen, after.codes, after.scores)
    rows[:, AT.counts_last_behind] = rows[:, AT.counts_last] - rows[:, AT.counts_last].max(initial=0.0)
    _add_shared(rows, shop.attributes.of(chosen), shop.attributes.of(known))
    rows[:, AT.links_last : AT.links_share + 1] = shares[places]
    even = shop.counts.together(known, np.ones(len(known)), TOGETHER)
    _add_scores(rows, AT.counts_even, chosen, even.codes, even.scores)
    _add_ages(rows, shop.knn.newest(np.append(chosen, recent[:1]), RANKS), shop.counts.latest, shop.knn.oldest())
    return Shortlist(places, rows)


def reordered(z: Column, places: NDArray[np.int64], rows: Features, forest: Forest) -> Column:
    """Scores by the forest, (m,): of those that it ranked; the others stand below them in their order."""
    told = forest.scores(rows) + TIE * z[places]
    found = z + (told.min() - TIE - z.max()) if len(told) else z.copy()
    found[places] = told
    return found


@njit
def _shares(codes: Codes, joined: Codes, last: Numbers, share: Numbers) -> Features:
    """(m, 2): what joins each of these items with the newest of the history, and with all of it, by `Linked`."""
    shares = np.zeros((len(codes), 2), np.float32)
    if len(joined):
        for place in range(len(codes)):
            at = np.searchsorted(joined, codes[place])
            if at < len(joined) and joined[at] == codes[place]:
                shares[place, 0], shares[place, 1] = last[at], share[at]
    return shares


@njit
def _chosen(
    codes: Codes, z: Column, sequence: Column, share: Features, cold: Column, rising: Codes, expected: int
) -> NDArray[np.int64]:
    """Places of the candidates that are ranked once more, given all of them and what is on the rise, ascending."""
    order = np.argsort(-z, kind="mergesort")
    depth = min(DEPTH, len(order))
    places, count = order.copy(), depth
    others = order[depth:]
    for turn in range(4):
        if turn == 0:
            added = largest(sequence[others], expected)
        elif turn == 1:
            at = np.minimum(np.searchsorted(rising, codes[others]), len(rising) - 1)
            added = rising[at] == codes[others] if len(rising) else np.zeros(len(others), np.bool_)
        elif turn == 2:
            added = largest(share[others], LINKED) & (share[others] > 0)
        else:
            added = largest(cold[others], COLD) & (cold[others] > 0)
        new = others[added]
        places[count : count + len(new)] = new
        count += len(new)
        others = others[~added]
    return places[:count]


@njit
def largest(values: NDArray[np.floating[Any]], n: int) -> NDArray[np.bool_]:
    """Whether each of these is one of the n largest, of equals the first."""
    if n <= 0 or n >= len(values):
        return np.full(len(values), n > 0)
    border = np.partition(values, len(values) - n)[len(values) - n]
    taken: NDArray[np.bool_] = values > border
    equals = n - np.count_nonzero(taken)
    for at in range(len(values)):
        if equals and values[at] == border:
            taken[at] = True
            equals -= 1
    return taken


@njit
def _rows(
    parts: Column, z: Column, alike: NDArray[np.float64], seen: NDArray[np.int64], last: int, codes: Codes, known: Codes
) -> Features:
    count, width = parts.shape
    rows = np.zeros((count, len(AT)), np.float32)
    best = np.zeros(width)
    for place in range(count):
        for part in range(width):
            best[part] = max(best[part], parts[place, part])
    order = np.argsort(-parts[:, AT.sequence])
    for place in range(count):
        row = rows[place]
        for part in range(width):
            row[part] = parts[place, part]
        row[AT.score], row[AT.place] = z[place], place
        row[AT.score_behind] = z[place] - z[0]
        row[AT.counts_behind] = parts[place, AT.counts] - best[AT.counts]
        row[AT.neighbours_behind] = parts[place, AT.neighbours] - best[AT.neighbours]
        row[AT.text_behind] = parts[place, AT.text] - best[AT.text]
        row[AT.sequence_behind] = parts[place, AT.sequence] - best[AT.sequence]
        if len(alike):
            row[AT.text_last], row[AT.sequence_last] = alike[0, place, TEXT], alike[0, place, SEQUENCE]
            row[AT.behaviour_last] = alike[0, place, BEHAVIOUR]
            row[AT.text_recent] = alike[0, place, TEXT]
            for other in range(1, len(alike)):
                row[AT.text_recent] = max(row[AT.text_recent], alike[other, place, TEXT])
        row[AT.log_seen], row[AT.log_seen_last] = np.log1p(seen[place]), np.log1p(last)
        row[AT.history] = len(known)
        row[AT.best_counts], row[AT.best_neighbours] = best[AT.counts], best[AT.neighbours]
        row[AT.best_text], row[AT.best_sequence] = best[AT.text], best[AT.sequence]
        for back in range(1, len(known) + 1):
            if known[len(known) - back] == codes[place]:
                row[AT.steps_back] = 1.0 / back
                break
    for number in range(count):
        rows[order[number], AT.sequence_place] = number
    return rows


@njit
def _add_scores(rows: Features, column: int, codes: Codes, found: Codes, scores: Column) -> None:
    """What counts say of each candidate, given items that they found; 0 of the others."""
    order = np.argsort(found)
    ascending = found[order]
    for place in range(len(codes)):
        at = np.searchsorted(ascending, codes[place])
        if at < len(ascending) and ascending[at] == codes[place]:
            rows[place, column] = scores[order[at]]


@njit
def _add_ages(rows: Features, times: NDArray[np.int64], latest: int, oldest: int) -> None:
    """`times`: (n, RANKS) of the candidates; behind them of the newest item, where there is one."""
    for place in range(len(rows)):
        for rank in range(3):
            age = max(0, latest - times[place, rank]) / HOUR_MS
            rows[place, AT.since_last + rank] = np.log1p(age) if times[place, rank] >= 0 else NEVER
        rows[place, AT.age_share] = _share_of_time(times[place, 3], latest, oldest)
        rows[place, AT.newest_age_share] = (
            _share_of_time(times[-1, 3], latest, oldest) if len(times) > len(rows) else -1.0
        )


@njit
def _share_of_time(first: int, latest: int, oldest: int) -> float:
    return min(1.0, max(0, latest - first) / max(1, latest - oldest)) if first >= 0 else -1.0


@njit
def _add_shared(rows: Features, own: Attributes, known: Attributes) -> None:
    """What each candidate has in common with the history; `known`: oldest first."""
    for place in range(len(own)):
        for kind in range(own.shape[1]):
            total, shared, weight = 0.0, 0.0, 1.0
            for back in range(len(known) - 1, -1, -1):
                total += weight
                if own[place, kind] != 0 and own[place, kind] == known[back, kind]:
                    shared += weight
                    if back == len(known) - 1:
                        rows[place, AT.brand_last + 2 * kind] = 1.0
                weight *= FADING
            if total > 0.0:
                rows[place, AT.brand_share + 2 * kind] = shared / total
