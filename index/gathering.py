"""From a history to what goes with it: sums over the rows of `adjacency`, the cold lane, the best n; compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.jit import njit
from index.vocabulary import Codes

SUM = np.dtype([("score", "f8"), ("best", "f4"), ("evidence", "i4")], align=True)
"""Scratch of an item: its sum, 0 between calls; the largest part of it, and who gave that. 16 bytes, 4 a cache line."""
LOAN = np.dtype([("lent", "f8"), ("most", "f4"), ("lender", "i4"), ("barred", "i8")], align=True)
"""Scratch of an item: what it borrows, 0 between calls; the largest part of it and its evidence; 1: not to be found."""
_BINS = 512


@njit
def gather(
    table: NDArray[np.void],
    slots: NDArray[np.void],
    sums: NDArray[np.void],
    touched: Codes,
    history: Codes,
    weights: NDArray[np.float64],
    scale: float,
    doubt: float,
) -> int:
    """Sums up the rows of a history into `sums`, and lists in `touched` which items got something.

    sums[b].score = sum over a of w(a) * W(a, b) / (T(a) + doubt), over the sum of w; W and T are the fixed-point
    sums times `scale`. sums[b].evidence: the a that added most, the newest of equals.

    Returns:
        How many items were touched.
    """
    everything = 0.0
    for place in range(len(weights)):
        everything += max(weights[place], 0.0)
    found = 0
    for place in range(len(history)):
        item = history[place]
        if item < 0 or item >= len(table) or not weights[place] > 0:
            continue
        weight, again = 0.0, False
        for other in range(len(history)):
            if history[other] == item and weights[other] > 0:
                weight += weights[other]
                again |= other > place
        if again:  # all of it where the item stands last
            continue
        row = table[item]
        if row["filled"] == 0:
            continue
        factor = weight / everything * scale / (row["total"] * scale + doubt)
        for at in range(row["start"], row["start"] + row["filled"]):
            part = factor * slots[at]["weight"]
            if not part > 0:
                continue
            target = sums[slots[at]["after"]]
            if target["score"] == 0.0:
                touched[found] = slots[at]["after"]
                found += 1
                target["best"] = 0.0
            target["score"] += part
            if np.float32(part) >= target["best"]:
                target["best"] = part
                target["evidence"] = item
    return found


@njit
def events_of(table: NDArray[np.void], codes: Codes) -> NDArray[np.int64]:
    """How often each item was seen, (n,); 0 of a code that is not known."""
    found = np.zeros(len(codes), np.int64)
    for place in range(len(codes)):
        if 0 <= codes[place] < len(table):
            found[place] = table[codes[place]]["seen"]
    return found


@njit
def priors(table: NDArray[np.void], codes: Codes, scale: float, most: float) -> NDArray[np.float64]:
    """log(1 + heat * scale) / most of each item, (n,); 0 of a code that is not known."""
    found = np.zeros(len(codes))
    for place in range(len(codes)):
        if 0 <= codes[place] < len(table):
            found[place] = np.log1p(table[codes[place]]["heat"] * scale) / most
    return found


@njit
def best_together(
    table: NDArray[np.void],
    slots: NDArray[np.void],
    sums: NDArray[np.void],
    loans: NDArray[np.void],
    touched: Codes,
    damped: NDArray[np.float64],
    history: Codes,
    weights: NDArray[np.float64],
    scale: float,
    doubt: float,
    n: int,
    repeats: bool,
    lane: tuple[NDArray[np.int64], Codes, NDArray[np.float64]],
    cold_below: int,
) -> tuple[Codes, NDArray[np.float64], Codes]:
    """The best of what `gather` finds, damped; `sums` and `loans` are 0 before and after.

    Args:
        damped: what each item's sum is multiplied by.
        repeats: False: nothing of the history itself.
        lane: starts (items + 1,), cold items, what they borrow: of each warm item's score, by its code.
        cold_below: an item that was seen so often borrows no more.

    Returns:
        codes, scores, evidence: (m,) of all whose score is at least the n-th best; m > n where some tie with it.
    """
    found = gather(table, slots, sums, touched, history, weights, scale, doubt)
    if not repeats:
        for item in history:
            if 0 <= item < len(table):
                sums[item]["score"] = 0.0
                loans[item]["barred"] = 1
    scores = np.empty(found)
    for at in range(found):
        target = sums[touched[at]]
        target["score"] *= damped[touched[at]]
        scores[at] = target["score"]
    chosen = _best(touched[:found], scores, n)
    borrowers = np.empty(0, np.int32)
    if len(lane[0]) > 1:
        borrowers = _lend(table, sums, loans, chosen, lane, cold_below)
    codes = np.empty(len(chosen) + len(borrowers), np.int32)
    scores = np.empty(len(codes))
    evidence = np.empty(len(codes), np.int32)
    filled = 0
    for item in chosen:
        if loans[item]["lent"] == 0.0:
            codes[filled] = item
            scores[filled] = min(sums[item]["score"], 1.0)
            evidence[filled] = sums[item]["evidence"]
            filled += 1
    for item in borrowers:
        own = sums[item]["score"]
        codes[filled] = item
        scores[filled] = min(own + loans[item]["lent"], 1.0)
        evidence[filled] = loans[item]["lender"] if loans[item]["lent"] > own else sums[item]["evidence"]
        filled += 1
    for at in range(found):
        sums[touched[at]]["score"] = 0.0
    for item in borrowers:
        loans[item]["lent"] = 0.0
    if not repeats:
        for item in history:
            if 0 <= item < len(table):
                loans[item]["barred"] = 0
    if len(borrowers) == 0:
        return codes, scores, evidence
    places = _best(np.arange(filled).astype(np.int32), scores[:filled], n)
    return codes[places], scores[places], evidence[places]


@njit
def _lend(
    table: NDArray[np.void],
    sums: NDArray[np.void],
    loans: NDArray[np.void],
    warm: Codes,
    lane: tuple[NDArray[np.int64], Codes, NDArray[np.float64]],
    cold_below: int,
) -> Codes:
    """Sums up in `loans` what cold items borrow from the chosen warm ones, and says which do."""
    starts, cold, shares = lane
    most = 0
    for item in warm:
        if item < len(starts) - 1:
            most += starts[item + 1] - starts[item]
    borrowers = np.empty(most, np.int32)
    found = 0
    for item in warm:
        if item >= len(starts) - 1:
            continue
        for place in range(starts[item], starts[item + 1]):
            target = loans[cold[place]]
            part = shares[place] * sums[item]["score"]
            if table[cold[place]]["seen"] >= cold_below or target["barred"] or not part > 0:
                continue
            if target["lent"] == 0.0:
                borrowers[found] = cold[place]
                found += 1
                target["most"] = 0.0
            target["lent"] += part
            if np.float32(part) >= target["most"]:
                target["most"] = part
                target["lender"] = sums[item]["evidence"]
    return borrowers[:found]


@njit
def _best(codes: Codes, scores: NDArray[np.float64], n: int) -> Codes:
    """The codes whose score is above 0 and at least the n-th largest. Counting in bins, then sorting one bin: a tenth
    of the time of a partition."""
    largest = 0.0
    for score in scores:
        largest = max(largest, score)
    least = 0.0
    if len(scores) > n:
        counts = np.zeros(_BINS + 1, np.int64)
        bins = np.empty(len(scores), np.int32)
        step = _BINS / largest if largest > 0 else 0.0
        for at in range(len(scores)):
            bins[at] = np.int32(scores[at] * step)
            counts[bins[at]] += 1
        bin_, above = _BINS, 0
        while bin_ > 0 and above + counts[bin_] < n:
            above += counts[bin_]
            bin_ -= 1
        inside = np.empty(counts[bin_])
        filled = 0
        for at in range(len(scores)):
            if bins[at] == bin_:
                inside[filled] = scores[at]
                filled += 1
        inside.sort()
        least = inside[filled - (n - above)]
    kept = np.empty(len(codes), np.int32)
    filled = 0
    for at in range(len(codes)):
        if scores[at] >= least and scores[at] > 0.0:
            kept[filled] = codes[at]
            filled += 1
    return kept[:filled]
