"""Classification: which of a few classes a text belongs to. Softmax over an affine map, cross-entropy, calibrated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score, log_loss

from encoders.heads.baselines import CountedWords
from encoders.heads.examples import Examples, Parts, check_parts, classes_of
from encoders.heads.head import Floats, Head, Vectors, softmax
from encoders.heads.metrics import Report, expected_calibration_error, interval
from encoders.heads.training import FitSettings, Objective, Sample

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature."""


class Classification:
    """Any labels, taken as names. See `encoders.heads.fitting`."""

    name = "classification"
    objective: Objective = "classes"

    def __init__(self, parts: Parts, settings: FitSettings) -> None:
        """
        Raises:
            EncoderError: a part is empty, or the labels are no classes.
        """
        check_parts(parts)
        self.parts, self.settings = parts, settings
        self.labels = classes_of(parts)
        self.outputs = len(self.labels)
        self._places = {label: place for place, label in enumerate(self.labels)}

    def sample(self, part: Examples, vectors: Vectors) -> Sample:
        """A part for training; vectors (n, dimension)."""
        return Sample(vectors, self._targets(part), part.texts)

    def finished(self, head: Head, valid: Vectors) -> Head:
        """The head with its temperature folded in, chosen by the log-loss of the validation part (Guo et al. 2017)."""
        targets = self._targets(self.parts.valid)
        outputs = head.outputs(self.parts.valid.texts, valid)  # (n, classes)

        def loss(heat: float) -> float:
            return _log_loss(softmax(outputs / np.exp(heat)), targets)

        found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
        heat = float(found.x) if loss(float(found.x)) < loss(0.0) else 0.0
        temperature = float(np.exp(heat))
        return head.scaled(1 / temperature, 0, {"temperature": temperature})

    def evaluate(self, head: Head, test: Vectors) -> Report:
        """The head on the test part, whose vectors are (n, dimension)."""
        parts, targets = self.parts, self._targets(self.parts.test)
        train = self._targets(parts.train)
        shares = np.bincount(train, minlength=self.outputs) / len(train)
        said = head.probabilities(parts.test.texts, test)
        others = {
            "majority class": np.tile(shares, (len(targets), 1)),
            "TF-IDF, logistic regression": CountedWords(parts.train.texts).classes(
                train,
                parts.valid.texts,
                self._targets(parts.valid),
                parts.test.texts,
                self.outputs,
                self.settings.balanced,
            ),
        }
        every = list(range(self.outputs))
        chosen = said.argmax(axis=1)
        right = (chosen == targets).astype(np.float64)
        return Report(
            n=len(targets),
            metrics=_metrics(said, targets),
            baselines={name: _metrics(other, targets) for name, other in others.items()},
            main="accuracy",
            gains={
                name: interval(right - (other.argmax(axis=1) == targets), self.settings.seed)
                for name, other in others.items()
            },
            detail={
                "classes": classification_report(
                    targets, chosen, labels=every, target_names=list(self.labels), output_dict=True, zero_division=0
                ),
                "labels": list(self.labels),
                "confusion": confusion_matrix(targets, chosen, labels=every).tolist(),
            },
        )

    def _targets(self, part: Examples) -> NDArray[np.int64]:
        return np.array([self._places[label] for label in part.labels], np.int64)


def _metrics(probabilities: Floats, targets: NDArray[np.int64]) -> dict[str, float]:
    chosen = probabilities.argmax(axis=1)
    every = list(range(probabilities.shape[1]))
    confidence = probabilities[np.arange(len(targets)), chosen]
    return {
        "accuracy": float(accuracy_score(targets, chosen)),
        "macro_f1": float(f1_score(targets, chosen, labels=every, average="macro", zero_division=0)),
        "log_loss": _log_loss(probabilities, targets),
        "ece": expected_calibration_error(confidence, chosen == targets),
    }


def _log_loss(probabilities: Floats, targets: NDArray[np.int64]) -> float:
    rows = probabilities.astype(np.float64)
    return float(log_loss(targets, rows / rows.sum(axis=1, keepdims=True), labels=list(range(rows.shape[1]))))
