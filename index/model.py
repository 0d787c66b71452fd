"""The model folder: everything a worker was taught, in files that say what they are.

    manifest.json            formats, versions, digests, settings, and the SHA-256 of each other file
    whitening.safetensors    text vectors to item vectors
    tables.parquet           the counts
    items.parquet            the items that were known when it was built

No pickle: reading a folder runs nothing. Item vectors are not in it; a worker encodes what it meets, and its
cache keeps them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from encoders.errors import EncoderError
from encoders.whitening import Whitening
from index.counts import Counts, CountSettings
from index.errors import ModelFolderError

FORMAT = 1
"""What this release writes, and the only one it reads."""

MANIFEST = "manifest.json"
WHITENING = "whitening.safetensors"
TABLES = "tables.parquet"
ITEMS = "items.parquet"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model folder says about itself."""

    data: str
    """Digest of the events and items it was built on, 16 hex characters."""
    text: str
    """Digest of the text encoder; the whitening is of use with no other."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it was built with; `counts` is needed to read the tables."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What was measured while building, by name."""
    seeds: Mapping[str, int] = field(default_factory=dict)
    """Of everything that draws numbers; empty: nothing did."""
    licence: str = ""
    """Licence of the base model, where it was given."""
    learned: Mapping[str, int] = field(default_factory=dict)
    """How far each partition of the `learned` topic is contained, by partition."""
    format: int = FORMAT
    product: str = ""
    """Version of the product that wrote it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each other file, by name."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model, in memory. `save` writes a folder, `load` reads one."""

    manifest: Manifest
    counts: Counts
    whitening: Whitening
    items: pl.DataFrame

    @property
    def version(self) -> str:
        """12 hex characters of the manifest: equal versions, equal content."""
        return hashlib.sha256(_json(self.manifest)).hexdigest()[:12]

    def save(self, folder: Path) -> ModelFolder:
        """Writes the folder beside its place and renames it, so that nobody sees half of one.

        A model folder that is there already is replaced; readers that have its files open keep them.

        Returns:
            this model with the manifest as written.

        Raises:
            ModelFolderError: at that place is something else.
        """
        if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise ModelFolderError(
                f"{folder}: exists and is no model folder; expected a new place or a model folder to replace"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name}.{os.getpid()}.new")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        try:
            self.whitening.save(beside / WHITENING)
            self.counts.to_frame().write_parquet(beside / TABLES)
            self.items.write_parquet(beside / ITEMS)
            written = replace(
                self.manifest,
                format=FORMAT,
                product=importlib.metadata.version("beforehand"),
                settings={**self.manifest.settings, "counts": asdict(self.counts.settings)},
                files={name: _sha256(beside / name) for name in (WHITENING, TABLES, ITEMS)},
            )
            (beside / MANIFEST).write_bytes(_json(written))
            _put(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return replace(self, manifest=written)

    @classmethod
    def load(cls, folder: Path) -> ModelFolder:
        """Reads what `save` wrote, each file held against its SHA-256 first.

        Raises:
            ModelFolderError: no such folder, a file is missing or damaged, or another format.
        """
        manifest = _read_manifest(folder)
        for name in (WHITENING, TABLES, ITEMS):
            path = folder / name
            expected = manifest.files.get(name)
            if not path.is_file() or expected is None:
                raise ModelFolderError(f"{path}: missing from the model folder; build it anew")
            if (found := _sha256(path)) != expected:
                raise ModelFolderError(
                    f"{path}: damaged, its SHA-256 begins {found[:12]} and the manifest says {expected[:12]}; "
                    "build it anew"
                )
        try:
            settings = CountSettings(**manifest.settings["counts"])
            return cls(
                manifest=manifest,
                counts=Counts.from_frame(pl.read_parquet(folder / TABLES), settings),
                whitening=Whitening.load(folder / WHITENING),
                items=pl.read_parquet(folder / ITEMS),
            )
        except (EncoderError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as exc:
            raise ModelFolderError(f"{folder}: cannot be read ({exc}); build it anew") from exc


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelFolderError(
            f"{folder}: no {MANIFEST} there; expected a model folder, as `beforehand build` writes one"
        )
    try:
        content = json.loads(path.read_bytes())
        found = content["format"]
        if found != FORMAT:
            raise ModelFolderError(f"{folder}: model format {found!r}, this release reads {FORMAT}; build it anew")
        known = {entry.name for entry in fields(Manifest)}
        return Manifest(**{name: value for name, value in content.items() if name in known})
    except (ValueError, KeyError, TypeError) as exc:
        raise ModelFolderError(f"{path}: not a manifest ({exc}); build the model anew") from exc


def _put(beside: Path, folder: Path) -> None:
    """Renames `beside` to `folder`; what was there is moved away first and deleted last."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.rename(folder, old)
    try:
        os.rename(beside, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _json(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
