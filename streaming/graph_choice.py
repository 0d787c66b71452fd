"""Which graph vectors a shop gets: judged on the moments that its weights are chosen on, beside counts alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoders.graph.choosing import Choice, Scores, Validation
from encoders.graph.choosing import choose as choose_vectors
from index.tables import Tables
from index.vocabulary import Codes
from streaming.holdout import Moment
from streaming.ranking import RankingSettings, decayed

MOMENTS = 2000
"""Moments that vectors are judged on, at most."""


def choose_graph(
    tables: Tables, item_ids: Sequence[str], moments: Sequence[Moment], settings: RankingSettings
) -> Choice:
    """Fits each kind of graph vectors on the tables' facts and keeps the one that ranks best together with the counts.

    About a minute with 100,000 facts.

    Args:
        tables: of what is before the moments.
        item_ids: of the catalogue, each once.
        moments: what came next of them is asked for; those with an item that the catalogue lacks are passed over.
    """
    codes = tables.vocabulary.codes(item_ids)
    row_of = np.full(len(tables.vocabulary), -1, np.int32)
    row_of[codes] = np.arange(len(codes))
    histories: list[Codes] = []
    targets: list[int] = []
    asked: list[list[tuple[str, float]]] = []
    for moment in moments:
        steps = tables.vocabulary.codes([step.subject for step in moment.history if step.item_id is not None])
        rows = row_of[steps[steps >= 0]]
        target = row_of[tables.vocabulary.codes([moment.coming[0][0]])][0]
        if target >= 0 and (rows >= 0).any() and len(asked) < MOMENTS:
            histories.append(rows[rows >= 0])
            targets.append(int(target))
            asked.append(decayed(moment.history, settings.decay))

    def counted(start: int, end: int) -> Scores:
        """(b, items): what the counts say."""
        scores = np.zeros((end - start, len(codes)), np.float32)
        for place, history in enumerate(asked[start:end]):
            steps = tables.vocabulary.codes([item_id for item_id, _ in history])
            weights = np.array([weight for _, weight in history])
            found = tables.counts.together(steps[steps >= 0], weights[steps >= 0], settings.together)
            rows = row_of[found.codes]
            scores[place, rows[rows >= 0]] = found.scores[rows >= 0]
        return scores

    facts = {item_id: tables.graph.facts(item_id) for item_id in item_ids}
    validation = Validation(histories, np.array(targets, np.int32), counted, settings.repeat)
    return choose_vectors(item_ids, facts, tables.graph.others(), validation)
