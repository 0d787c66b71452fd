"""From a score to a probability that can be held to its word.

A logistic regression of hits on the score and on what is known of the session, then, where it helps, an isotonic
correction on top. Within one moment more score is never less probability, so that the ranking stays.

    calibration = calibrate(z, context, hit, moments)   # of the validation window, see `index.calibrating`
    calibration.apply(z, context)                       # of one moment's items: (n,) probabilities
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quality:
    """How far probabilities can be trusted, measured on moments that they were not fitted on."""

    n: int
    """Items."""
    hits: int
    ece: float
    """Expected calibration error: mean distance of probability and hit rate over 15 bins of equal size."""
    brier: float
    """Mean squared distance of probability and outcome."""
    auc: float
    """Chance that a hit has more than a miss; .5 where there is one kind only."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Maps scores to probabilities. Immutable; any thread may call."""

    calibrated: bool
    """False: `apply` gives 1 - exp(-z), from 0 to 1 and monotone, but no probability."""
    why: str
    """Why it is not calibrated; empty where it is."""
    intercept: float = 0.0
    slope: float = 1.0
    """Of the score, above 0."""
    slopes: tuple[float, ...] = ()
    """Of the context's features, in their order."""
    knots: tuple[tuple[float, float], ...] = ()
    """Log-odds before the isotonic correction, and probability after it, both rising; none: there is no correction."""
    quality: Quality | None = None
    """Out of fold."""
    _from: NDArray[np.float64] = field(init=False, repr=False)
    _to: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_from", np.array([knot[0] for knot in self.knots], np.float64))
        object.__setattr__(self, "_to", np.array([knot[1] for knot in self.knots], np.float64))

    @classmethod
    def none(cls, why: str) -> Calibration:
        """No calibration.

        >>> Calibration.none("no hit").apply(np.array([0.0, 1.0])).round(3).tolist()
        [0.0, 0.632]
        """
        return cls(calibrated=False, why=why)

    def apply(self, z: NDArray[np.float64], context: Sequence[float] | NDArray[np.float64] = ()) -> Probabilities:
        """Probabilities of one moment's scores, (n,), each from 0 to 1. About 4 us for ten.

        Args:
            z: (n,).
            context: (C,), what is known of the session. Not looked at where nothing is calibrated.

        Raises:
            ValueError: the context has another length than that which was fitted.
        """
        if not self.calibrated:
            return -np.expm1(-np.maximum(z, 0.0))
        if len(context) != len(self.slopes):
            raise ValueError(f"context of {len(context)} features, expected {len(self.slopes)} as when it was fitted")
        if isinstance(context, np.ndarray):
            context = context.tolist()
        return self._of(z * self.slope, self.intercept + sum(map(mul, self.slopes, context)))

    def apply_all(self, z: NDArray[np.float64], context: NDArray[np.float64]) -> Probabilities:
        """As `apply`, of items of any moments.

        Args:
            z: (n,).
            context: (n, C).
        """
        if not self.calibrated:
            return self.apply(z)
        return self._of(z * self.slope + context @ np.array(self.slopes), self.intercept)

    def _of(self, odds: NDArray[np.float64], offset: float) -> Probabilities:
        """Probabilities of log-odds that lack an offset; takes the array over."""
        odds += offset
        return np.interp(odds, self._from, self._to) if self.knots else expit(odds)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "calibrated": self.calibrated,
            "why": self.why,
            "intercept": self.intercept,
            "slope": self.slope,
            "slopes": list(self.slopes),
            "knots": [list(knot) for knot in self.knots],
            "quality": None if self.quality is None else asdict(self.quality),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Calibration:
        """What `to_dict` gave.

        Raises:
            ValueError: it is nothing of the kind, or would not be monotone.
        """
        try:
            found = cls(
                calibrated=bool(told["calibrated"]),
                why=str(told["why"]),
                intercept=float(told["intercept"]),
                slope=float(told["slope"]),
                slopes=tuple(float(slope) for slope in told["slopes"]),
                knots=tuple((float(odds), float(probability)) for odds, probability in told["knots"]),
                quality=None if told["quality"] is None else Quality(**told["quality"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError(f"{told!r} is no calibration ({exc!r}), expected what to_dict gives") from exc
        numbers = [found.intercept, found.slope, *found.slopes, *found._from, *found._to]
        rising = (np.diff(found._from) > 0).all() and (np.diff(found._to) >= 0).all()
        if not all(map(math.isfinite, numbers)) or found.slope <= 0 or not rising:
            raise ValueError(
                f"slope {found.slope}, {len(found.knots)} knots: expected a rising curve of finite numbers"
            )
        return found
