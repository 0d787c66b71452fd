"""The model folder: everything a worker was taught, in files that say what they are.

    manifest.json            formats, versions, digests, settings, and the SHA-256 of each other file
    items.parquet            the items that were known when it was built
    tables.parquet           counts: what goes with what
    sessions.parquet         the sessions whose visitors are neighbours
    facts.parquet            the knowledge graph
    whitening.safetensors    from a text's vector to an item's
    graph.*, behaviour.*     the other spaces in which items have vectors
    sequence.safetensors     the network that says what comes next, and its items' vectors, where one was trained
    forest.safetensors       ranks the best once more, where one was grown
    training.json            how training went, where something was trained
    adapter/                 of its text encoder, where one was tuned (`encoders.adapter`); in int8 with the whole of it
    index.faiss, vectors.*   the vectors of the items, and the index over them

No pickle: reading a folder runs nothing.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from encoders import adapter as adapters
from encoders.errors import EncoderError
from encoders.folders import put_in_place, sha256
from index.errors import IndexingError, ModelFolderError
from index.forest import Forest
from index.tables import Tables, TableSettings
from index.vector_index import VectorIndex

FORMAT = 6
"""What this release writes, and the only one it reads."""

MANIFEST = "manifest.json"
ITEMS = "items.parquet"
FOREST = "forest.safetensors"
CURVES = "training.json"
ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model folder says about itself."""

    data: str
    """Digest of the events and items it was built on, 16 hex characters."""
    text: str
    """Digest of the text encoder; the whitening is of use with no other."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it was built with; `tables` is needed to read them."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What was measured while building, by name."""
    seeds: Mapping[str, int] = field(default_factory=dict)
    """Of everything that draws numbers; empty: nothing did."""
    licence: str = ""
    """Licence of the base model, where it was given."""
    learned: Mapping[str, int] = field(default_factory=dict)
    """The last offset that its tables contain of each source partition, by `topic/partition`; empty: they were fitted
    on files."""
    format: int = FORMAT
    product: str = ""
    """Version of the product that wrote it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each other file, by name."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model, in memory. `save` writes a folder, `load` reads one."""

    manifest: Manifest
    tables: Tables
    items: pl.DataFrame
    index: VectorIndex
    forest: Forest | None = None
    curves: Sequence[Mapping[str, Any]] = ()
    """How training went: name, metric, x_name, x, y of each. Kept for whoever looks; `load` leaves them on disk."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """What was tried on the way, by name; likewise."""
    adapter: Path | None = None
    """The adapter folder of the text encoder, which `save` copies; None: it has none, or it is to be had elsewhere."""
    int8: Path | None = None
    """Base and adapter as `encoders.int8` reads them, likewise, in the adapter's folder."""

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
            EncoderError: the adapter is not whole.
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
            self.tables.save(beside)
            self.index.save(beside)
            self.items.write_parquet(beside / ITEMS)
            if self.forest is not None:
                self.forest.save(beside / FOREST)
            if self.curves:
                (beside / CURVES).write_text(json.dumps({"curves": list(self.curves), **self.told}), encoding="utf-8")
            if self.adapter is not None:
                _copy_adapter(self.adapter, self.int8, beside / ADAPTER)
            written = replace(
                self.manifest,
                format=FORMAT,
                product=importlib.metadata.version("beforehand"),
                settings={**self.manifest.settings, "tables": self.tables.settings.as_dict()},
                files={
                    path.relative_to(beside).as_posix(): sha256(path)
                    for path in sorted(beside.rglob("*"))
                    if path.is_file()
                },
            )
            (beside / MANIFEST).write_bytes(_json(written))
            put_in_place(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return replace(self, manifest=written)

    @classmethod
    def load(cls, folder: Path) -> ModelFolder:
        """Reads what `save` wrote, each file held against its SHA-256 first. Vectors and index stay on disk, mapped.

        Raises:
            ModelFolderError: no such folder, a file is missing or damaged, or another format.
        """
        manifest = read_manifest(folder)
        for name, expected in manifest.files.items():
            path = folder / name
            if not path.is_file():
                raise ModelFolderError(f"{path}: missing from the model folder; build it anew")
            if (found := sha256(path)) != expected:
                raise ModelFolderError(
                    f"{path}: damaged, its SHA-256 begins {found[:12]} and the manifest says {expected[:12]}; "
                    "build it anew"
                )
        try:
            items = pl.read_parquet(folder / ITEMS, glob=False)
            tables = Tables.load(folder, items, TableSettings.from_dict(manifest.settings["tables"]))
            forest = Forest.load(folder / FOREST) if (folder / FOREST).is_file() else None
            index = VectorIndex.open(folder, tables.vocabulary)
            return cls(manifest, tables, items, index, forest, adapter=adapter_in(folder, manifest))
        except (
            EncoderError,
            IndexingError,
            KeyError,
            OSError,
            TypeError,
            ValueError,
            pl.exceptions.PolarsError,
        ) as exc:
            raise ModelFolderError(f"{folder}: cannot be read ({exc}); build it anew") from exc


def read_manifest(folder: Path) -> Manifest:
    """What a model folder says about itself; its other files are not looked at.

    Raises:
        ModelFolderError: no such folder, or another format.
    """
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


def adapter_in(folder: Path, manifest: Manifest) -> Path | None:
    """Where the adapter of a model folder's text encoder lies; None: the folder brings none."""
    return folder / ADAPTER if any(name.startswith(f"{ADAPTER}/") for name in manifest.files) else None


def _copy_adapter(source: Path, int8: Path | None, place: Path) -> None:
    adapters.read_adapter(source)
    place.mkdir()
    for name in (*adapters.FILES, adapters.MANIFEST):
        shutil.copyfile(source / name, place / name)
    adapters.read_adapter(place)
    if int8 is not None:
        shutil.copytree(int8, place / adapters.INT8)


def _json(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
