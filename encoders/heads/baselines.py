"""What a head has to beat: counted words, by scikit-learn. What they need chosen is chosen on the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

Floats = NDArray[np.float64]

SMOOTHING = (0.1, 1.0, 10.0, 100.0)
"""Tried as C of the logistic regression, and as alpha of the ridge."""


class CountedWords:
    """TF-IDF of words and of pairs of words, learned on the training part."""

    def __init__(self, train: Sequence[str]) -> None:
        self._words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        try:
            self._rows = self._words.fit_transform(train)
        except ValueError:  # no text has a word: one feature that says nothing
            self._words = TfidfVectorizer(analyzer="char")
            self._rows = self._words.fit_transform([text or " " for text in train])

    def classes(
        self,
        targets: NDArray[np.int64],
        valid: Sequence[str],
        valid_targets: NDArray[np.int64],
        test: Sequence[str],
        classes: int,
        balanced: bool,
    ) -> Floats:
        """Probabilities of the test part by logistic regression, (n, classes)."""
        every = list(range(classes))

        def fitted(strength: float) -> tuple[float, Any]:
            model = LogisticRegression(C=strength, max_iter=200, class_weight="balanced" if balanced else None)
            model.fit(self._rows, targets)
            said = model.predict_proba(self._words.transform(valid))
            return float(log_loss(valid_targets, said, labels=every)), model

        _, best = min((fitted(strength) for strength in SMOOTHING), key=lambda each: each[0])
        return np.asarray(best.predict_proba(self._words.transform(test)), np.float64)

    def numbers(self, targets: Floats, valid: Sequence[str], valid_targets: Floats, test: Sequence[str]) -> Floats:
        """Values of the test part by ridge regression, (n,)."""

        def fitted(strength: float) -> tuple[float, Any]:
            model = Ridge(alpha=strength).fit(self._rows, targets)
            return float(np.square(model.predict(self._words.transform(valid)) - valid_targets).mean()), model

        _, best = min((fitted(strength) for strength in SMOOTHING), key=lambda each: each[0])
        return np.asarray(best.predict(self._words.transform(test)), np.float64)
