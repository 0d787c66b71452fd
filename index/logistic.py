"""A logistic model as it is served: plain numbers, some microseconds a probability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from index.calibration import Quality

_FARTHEST = 30.0
"""Log-odds beyond which a probability is no other."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """Probability of something, from features of a fixed order. Immutable; any thread may call."""

    names: tuple[str, ...] = ()
    """Of the features."""
    intercept: float = 0.0
    slopes: tuple[float, ...] = ()
    least: tuple[float, ...] = ()
    most: tuple[float, ...] = ()
    """Of each feature when it was fitted: what lies beyond counts as that, so that nothing is made of what was never
    seen."""
    quality: Quality | None = None
    """Out of fold; None: nothing was fitted."""
    why: str = ""
    """Why nothing was fitted; empty where something was."""

    @classmethod
    def none(cls, why: str) -> Logistic:
        """No model, for this reason."""
        return cls(why=why)

    @property
    def fitted(self) -> bool:
        """Whether it says anything."""
        return self.quality is not None

    def probability(self, features: Sequence[float]) -> float:
        """From 0 to 1, of (C,) features. About 4 us for 18.

        >>> model = Logistic(("a",), 0.0, (1.0,), (-1.0,), (1.0,), Quality(2, 1, 0.0, 0.25, 1.0))
        >>> round(model.probability([1.0]), 3), model.probability([9.0]) == model.probability([1.0])
        (0.731, True)

        Raises:
            ValueError: nothing was fitted, or the features are others than those that it was fitted on.
        """
        if not self.fitted:
            raise ValueError(f"asked for a probability, but there is no model: {self.why}")
        odds = self.intercept
        for value, slope, least, most in zip(features, self.slopes, self.least, self.most, strict=True):
            odds += slope * (least if value < least else most if value > most else value)
        return 1.0 / (1.0 + math.exp(-min(max(odds, -_FARTHEST), _FARTHEST)))

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        lists = {name: list(getattr(self, name)) for name in ("names", "slopes", "least", "most")}
        quality = None if self.quality is None else asdict(self.quality)
        return {**lists, "intercept": self.intercept, "quality": quality, "why": self.why}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], names: Sequence[str]) -> Logistic:
        """What `to_dict` gave.

        Args:
            names: features that it will be asked with.

        Raises:
            ValueError: it is nothing of the kind, is of other features, or holds a number that is none.
        """
        try:
            if told["quality"] is None:
                return cls.none(str(told["why"]))
            slopes, least, most = (tuple(float(value) for value in told[name]) for name in ("slopes", "least", "most"))
            intercept, quality = float(told["intercept"]), Quality(**told["quality"])
            found = cls(tuple(told["names"]), intercept, slopes, least, most, quality)
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError(f"{told!r} is no logistic model ({exc!r}), expected what to_dict gives") from exc
        whole = all(len(each) == len(names) and all(map(math.isfinite, each)) for each in (slopes, least, most))
        if found.names != tuple(names) or not whole or not math.isfinite(found.intercept):
            raise ValueError(
                f"a logistic model of {len(found.names)} features {list(found.names)}, expected a finite slope, least"
                f" and most of each of {list(names)}"
            )
        return found
