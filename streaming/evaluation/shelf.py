"""Networks as baselines: trained once on a training part, kept by a digest of what decides what training gives."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from encoders.baselines.light_gcn import GraphModel, GraphSettings, fit_graph
from encoders.baselines.sequence_networks import SequenceModel, SequenceSettings, fit_sequences
from encoders.baselines.sequences import Numbers, Sequences
from encoders.baselines.stopping import Course, Scores, Weights
from streaming.errors import InputError
from streaming.evaluation.evaluation import Note
from streaming.evaluation.log import TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked, highest

VERSION = 1
"""Of what training gives; raise it with every change that gives other weights."""
Settings = SequenceSettings | GraphSettings
NETWORKS: Mapping[str, Settings] = {
    "SASRec": SequenceSettings(),
    "GRU4Rec": SequenceSettings(network="gru4rec", dimension=128, dropout=0.3, tokens=2048, waits=3),
    "LightGCN": GraphSettings(),
}
"""By what they are called in tables."""
MINUTES = 20.0
"""CPU time that one of them may train for."""


class Model(Protocol):
    """What was trained."""

    def scores(self, histories: Sequence[Numbers]) -> Scores:
        """Histories to (b, items); -inf for what was never seen."""

    def weights(self) -> Weights:
        """For a file."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where trained networks are kept: one safetensors file each, named by its digest."""

    folder: Path
    minutes: float = MINUTES
    """CPU time that one may train for."""
    seed: int = 0
    networks: Mapping[str, Settings] | None = None
    """Those that take part; None: `NETWORKS`."""

    def rankers(
        self, part: TrainingPart, *, train: bool, note: Note = lambda _name, _done, _total: None
    ) -> list[Network]:
        """Those that take part.

        Args:
            train: those that are not kept yet, or whose training ran out of less time than there is now, are trained
                when they are fitted; else they do not take part.
        """
        sequences = sequences_of(part)
        found = []
        for name, settings in (NETWORKS if self.networks is None else self.networks).items():
            ranker = Network(name, replace(settings, minutes=self.minutes, seed=self.seed), self.folder, note)
            if train or ranker.kept(sequences):
                found.append(ranker)
        return found


class Network:
    """A trained network as a ranker. Frozen; it names no item that training never saw."""

    learns = False

    def __init__(self, name: str, settings: Settings, folder: Path, note: Note) -> None:
        self.name = name
        self.course: Course | None = None
        """How training went; None until it was fitted."""
        self._settings, self._folder, self._note = settings, folder, note

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says: from the shelf, else by training, minutes long.

        Raises:
            InputError: the shelf cannot be written.
        """
        sequences = sequences_of(part)
        found = self._read(sequences)
        if found is None:
            found = self._trained(sequences)
        self._model, self.course = found

    def rank(self, moment: Moment, k: int) -> Ranked:
        """As the protocol says."""
        return next(iter(self.rank_many([moment], k)))

    def rank_many(self, moments: Sequence[Moment], k: int) -> Iterator[Ranked]:
        """As the protocol says."""
        for scores in self._model.scores([moment.items.astype(np.int64) for moment in moments]):
            yield highest(scores.astype(np.float64), k)

    def learn(self, passed: Passed) -> None:
        """As the protocol says: nothing."""

    def kept(self, sequences: Sequences) -> bool:
        """Whether it need not be trained."""
        return self._read(sequences) is not None

    def _trained(self, sequences: Sequences) -> tuple[Model, Course]:
        stage = f"{self.name}: epochs"
        self._note(stage, 0, self._settings.epochs)

        def heard(done: int, most: int) -> None:
            self._note(stage, done, most)

        model: Model
        if isinstance(self._settings, GraphSettings):
            model, course = fit_graph(sequences, self._settings, heard)
        else:
            model, course = fit_sequences(sequences, self._settings, heard)
        self._note(stage, self._settings.epochs, self._settings.epochs)
        path = self._path(sequences)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        told = {"course": json.dumps(course.to_dict()), "settings": json.dumps(asdict(self._settings))}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: np.ascontiguousarray(array) for name, array in model.weights().items()}, beside, told)
            beside.replace(path)
        except OSError as exc:
            raise InputError(f"{path}: cannot be written ({exc}); name another folder by --cache") from exc
        return model, course

    def _read(self, sequences: Sequences) -> tuple[Model, Course] | None:
        """What was kept; None: nothing that can be read, or less was tried than may be now."""
        path = self._path(sequences)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "numpy") as file:
                course = Course.from_dict(json.loads(file.metadata()["course"]))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
            model: Model
            if isinstance(self._settings, GraphSettings):
                model = GraphModel.of(weights)
            else:
                model = SequenceModel.of(weights, sequences.count, self._settings)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
            return None  # a file that was cut short: it is made anew
        if course.ended == "budget" and course.seconds < 60 * self._settings.minutes:
            return None
        return model, course

    def _path(self, sequences: Sequences) -> Path:
        name = self.name.lower().replace(" ", "-")
        return self._folder / f"{name}-{_digest(sequences, self._settings)}.safetensors"


def sequences_of(part: TrainingPart) -> Sequences:
    """The sessions of a training part."""
    return Sequences.of(part.sessions, part.codes, len(part.catalogue), repeats=part.info.repeats_allowed)


def _digest(sequences: Sequences, settings: Settings) -> str:
    """16 hex characters of events, settings and version; the time that training may take is left out, for training
    that ended by itself does not depend on it."""
    told: dict[str, Any] = asdict(settings)
    del told["minutes"]
    told |= {"version": VERSION, "count": sequences.count, "repeats": sequences.repeats}
    content = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8)
    content.update(sequences.items.tobytes())
    content.update(sequences.ends.tobytes())
    return content.hexdigest()
