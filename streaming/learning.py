"""What is learned beyond counting: the network of what comes next, of a shop's past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from encoders.graph.facts import Fact
from encoders.sequence.lessons import Session
from encoders.sequence.reading import read_sessions, reader_of
from encoders.sequence.settings import Joint, SequenceSettings
from encoders.sequence.space import SequenceSpace
from encoders.sequence.training import Curve as Epochs
from encoders.sequence.training import fit_sequence
from encoders.text import TextEncoder
from encoders.whitening import Vectors
from streaming.errors import InputError
from streaming.evaluation.bootstrap import draw
from streaming.fitting import Curve

Note = Callable[[str, int, int], None]


READING = 0.8
"""Of a network's time, what a network that reads may spend on reading its sessions; there is little else to train."""


@dataclass(frozen=True, slots=True)
class Training:
    """Where and how networks are trained."""

    device: str = "cpu"
    checkpoints: Path | None = None
    """A folder in which a training that is stopped leaves where it stands; None: it begins anew."""


@dataclass(frozen=True, slots=True)
class JointTrial:
    """The network trained with text and facts beside the clicks, and without them: NDCG@10 of the last item of the
    sessions set aside."""

    sessions: int
    separate: float
    joint: float
    low: float
    high: float
    """95 % interval of joint less separate, by paired bootstrap over the sessions."""
    taken: bool
    """Whether that lies above 0."""

    @classmethod
    def of(cls, separate: Vectors, joint: Vectors) -> JointTrial:
        """From what each got for every session, (n,)."""
        both = np.stack([joint, separate], axis=1).astype(np.float64)
        low, high = draw(both, np.arange(len(both))).difference(0, 1)
        means = both.mean(axis=0).tolist()
        return cls(len(both), means[1], means[0], low, high, low > 0)


class Learned(NamedTuple):
    """A network, and how it came about."""

    space: SequenceSpace | None
    settings: SequenceSettings
    """In which nothing is left to choose."""
    curves: list[Curve]
    trial: JointTrial | None = None
    """None: nothing was left to choose."""


def learn_sequence(
    events: pl.DataFrame,
    item_ids: list[str],
    texts: Vectors,
    settings: SequenceSettings,
    training: Training,
    note: Note,
    facts: Sequence[Sequence[Fact]] = (),
    titles: Sequence[str] = (),
    encoder: TextEncoder | None = None,
) -> Learned:
    """The network of what comes next in the sessions of these events, and how its training went.

    Args:
        events: kind, session_id, time, item_id, in time order.
        texts: (items, whitened dimension), in the items' order.
        facts: of each item, for joint training.
        titles: of each item, and what reads them, for a network that reads.

    Raises:
        InputError: the network reads, and there are no titles.
        EncoderError: the network reads, and `encoder` is nothing to read with.
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
    lessons = [session for _, session in sessions][-settings.most :]
    left_s = settings.budget_s
    if settings.network == "text":
        left_s *= 1 - READING
        if not any(titles):
            raise InputError("network text: the shop has no titles that say anything, expected some; take gru or bert")
        reader, budget_s = reader_of(encoder), settings.budget_s * READING
        lessons = read_sessions(lessons, titles, reader, budget_s, lambda done, total: note("words", done, total))
        note("words", len(lessons), len(lessons))
    joints: list[Joint] = ["no", "yes"] if settings.joint == "choose" else [settings.joint]
    note("network", 0, settings.epochs * len(joints))
    tried = []
    for number, joint in enumerate(joints):
        fitted = fit_sequence(
            item_ids,
            texts,
            lessons,
            replace(settings, joint=joint, budget_s=left_s),
            facts=facts if joint == "yes" else (),
            device=training.device,
            checkpoints=training.checkpoints,
            note=lambda done, total, at=number: note("network", at * total + done, len(joints) * total),  # type: ignore[misc]
        )
        tried.append(fitted)
    if len(tried) == 1 or tried[0].space is None:
        curves = [curve for told in tried[0].curves for curve in _curves(told)]
        return Learned(tried[0].space, replace(settings, joint=joints[0]), curves)
    trial = JointTrial.of(*(fitted.asked for fitted in tried))
    curves = []
    for joint, fitted in zip(joints, tried, strict=True):
        named = [replace(told, network=told.network + ", joint" * (joint == "yes")) for told in fitted.curves]
        curves += [curve for told in named for curve in _curves(told)]
    return Learned(tried[trial.taken].space, replace(settings, joint=joints[trial.taken]), curves, trial)


def _curves(told: Epochs) -> list[Curve]:
    epochs = [float(number + 1) for number in range(len(told.loss))]
    return [
        Curve(told.network, "loss", "epochs", epochs, told.loss),
        Curve(told.network, "ndcg_10", "epochs", epochs, told.ndcg_10),
    ]
