"""A task head as it is served: an affine map from a text's vector and its words to an answer. Needs numpy alone.

    manifest.json        task, labels, columns, encoder, metrics, seed, and the SHA-256 of each other file
    head.safetensors     matrix float32 (dimension, outputs), bias float32 (outputs,); and, where words are features too
                         (`encoders.heads.words`), their weights (buckets,) and matrix (buckets, outputs)
    encoder/             only where the encoder was trained too: the BERT that the matrix belongs to

Temperature, standardisation of features and scale of the target are folded into matrix and bias. No pickle: reading a
folder runs nothing.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from encoders.errors import EncoderError
from encoders.folders import put_in_place, sha256
from encoders.heads.words import Words

FORMAT = 1
"""What this release writes, and the only one it reads."""
MANIFEST = "manifest.json"
WEIGHTS = "head.safetensors"
ENCODER = "encoder"

Task = Literal["classification", "regression", "ranking"]
Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a head says about itself."""

    task: Task
    text: str
    """The column of its texts; it says what is scored on the stream (docs/heads.md)."""
    label: str
    """The column of its labels."""
    encoder: str
    """Digest of the text encoder that it was trained on; with another one it says nothing."""
    labels: tuple[str, ...] = ()
    """Of classification: the classes, by output."""
    own_encoder: bool = False
    """Whether the encoder was trained with it, and is in the folder."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained with."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Measured on the test part, by name."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Of the parts train, valid and test."""
    data: str = ""
    """Digest of the texts and labels, 16 hex characters."""
    seed: int = 0
    format: int = FORMAT
    product: str = ""
    """Version of the product that wrote it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each other file, by its path in the folder."""


class Answer(NamedTuple):
    """What a head says of one text."""

    label: str | None
    """Of classification: the most probable class."""
    probabilities: dict[str, float]
    """Of classification: by class, the most probable first; else empty."""
    value: float | None
    """Of regression: in the label's unit; of ranking: a score, the higher the more relevant."""


