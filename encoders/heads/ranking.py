"""Ranking: which candidates of a group are the more relevant. One score a text, a loss over groups."""

from __future__ import annotations

import numpy as np

from encoders.heads.baselines import CountedWords
from encoders.heads.examples import Examples, Parts, check_groups, check_parts, numbers_of, rows_by_group
from encoders.heads.head import Floats, Head, Vectors
from encoders.heads.metrics import Report, by_group, interval
from encoders.heads.training import FitSettings, Objective, Sample

SHUFFLES = 20
"""Of the baseline that says nothing."""


class Ranking:
    """Labels are relevances, 0 and up; groups are as one column says. See `encoders.heads.fitting`."""

    name = "ranking"
    outputs = 1
    labels: tuple[str, ...] = ()

    def __init__(self, parts: Parts, settings: FitSettings) -> None:
        """
        Raises:
            EncoderError: a part is empty, a label is no number from 0 on, or no group has anything to rank.
        """
        check_parts(parts)
        self.parts, self.settings = parts, settings
        self._numbers = numbers_of(parts)
        for name, part in parts.each():
            check_groups(name, part)
        self.objective: Objective = settings.loss

    def sample(self, part: Examples, vectors: Vectors) -> Sample:
        """A part for training; vectors (n, dimension)."""
        relevance = np.array([float(label) for label in part.labels])
        lists = [rows for rows in rows_by_group(part.groups) if np.ptp(relevance[rows]) > 0]
        return Sample(vectors, relevance, part.texts, lists)

    def finished(self, head: Head, _valid: Vectors) -> Head:
        """The head as it is."""
        return head

    def evaluate(self, head: Head, test: Vectors) -> Report:
        """The head on the test part, whose vectors are (n, dimension)."""
        parts, truth = self.parts, self._numbers["test"]
        lists = rows_by_group(parts.test.groups)
        said = by_group(head.outputs(parts.test.texts, test)[:, 0], truth, lists)
        words = CountedWords(parts.train.texts).numbers(
            self._numbers["train"], parts.valid.texts, self._numbers["valid"], parts.test.texts
        )
        source = np.random.default_rng(self.settings.seed)
        shuffled = [by_group(source.random(len(truth)), truth, lists) for _ in range(SHUFFLES)]
        others = {
            "random order": (np.mean([each[0] for each in shuffled], 0), np.mean([each[1] for each in shuffled], 0)),
            "TF-IDF, ridge": by_group(words, truth, lists),
        }
        return Report(
            n=len(said[0]),
            metrics=_metrics(*said),
            baselines={name: _metrics(*other) for name, other in others.items()},
            main="ndcg_10",
            gains={name: interval(said[0] - other[0], self.settings.seed) for name, other in others.items()},
        )


def _metrics(gains: Floats, ranks: Floats) -> dict[str, float]:
    return {"ndcg_10": float(gains.mean()), "mrr": float(ranks.mean())}
