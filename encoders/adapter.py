"""An adapter folder: what fine-tuning changed of a BERT, small enough to be kept one a shop and swapped while running.

    adapter_config.json, adapter_model.safetensors   as peft writes them (LoRA)
    manifest.json                                    what it belongs to, what made it, SHA-256 of the other two
    int8/                                            in a model folder that was built in int8: base and adapter in one,
                                                     as `encoders.int8_export` made them

No pickle. It is written beside and renamed, so a folder is whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from encoders.errors import EncoderError
from encoders.folders import sha256

FORMAT = 1
MANIFEST = "manifest.json"
FILES = ("adapter_config.json", "adapter_model.safetensors")
INT8 = "int8"


@dataclass(frozen=True, slots=True)
class AdapterManifest:
    """What is known of an adapter."""

    base: str
    """16 hex characters of the BERT that it changes; to another it says nothing."""
    data: str
    """16 hex characters of texts and pairs that it was tuned on."""
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, float]
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 by name."""
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """16 hex characters of the weights: equal digests, equal vectors on an equal base."""
        told = json.dumps([self.base, sorted(self.files.items())])
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def read_adapter(folder: Path) -> AdapterManifest:
    """The manifest of an adapter folder whose files are whole.

    Raises:
        EncoderError: there is none, it is of another format, or a file is not the one that was written.
    """
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            found = told.get("format") if isinstance(told, dict) else told
            raise EncoderError(f"{folder}: adapter of format {found!r}, expected {FORMAT}; tune the texts anew")
        manifest = AdapterManifest(**told)
        sums = {name: sha256(folder / name) for name in FILES}
    except (OSError, ValueError, TypeError) as exc:
        raise EncoderError(
            f"{folder}: no adapter folder ({exc}), expected one that `beforehand tune-text` wrote; tune the texts anew"
        ) from exc
    if wrong := [name for name in FILES if manifest.files.get(name) != sums[name]]:
        raise EncoderError(
            f"{folder}: {wrong[0]} has SHA-256 {sums[wrong[0]]}, expected {manifest.files.get(wrong[0])}; "
            "it is damaged, tune the texts anew"
        )
    return manifest


def write_adapter(folder: Path, save: Callable[[Path], None], manifest: AdapterManifest) -> AdapterManifest:
    """Writes an adapter folder beside and renames it; one that is there is replaced.

    Args:
        save: writes `FILES` into a folder; what else it writes is left out.
        manifest: without its files' sums.

    Returns:
        the manifest as written.

    Raises:
        EncoderError: `folder` is something else than an adapter folder, or cannot be written.
    """
    refuse_other(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            beside = Path(scratch) / "new"
            save(Path(scratch) / "saved")
            beside.mkdir()
            for name in FILES:
                os.replace(Path(scratch) / "saved" / name, beside / name)
            told = asdict(manifest) | {"files": {name: sha256(beside / name) for name in FILES}}
            (beside / MANIFEST).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            if folder.exists():
                os.replace(folder, Path(scratch) / "old")
            os.replace(beside, folder)
    except OSError as exc:
        raise EncoderError(f"{folder}: the adapter cannot be written ({exc}); name a folder that can be") from exc
    return read_adapter(folder)


def refuse_other(folder: Path) -> None:
    """Raises:
    EncoderError: there is something at `folder` that is no adapter folder.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise EncoderError(f"{folder}: is there and no adapter folder, expected a new name; it is left as it is")


def drop(folder: Path) -> None:
    """Removes a folder that need not be there."""
    shutil.rmtree(folder, ignore_errors=True)
