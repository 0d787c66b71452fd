"""A model folder out of a shop folder: what `beforehand build` and the demo both do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from encoders.errors import EncoderError
from encoders.text import TextEncoder
from index.build import BuildSettings, build
from index.counts import CountSettings
from index.errors import IndexingError
from index.model import ModelFolder
from streaming.errors import InputError
from streaming.shop import ShopInfo

SETS = CountSettings(backward=1.0, damping=0.0, by_distance=False)
"""How pairs are counted where the order of a session's events means nothing, as in a basket."""
SET_WEIGHTS = {"near": 0.05, "prior": 0.3, "decay": 0.9}
"""How their parts are ranked: who has one milk in the basket does not want another. Measured on Complete Journey:
rest of the basket hit .389 by 10 items, .305 with `near` .8, .332 by popularity."""

Note = Callable[[str, int, int], None]
"""Hears of the stage, what is done of it, and the total."""


@dataclass(slots=True)
class BuildReport:
    """What a build saw and how long each stage took."""

    model: str
    version: str
    metrics: dict[str, float]
    stages_s: dict[str, float] = field(default_factory=dict)
    """Wall time by stage, in order."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "model": self.model,
            "version": self.version,
            **self.metrics,
            "build_s": round(sum(self.stages_s.values()), 3),
            "stages_s": {name: round(seconds, 3) for name, seconds in self.stages_s.items()},
        }


class Stopwatch:
    """Wall time by stage; a stage ends when the next begins."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.stages_s: dict[str, float] = {}
        self._clock = clock
        self._stage: str | None = None
        self._since = 0.0

    def begin(self, stage: str | None) -> None:
        """The stage that runs from now on; None: none does."""
        now = self._clock()
        if self._stage is not None:
            self.stages_s[self._stage] = self.stages_s.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


def build_model(
    events: pl.DataFrame,
    items: pl.DataFrame,
    info: ShopInfo,
    folder: Path,
    encoder: TextEncoder,
    *,
    until: int | None = None,
    note: Note = lambda _stage, _done, _total: None,
) -> tuple[ModelFolder, BuildReport]:
    """Counts and whitening of a shop's past, written to `folder`.

    Args:
        until: ms since the epoch; only events before it are looked at.

    Raises:
        InputError: there is nothing to learn from, or `folder` is something that is no model folder.
    """
    if items.is_empty():
        raise InputError("the shop has no items, expected a table `items` with at least one; add it")
    watch = Stopwatch()
    watch.begin("counts")

    def heard(stage: str, done: int, total: int) -> None:
        watch.begin(stage)
        note(stage, done, total)

    weights = ({} if info.ordered else SET_WEIGHTS) | ({"repeat": True} if info.repeats_allowed else {})
    settings = BuildSettings(ranking=weights) if info.ordered else BuildSettings(counts=SETS, ranking=weights)
    try:
        model = build(events, items, folder, encoder, until=until, progress=heard, settings=settings)
    except (EncoderError, IndexingError) as exc:
        raise InputError(str(exc)) from exc
    watch.begin(None)
    metrics = dict(model.manifest.metrics)
    return model, BuildReport(str(folder), model.version, metrics, watch.stages_s)
