"""The product's own ranking as a ranker among others: built on the training part, asked as a worker asks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from encoders.session import PooledSessionEncoder
from encoders.text import TextEncoder
from streaming.building import build_model
from streaming.evaluation.log import KINDS as LOG_KINDS
from streaming.evaluation.log import TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked
from streaming.items import Shop
from streaming.ranking import RankingSettings, Sight, rank
from streaming.records import Item
from streaming.sessions import HISTORY_EVENTS, KINDS, SessionState, Step

NAME = "beforehand"
VARIANTS: Mapping[str, Mapping[str, float]] = {
    "without counts": {"together": 0.0},
    "without text": {"near": 0.0},
    "without popularity": {"prior": 0.0},
}
"""Weights of the ranking that are changed, by what the product is called then."""


@dataclass
class Workshop:
    """Builds a model on a training part, once, whoever asks."""

    folder: Path
    """Where models are put; empty at first."""
    encoder: TextEncoder
    as_built: Path | None = None
    """A model folder that is taken as it is, whatever the part; its caller has made sure that it saw no target."""

    def __post_init__(self) -> None:
        self._built: list[tuple[TrainingPart, Path]] = []

    def model_of(self, part: TrainingPart) -> Path:
        """The model folder of a part."""
        if self.as_built is not None:
            return self.as_built
        for known, folder in self._built:
            if known is part:
                return folder
        folder = self.folder / str(len(self._built))
        build_model(part.events, part.items, part.info, folder, self.encoder)
        self._built.append((part, folder))
        return folder

    def shop_of(self, part: TrainingPart) -> Shop:
        """A shop with the part's model and the whole catalogue."""
        shop = Shop.open(self.model_of(part), self.encoder)
        if part.info.titles:
            shop.upsert([_item(row) for row in part.items.iter_rows(named=True)])
        return shop


class Product:
    """The ranking that a worker makes at the newest event, before anything is held back."""

    learns = True

    def __init__(self, workshop: Workshop, name: str = NAME, changed: Mapping[str, float] | None = None) -> None:
        """`changed`: weights of the ranking that are other than the model's."""
        self.name = name
        self._workshop = workshop
        self._changed = dict(changed or {})

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""
        self._shop = self._workshop.shop_of(part)
        self._settings = replace(RankingSettings.of(self._shop), **self._changed)  # type: ignore[arg-type]
        self._encoder = PooledSessionEncoder(self._shop.dimension)
        self._catalogue = part.catalogue
        self._newest: dict[int, int] = {}  # session: its newest item
        for session, code in zip(part.sessions.tolist(), part.codes.tolist(), strict=True):
            self._newest[session] = code

    def rank(self, moment: Moment, k: int) -> Ranked:
        """As the protocol says; k is as many as the ranking's own candidates."""
        ids = self._catalogue.ids(moment.items[-HISTORY_EVENTS:])
        kinds, times = moment.kinds[-HISTORY_EVENTS:].tolist(), moment.times[-HISTORY_EVENTS:].tolist()
        history = tuple(
            Step(time, place, KINDS.index(LOG_KINDS[kind]), item_id)
            for place, (time, kind, item_id) in enumerate(zip(times, kinds, ids, strict=True))
        )
        shop, encoder = self._shop, self._encoder
        state, before = encoder.start(), times[0]
        words = shop.words_of(history)
        for step, text in zip(history, words, strict=True):
            vector = shop.vector_of(step, text)
            if vector is not None:
                state, before = encoder.step(state, vector, step.kind, step.time - before), step.time
        sight = Sight(encoder.vector(state), words)
        nearest: list[str] = []
        if sight.vector.any():
            nearest = shop.index.nearest(sight.vector[None, :], max(k, self._settings.nearest))[0]
        found = list(rank(SessionState(history=history), sight, nearest, shop, self._settings).candidates)
        codes = self._catalogue.codes([candidate.item_id for candidate in found])
        return Ranked(codes, np.array([candidate.score for candidate in found]))

    def learn(self, passed: Passed) -> None:
        """As the protocol says."""
        before = self._newest.get(passed.session)
        name = None if before is None else self._catalogue.id(before)
        self._shop.counts.observe(name, self._catalogue.id(passed.item), LOG_KINDS[passed.kind])
        self._newest[passed.session] = passed.item


def _item(row: Mapping[str, object]) -> Item:
    """An item of a shop's table; what the ranking does not read is left out."""
    told = {name: row[name] for name in ("item_id", "title", "brand", "category") if row.get(name) is not None}
    return Item(**told)  # type: ignore[arg-type]
