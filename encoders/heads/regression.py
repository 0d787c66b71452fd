"""Regression: a number that a text stands for, such as a delivery time. An affine map, squared error."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from encoders.heads.baselines import CountedWords
from encoders.heads.examples import Examples, Parts, check_parts, numbers_of
from encoders.heads.head import Floats, Head, Vectors
from encoders.heads.metrics import Report, interval
from encoders.heads.training import FitSettings, Objective, Sample


class Regression:
    """Labels are numbers; while training they are standardised. See `encoders.heads.fitting`."""

    name = "regression"
    objective: Objective = "numbers"
    outputs = 1
    labels: tuple[str, ...] = ()

    def __init__(self, parts: Parts, settings: FitSettings) -> None:
        """
        Raises:
            EncoderError: a part is empty, or a label is no number, or all are alike.
        """
        check_parts(parts)
        self.parts, self.settings = parts, settings
        self._numbers = numbers_of(parts)
        self._mean = float(self._numbers["train"].mean())
        self._spread = float(self._numbers["train"].std())

    def sample(self, part: Examples, vectors: Vectors) -> Sample:
        """A part for training; vectors (n, dimension)."""
        numbers = np.array([float(label) for label in part.labels])
        return Sample(vectors, (numbers - self._mean) / self._spread, part.texts)

    def finished(self, head: Head, _valid: Vectors) -> Head:
        """The head in the label's own unit."""
        return head.scaled(self._spread, self._mean, {"mean": self._mean, "spread": self._spread})

    def evaluate(self, head: Head, test: Vectors) -> Report:
        """The head on the test part, whose vectors are (n, dimension)."""
        parts, numbers = self.parts, self._numbers
        truth, said = numbers["test"], head.outputs(parts.test.texts, test)[:, 0]
        others = {
            "mean": np.full(len(truth), self._mean),
            "TF-IDF, ridge": CountedWords(parts.train.texts).numbers(
                numbers["train"], parts.valid.texts, numbers["valid"], parts.test.texts
            ),
        }
        return Report(
            n=len(truth),
            metrics=_metrics(said, truth),
            baselines={name: _metrics(other, truth) for name, other in others.items()},
            main="mae",
            gains={
                name: interval(np.abs(other - truth) - np.abs(said - truth), self.settings.seed)
                for name, other in others.items()
            },
        )


def _metrics(said: Floats, truth: Floats) -> dict[str, float]:
    varies = len(truth) > 1 and np.ptp(truth) > 0
    return {
        "mae": float(mean_absolute_error(truth, said)),
        "rmse": float(root_mean_squared_error(truth, said)),
        "r2": float(r2_score(truth, said)) if varies else 0.0,
    }
