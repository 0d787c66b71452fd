"""Whether a whole prediction is worth sending: the probability that any of its offers comes, and from which
probability on a precision that was asked for is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from index.logistic import Logistic

PRECISIONS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Precisions whose thresholds are kept."""


class Threshold(NamedTuple):
    """From which probability on a precision is kept."""

    precision: float
    """That is kept, but for a chance of 1 - `Gate.confidence`."""
    probability: float
    coverage: float
    """Share of the moments that reached it where it was chosen."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Probability that any of the offers comes within the horizon, and thresholds of it. Immutable."""

    model: Logistic
    thresholds: tuple[Threshold, ...] = ()
    """By rising precision; those of `PRECISIONS` that some threshold kept."""
    confidence: float = 0.9
    """With which each threshold keeps its precision, on moments like those that it was chosen on."""

    @classmethod
    def none(cls, why: str) -> Gate:
        """No gate, for this reason."""
        return cls(Logistic.none(why))

    @property
    def fitted(self) -> bool:
        """Whether it says anything."""
        return self.model.fitted

    def threshold_for(self, precision: float) -> Threshold | None:
        """That of the least precision in the table which is at least what is asked; None: none is.

        >>> gate = Gate(Logistic(), (Threshold(0.2, 0.1, 0.9), Threshold(0.3, 0.25, 0.5)))
        >>> gate.threshold_for(0.25), gate.threshold_for(0.4)
        (Threshold(precision=0.3, probability=0.25, coverage=0.5), None)
        """
        return next((each for each in self.thresholds if each.precision >= precision), None)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "model": self.model.to_dict(),
            "thresholds": [each._asdict() for each in self.thresholds],
            "confidence": self.confidence,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], names: Sequence[str]) -> Gate:
        """What `to_dict` gave.

        Args:
            names: features that it will be asked with.

        Raises:
            ValueError: it is nothing of the kind, is of other features, or its thresholds do not rise from 0 to 1.
        """
        try:
            model = Logistic.from_dict(told["model"], names)
            thresholds = tuple(
                Threshold(float(each["precision"]), float(each["probability"]), float(each["coverage"]))
                for each in told["thresholds"]
            )
            confidence = float(told["confidence"])
        except (KeyError, TypeError) as exc:
            raise ValueError(f"{told!r} is no gate ({exc!r}), expected what to_dict gives") from exc
        columns = [[0.0, *column, 1.0] for column in zip(*(each[:2] for each in thresholds), strict=True)]
        rising = all(low <= high for column in columns for low, high in pairwise(column))
        if not rising or not 0 < confidence < 1:
            raise ValueError(f"thresholds {thresholds} at {confidence}: expected rising shares from 0 to 1")
        return cls(model, thresholds, confidence)