class Head:
    """One head in memory. `save` writes a folder, `load` reads one."""

    def __init__(
        self,
        manifest: Manifest,
        matrix: Vectors,
        bias: Vectors,
        words: Words | None = None,
        words_matrix: Vectors | None = None,
    ) -> None:
        """
        Args:
            matrix: (dimension, outputs); one output but for classification, where there is one a label.
            bias: (outputs,)
            words: features beside the vector; words_matrix: (buckets, outputs) with them.

        Raises:
            ValueError: the shapes do not go together, or a number is not finite.
        """
        outputs = len(manifest.labels) if manifest.task == "classification" else 1
        if matrix.ndim != 2 or matrix.shape[1] != outputs or bias.shape != (outputs,):
            raise ValueError(f"matrix {matrix.shape}, bias {bias.shape}: expected (d, {outputs}) and ({outputs},)")
        over_words = words_matrix if words_matrix is not None else np.zeros((0, outputs), np.float32)
        if over_words.shape != (words.buckets if words is not None else 0, outputs):
            raise ValueError(f"matrix over words {over_words.shape}: expected one row a bucket, {outputs} wide")
        if not (np.isfinite(matrix).all() and np.isfinite(bias).all() and np.isfinite(over_words).all()):
            raise ValueError("matrix or bias hold NaN or infinity: expected finite numbers")
        self.manifest = manifest
        self.words, self.words_matrix = words, np.ascontiguousarray(over_words, dtype=np.float32)
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        self.bias = np.ascontiguousarray(bias, dtype=np.float32)

    @cached_property
    def version(self) -> str:
        """12 hex characters of the manifest: equal versions, equal content."""
        return hashlib.sha256(_json(self.manifest)).hexdigest()[:12]

    @property
    def dimension(self) -> int:
        """Of the vectors that it takes."""
        return int(self.matrix.shape[0])

    def outputs(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        """Logits, values or scores of texts, whose vectors are (n, dimension): (n, outputs), each row to the bit as if
        it had come alone."""
        if vectors.shape != (len(texts), self.dimension):
            raise ValueError(
                f"vectors of shape {vectors.shape}: expected ({len(texts)}, {self.dimension}); encode the texts by the "
                f"text encoder {self.manifest.encoder}"
            )
        rows = [row @ self.matrix + self.bias for row in vectors.astype(np.float32, copy=False)]
        if self.words is not None:
            for row, text in zip(rows, texts, strict=True):
                places, values = self.words.of(text)
                row += values @ self.words_matrix[places]
        return np.array(rows, np.float64).reshape(-1, len(self.bias))

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        """Of classification: softmax of the outputs, (n, labels)."""
        return softmax(self.outputs(texts, vectors))

    def answers(self, texts: Sequence[str], vectors: Vectors) -> list[Answer]:
        """One answer a text, whose vectors are (n, dimension)."""
        if self.manifest.task != "classification":
            return [Answer(None, {}, float(row[0])) for row in self.outputs(texts, vectors)]
        answers = []
        for row in self.probabilities(texts, vectors):
            named = {self.manifest.labels[place]: float(row[place]) for place in np.argsort(-row, kind="stable")}
            answers.append(Answer(next(iter(named)), named, None))
        return answers

    def scaled(self, factor: float, shift: float, told: Mapping[str, float]) -> Head:
        """Outputs times `factor` plus `shift`; `told` is added to the settings of the manifest."""
        manifest = replace(self.manifest, settings={**self.manifest.settings, **told})
        matrix, over_words = (np.float32(factor) * each for each in (self.matrix, self.words_matrix))
        bias = (factor * self.bias.astype(np.float64) + shift).astype(np.float32)
        return Head(manifest, matrix, bias, self.words, over_words)

    def described(self, manifest: Manifest) -> Head:
        """The same numbers under another manifest."""
        return Head(manifest, self.matrix, self.bias, self.words, self.words_matrix)

    # ------------------------------------------------------------------------------------------------------- on disk
    def save(self, folder: Path, write_encoder: Callable[[Path], None] | None = None) -> Head:
        """Writes the folder beside its place and renames it, so that nobody sees half of one. A head that is there
        already is replaced.

        Args:
            write_encoder: writes the encoder's files into the folder it is given, where the head has its own.

        Returns:
            this head with the manifest as written.

        Raises:
            EncoderError: at that place is something else, or it cannot be written.
        """
        check_place(folder)
        beside = folder.with_name(f".{folder.name}.{os.getpid()}.new")
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            tensors = {"matrix": self.matrix, "bias": self.bias}
            if self.words is not None:
                tensors |= {"words": self.words.weights, "words_matrix": self.words_matrix}
            save_file(tensors, beside / WEIGHTS)
            if write_encoder is not None:
                (beside / ENCODER).mkdir()
                write_encoder(beside / ENCODER)
            files = sorted(path for path in beside.rglob("*") if path.is_file())
            written = replace(
                self.manifest,
                format=FORMAT,
                product=importlib.metadata.version("beforehand"),
                own_encoder=write_encoder is not None,
                files={path.relative_to(beside).as_posix(): sha256(path) for path in files},
            )
            (beside / MANIFEST).write_bytes(_json(written))
            put_in_place(beside, folder)
        except OSError as exc:
            raise EncoderError(f"{folder}: cannot be written ({exc}); name another place for the head") from exc
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return self.described(written)

    @classmethod
    def load(cls, folder: Path) -> Head:
        """Reads what `save` wrote, each file held against its SHA-256 first.

        Raises:
            EncoderError: no such folder, a file is missing or damaged, or of another format.
        """
        manifest = _read_manifest(folder)
        for name, expected in manifest.files.items():
            path = folder / name
            if not path.is_file():
                raise EncoderError(f"{path}: missing from the head's folder; train it anew")
            if (found := sha256(path)) != expected:
                raise EncoderError(f"{path}: damaged, its SHA-256 begins {found[:12]} and the manifest says "
                                   f"{expected[:12]}; train it anew, or copy it again")  # fmt: skip
        if WEIGHTS not in manifest.files or (manifest.own_encoder and not (folder / ENCODER).is_dir()):
            raise EncoderError(f"{folder}: its manifest names no {WEIGHTS} or lacks its encoder; train it anew")
        try:
            tensors = load_file(folder / WEIGHTS)
            words = Words(tensors["words"]) if "words" in tensors else None
            return cls(manifest, tensors["matrix"], tensors["bias"], words, tensors.get("words_matrix"))
        except (OSError, SafetensorError, KeyError, ValueError) as exc:
            raise EncoderError(f"{folder}: no head ({exc}); train it anew") from exc


def softmax(outputs: Floats) -> Floats:
    """exp(x) over its sum along each row, (n, k).

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def check_place(folder: Path) -> None:
    """A head may be written there: nothing is there yet, an empty folder, or another head.

    Raises:
        EncoderError: something else is.
    """
    there = folder.exists() or folder.is_symlink()
    if there and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise EncoderError(f"{folder}: exists and is no head; expected a new place, or a head to replace")
    if (folder / MANIFEST).is_file():
        _read_manifest(folder)  # a model folder has a manifest too, and is not to be replaced


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise EncoderError(f"{folder}: no {MANIFEST} there; expected the folder of a head, as `train-head` writes one")
    try:
        content = json.loads(path.read_bytes())
        if content.get("task") not in get_args(Task):
            raise EncoderError(f"{folder}: task {content.get('task')!r}, expected one of {', '.join(get_args(Task))}; "
                               "this is no head, name the folder that `train-head` wrote")  # fmt: skip
        if content["format"] != FORMAT:
            raise EncoderError(f"{folder}: head format {content['format']!r}, this release reads {FORMAT}; train it "
                               "anew")  # fmt: skip
        known = {entry.name for entry in fields(Manifest)}
        manifest = Manifest(**{name: value for name, value in content.items() if name in known})
        return replace(manifest, labels=tuple(manifest.labels), files=dict(manifest.files))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EncoderError(f"{path}: not a manifest ({exc}); train the head anew") from exc


def _json(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def digest_of(rows: Sequence[Sequence[str]]) -> str:
    """16 hex characters that name a table of texts.

    >>> digest_of([["a", "b"]]) == digest_of([["ab", ""]])
    False
    """
    content = hashlib.blake2b(digest_size=8)
    for row in rows:
        for cell in row:
            encoded = cell.encode("utf-8", "replace")
            content.update(len(encoded).to_bytes(8, "little") + encoded)
    return content.hexdigest()
