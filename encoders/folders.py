"""Folders of files that are whole or not there, and known by their content."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


def put_in_place(beside: Path, folder: Path) -> None:
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


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
