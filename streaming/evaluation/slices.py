"""Moments parted by what was known and by what came: a slice gives each moment one label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streaming.evaluation.log import KINDS, TrainingPart
from streaming.evaluation.moments import Split
from streaming.holdout import DAY_MS

LENGTHS = ((1, "1"), (2, "2"), (4, "3 to 4"), (9, "5 to 9"), (10**9, "10 and more"))
"""Longest history of a class, and its label."""
HOURS = ("0 to 6 h", "6 to 12 h", "12 to 18 h", "18 to 24 h")
"""Of the day, UTC, at the newest event."""
CLASSES = ("head", "torso", "tail", "cold")
Masks = dict[str, NDArray[np.bool_]]
"""(n,) each: which moments have a label. Labels in their order."""


def slices_of(split: Split) -> dict[str, Masks]:
    """Moments by label, by the name of the slice; a slice that would have one label is left out."""
    before = np.fromiter((moment.time for moment in split.moments), np.int64, len(split))
    sizes = np.fromiter((len(moment.items) for moment in split.moments), np.int64, len(split))
    found = {
        "target's day": _masks(before // DAY_MS != split.target_times // DAY_MS, ("that of the item before", "later")),
        "items of the history": _masks(
            np.searchsorted([longest for longest, _ in LENGTHS], sizes), [label for _, label in LENGTHS]
        ),
        "target": _masks(popularity_classes(split.part)[split.targets], CLASSES),
        "target stood in the history": _masks(repeats(split), ("no", "yes")),
        "kind": _masks(split.target_kinds, KINDS),
        "hour of the day": _masks(before % DAY_MS // (DAY_MS // len(HOURS)), HOURS),
    }
    return {name: masks for name, masks in found.items() if len(masks) > 1}


def popularity_classes(part: TrainingPart) -> NDArray[np.int64]:
    """(items,), by place in `CLASSES`: the most popular items that had a third of the training events, those that had
    the next third, the others, and those that had none."""
    counts = part.counts()
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]  # events of all more popular items
    classes = np.empty(len(counts), dtype=np.int64)
    classes[order] = np.minimum(3 * before // max(int(counts.sum()), 1), 2)
    classes[counts == 0] = 3
    return classes


def repeats(split: Split) -> NDArray[np.bool_]:
    """(n,): whether the target stood in the history."""
    again = (target in moment.items for target, moment in zip(split.targets, split.moments, strict=True))
    return np.fromiter(again, bool, len(split))


def _masks(places: NDArray[np.integer] | NDArray[np.bool_], labels: Sequence[str]) -> Masks:
    """Moments by label, given its place; labels that no moment has are left out."""
    masks = {label: places == place for place, label in enumerate(labels)}
    return {label: mask for label, mask in masks.items() if mask.any()}
