"""From texts and labels to a head: encode, fit, finish; with the encoder trained too where that is asked for.

task = Classification(parts, FitSettings(seed=1))      # refuses what cannot be learned, before anything is encoded
trained = fit(task, "title", "label", encoder)
report = evaluate(task, trained)
trained.save(Path("my-head"), report)
Head.load(Path("my-head"))
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from encoders.bert import BertTextEncoder
from encoders.errors import EncoderError
from encoders.heads import training
from encoders.heads.classification import Classification
from encoders.heads.examples import Examples, Parts
from encoders.heads.head import Head, Manifest, Task, Vectors, digest_of
from encoders.heads.metrics import Report
from encoders.heads.ranking import Ranking
from encoders.heads.regression import Regression
from encoders.heads.training import FitSettings, Note, Objective, Sample
from encoders.text import TextEncoder

TEXTS_AT_ONCE = 512
"""Between two notes of how far encoding is."""


class HeadTask(Protocol):
    """What is to be learned, with its data: `Classification`, `Regression` or `Ranking`."""

    parts: Parts
    settings: FitSettings
    objective: Objective
    outputs: int
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """As a manifest and the command line have it."""

    def sample(self, part: Examples, vectors: Vectors) -> Sample:
        """A part for training."""

    def finished(self, head: Head, valid: Vectors, /) -> Head:
        """What was fitted, as it is served; what is still to be chosen is chosen on the validation part."""

    def evaluate(self, head: Head, test: Vectors) -> Report:
        """The head on the test part, beside its baselines."""


TASKS: dict[str, type[Classification] | type[Regression] | type[Ranking]] = {
    "classification": Classification,
    "regression": Regression,
    "ranking": Ranking,
}


@dataclass(frozen=True, slots=True)
class Trained:
    """A head, and the encoder that it belongs to."""

    head: Head
    encoder: TextEncoder
    own: BertTextEncoder | None = None
    """The encoder, where it was trained with the head."""

    def save(self, folder: Path, report: Report) -> Head:
        """As `Head.save`, with the report's metrics in the manifest."""
        head = self.head.described(replace(self.head.manifest, metrics=report.metrics))
        return head.save(folder, None if self.own is None else self.own.save)


def silent(_stage: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def fit(
    task: HeadTask,
    text: str,
    label: str,
    encoder: TextEncoder,
    note: Note = silent,
    network: BertTextEncoder | None = None,
) -> Trained:
    """A head for the task.

    Args:
        text: the column of its texts; label: that of its labels.
        network: the same encoder, whose weights may be changed: needed where `settings.layers` asks to train it.

    Raises:
        EncoderError: the encoder is to be trained, and has not as many layers.
    """
    parts, settings = task.parts, task.settings
    train = task.sample(parts.train, encode(encoder, parts.train.texts, note))
    valid = task.sample(parts.valid, encode(encoder, parts.valid.texts, note))
    fitted = training.fit_head(train, valid, task.outputs, task.objective, settings, note)
    own: BertTextEncoder | None = None
    if settings.layers is not None:
        if network is None:
            raise EncoderError("no encoder that can be trained, expected a BERT; set BEFOREHAND_ENCODER__MODEL to one")
        _check_layers(network, settings.layers)
        fitted = training.tune(network, fitted, train, valid, task.objective, settings, note)
        if fitted.tuned:
            encoder = own = _read_back(network)
            valid = task.sample(parts.valid, encode(encoder, parts.valid.texts, note))
    rows = [row for _, part in parts.each() for row in zip(part.texts, part.labels, strict=True)]
    manifest = Manifest(
        task=cast(Task, task.name),
        text=text,
        label=label,
        encoder=encoder.digest,
        labels=task.labels,
        own_encoder=own is not None,
        settings=settings.as_dict() | {"penalty": fitted.penalty, "epochs_used": fitted.epochs},
        rows=parts.counts(),
        data=digest_of(rows),
        seed=settings.seed,
    )
    head = Head(manifest, fitted.matrix, fitted.bias, fitted.words, fitted.words_matrix)
    return Trained(task.finished(head, valid.vectors), encoder, own)


def evaluate(task: HeadTask, trained: Trained, note: Note = silent) -> Report:
    """The head on the test part, beside its baselines."""
    test = encode(trained.encoder, task.parts.test.texts, note)
    note("comparing", 0, 1)
    report = task.evaluate(trained.head, test)
    note("comparing", 1, 1)
    return report


def encode(encoder: TextEncoder, texts: Sequence[str], note: Note = silent) -> Vectors:
    """(n, dimension) of texts, in their order; each distinct one once."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    distinct = list(places)
    pieces = []
    for start in range(0, len(distinct), TEXTS_AT_ONCE):
        note("encoding", start, len(distinct))
        pieces.append(encoder.encode(distinct[start : start + TEXTS_AT_ONCE]))
    note("encoding", len(distinct), len(distinct))
    vectors = np.concatenate(pieces) if pieces else np.empty((0, encoder.dimension), np.float32)
    return np.asarray(vectors[[places[text] for text in texts]], np.float32)


def _check_layers(network: BertTextEncoder, layers: int) -> None:
    there = int(network.network.config.num_hidden_layers)
    if not 0 <= layers <= there:
        raise EncoderError(f"{layers} layers to train, expected 1 to {there}, or 0 for all; the encoder has {there}")


def _read_back(network: BertTextEncoder) -> BertTextEncoder:
    """The encoder as it will be served: written and read again, under its new digest."""
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder))
        return network.again(folder)
