"""What is learned beyond counting: the network of what comes next, of a shop's past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from encoders.sequence.settings import SequenceSettings
from encoders.sequence.space import SequenceSpace
from encoders.sequence.training import Curve as Epochs
from encoders.sequence.training import Session, fit_sequence
from encoders.whitening import Vectors
from streaming.fitting import Curve

Note = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Training:
    """Where and how networks are trained."""

    device: str = "cpu"
    checkpoints: Path | None = None
    """A folder in which a training that is stopped leaves where it stands; None: it begins anew."""


def learn_sequence(
    events: pl.DataFrame,
    item_ids: list[str],
    texts: Vectors,
    settings: SequenceSettings,
    training: Training,
    note: Note,
) -> tuple[SequenceSpace | None, list[Curve]]:
    """The network of what comes next in the sessions of these events, and how its training went.

    Args:
        events: kind, session_id, time, item_id, in time order.
        texts: (items, whitened dimension), in the items' order.
    """
    place = {item_id: number for number, item_id in enumerate(item_ids)}
    known = events.filter(pl.col("item_id").is_in(item_ids)).select("session_id", "kind", "time", "item_id")
    sessions = [
        (times[-1], Session.of(np.array([place[item] for item in items], np.int64), kinds, times))
        for _, kinds, times, items in known.group_by("session_id", maintain_order=True)
        .agg("kind", "time", "item_id")
        .iter_rows()
        if len(items) >= 2
    ]
    sessions.sort(key=lambda ended: ended[0])
    space, epochs = fit_sequence(
        item_ids,
        texts,
        [session for _, session in sessions],
        settings,
        device=training.device,
        checkpoints=training.checkpoints,
        note=lambda done, total: note("network", done, total),
    )
    return space, [curve for told in epochs for curve in _curves(told)]


def _curves(told: Epochs) -> list[Curve]:
    epochs = [float(number + 1) for number in range(len(told.loss))]
    return [
        Curve(told.network, "loss", "epochs", epochs, told.loss),
        Curve(told.network, "ndcg_10", "epochs", epochs, told.ndcg_10),
    ]
