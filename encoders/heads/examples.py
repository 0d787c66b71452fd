"""Texts with their labels, cut into the parts that a head is trained, chosen and measured on; and what is refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.errors import EncoderError

MOST_CLASSES = 1000
"""More distinct labels than that are no classes but ids or numbers."""
NAMED = 5
"""Values that an error shows."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows of one part, in the table's order."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    """As they stand in the table."""
    groups: tuple[str, ...] = ()
    """Of ranking: whose candidates the rows are; else empty."""

    def __len__(self) -> int:
        return len(self.texts)

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.texts) or len(self.groups) not in (0, len(self.texts)):
            raise ValueError(
                f"{len(self.texts)} texts, {len(self.labels)} labels, {len(self.groups)} groups: expected equally many"
            )


@dataclass(frozen=True, slots=True)
class Parts:
    """A table's rows by part."""

    train: Examples
    valid: Examples
    """Early stopping, strength of the penalty and temperature are chosen on it."""
    test: Examples
    """Looked at once, for the report."""

    def counts(self) -> dict[str, int]:
        """Rows of each part."""
        return {"train": len(self.train), "valid": len(self.valid), "test": len(self.test)}

    def each(self) -> list[tuple[str, Examples]]:
        """Name and rows of each part."""
        return [("train", self.train), ("valid", self.valid), ("test", self.test)]


def classes_of(parts: Parts) -> tuple[str, ...]:
    """The classes, in the order of their names.

    Raises:
        EncoderError: there is one class only, there are too many, one has a single row, or none to learn from.
    """
    counted = Counter(label for _, part in parts.each() for label in part.labels)
    if len(counted) < 2:
        (only,) = counted or ("",)
        raise EncoderError(
            f"every label is {shown(only)}, expected two classes or more; name the column that tells texts apart"
        )
    if len(counted) > MOST_CLASSES:
        raise EncoderError(
            f"{len(counted)} distinct labels, expected at most {MOST_CLASSES} classes; for numbers use "
            "--task regression, else join rare classes, or set them aside with --rare"
        )
    single = sorted(label for label, count in counted.items() if count == 1)
    if single:
        raise EncoderError(
            f"{_listed(single)} with one row only, expected two or more of each class; add rows, or set such classes "
            "aside with --rare 2"
        )
    unseen = sorted(set(counted) - set(parts.train.labels))
    if unseen:
        raise EncoderError(
            f"{_listed(unseen)} without a row in the part to learn from, expected one or more of each; add rows, set "
            "classes of so few rows aside with --rare, or cut the table otherwise (--split, --seed)"
        )
    return tuple(sorted(counted))


def numbers_of(parts: Parts) -> dict[str, NDArray[np.float64]]:
    """The labels of each part as numbers, by name of the part.

    Raises:
        EncoderError: one is no finite number, or all of a part to learn from are alike.
    """
    found = {name: np.array([_number(label) for label in part.labels], np.float64) for name, part in parts.each()}
    if np.ptp(found["train"]) == 0:
        raise EncoderError(
            f"every label to learn from is {found['train'][0]:g}, expected numbers that differ; name another column"
        )
    return found


def check_groups(name: str, part: Examples) -> None:
    """A part of a ranking table says something: some group has two candidates of different relevance.

    Raises:
        EncoderError: none has.
    """
    if not part.groups:
        raise EncoderError(
            "ranking without groups, expected a column that says whose candidates rows are; give --group"
        )
    labels = np.array([_number(label) for label in part.labels])
    if (labels < 0).any():
        raise EncoderError(f"the relevance {labels.min():g} is below 0, expected 0 (not relevant) or more; shift it")
    if not any(np.ptp(labels[rows]) > 0 for rows in rows_by_group(part.groups)):
        raise EncoderError(
            f"no group of the part {name} has candidates of different relevance, expected two or more in some group; "
            "check the columns named by --group and --label, or add rows"
        )


def rows_by_group(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """The rows of each group, groups in the order of their first row.

    >>> [rows.tolist() for rows in rows_by_group(["a", "b", "a"])]
    [[0, 2], [1]]
    """
    found: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        found.setdefault(group, []).append(row)
    return [np.array(rows, np.int64) for rows in found.values()]


def check_parts(parts: Parts) -> None:
    """Each part has rows.

    Raises:
        EncoderError: one is empty.
    """
    empty = [name for name, part in parts.each() if not len(part)]
    if empty:
        raise EncoderError(
            f"no rows in the part {', '.join(empty)} of {sum(parts.counts().values())} rows, expected some in each of "
            "train, valid and test; add rows, or say each row's part in the column named by --split"
        )


def shown(value: str) -> str:
    """A value as an error shows it: quoted, and not too long."""
    return repr(value if len(value) <= 60 else value[:60] + "...")


def _number(label: str) -> float:
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise EncoderError(
            f"the label {shown(label)} is no finite number, expected one such as 3.5; correct it or leave the cell "
            "empty, or use --task classification"
        )
    return number


def _listed(labels: Sequence[str]) -> str:
    """Classes by name, of many the first.

    >>> _listed(["a", "b"])
    "2 classes ('a', 'b')"
    """
    names = ", ".join(shown(label) for label in labels[:NAMED]) + (", ..." if len(labels) > NAMED else "")
    return f"{len(labels)} class{'es' if len(labels) > 1 else ''} ({names})"
