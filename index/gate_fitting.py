"""How a gate is fitted, and its thresholds chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.gate import PRECISIONS, Gate, Threshold
from index.logistic_fitting import fit_logistic
from index.promises import DOUBT, kept, tried
from index.regression import Hits, Rows


def fit_gate(names: Sequence[str], features: Rows, hit: Hits, sessions: NDArray[np.int64]) -> Gate:
    """A gate of these moments. Its thresholds are chosen on what it says out of fold, whole sessions held out.

    Args:
        names: of the features, (C,).
        features: (n, C): of each moment, as `streaming.gating` has them.
        hit: (n,): whether any of the offers came within the horizon.
        sessions: (n,): of which session each moment is.
    """
    model, out_of_fold = fit_logistic(names, features, hit, sessions)
    if not model.fitted:
        return Gate(model)
    steps = tried(out_of_fold, hit, groups=sessions)
    found = [(precision, kept(steps, precision)) for precision in PRECISIONS]
    thresholds = [Threshold(asked, step.threshold, step.coverage) for asked, step in found if step is not None]
    return Gate(model, tuple(thresholds), 1 - DOUBT)
