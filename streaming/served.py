"""What the model folder that is served says of its shop, for the settings that nobody gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from index.model import MANIFEST
from streaming.errors import InputError
from streaming.settings import Settings


def shop_settings(folder: Path | None) -> dict[str, Any]:
    """`settings.shop` of a model folder's manifest: `session_idle_ms` and `time_zone` of its `shop.toml`. Empty where
    there is none, or it cannot be read: whoever opens the folder says so.
    """
    if folder is None:
        return {}
    try:
        told = json.loads((folder / MANIFEST).read_bytes())["settings"]["shop"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def for_model(settings: Settings) -> Settings:
    """The settings of a worker, completed by its model folder. They stay when it is told to switch the model.

    Raises:
        InputError: the folder brings a value that its setting refuses.
    """
    folder = settings.worker.model
    try:
        return settings.with_shop(shop_settings(folder))
    except InputError as exc:
        raise InputError(f"{folder}: {exc}") from exc
