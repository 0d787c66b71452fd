"""The text encoder that the settings name, with its cache: the same for worker, build and demo."""

from __future__ import annotations

from pathlib import Path

from encoders.cache import CachedTextEncoder
from encoders.errors import EncoderError
from encoders.text import load_text_encoder
from streaming.errors import InputError
from streaming.settings import Settings


def text_encoder(settings: Settings, adapter: Path | None = None) -> CachedTextEncoder:
    """Loads it: some seconds for a BERT.

    Args:
        adapter: in place of the one that the settings name, such as a model folder's own.

    Raises:
        InputError: there is no such model, or it cannot be used here.
    """
    wanted = settings.encoder
    kept = wanted.cache_dir or settings.worker.data_dir / "vectors"
    try:
        inner = load_text_encoder(
            wanted.model,
            device=wanted.device,
            batch=wanted.batch,
            threads=wanted.threads,
            precision=wanted.precision,
            adapter=adapter or wanted.adapter,
            exports=kept,
        )
    except EncoderError as exc:
        raise InputError(str(exc)) from exc
    return CachedTextEncoder(inner, kept)
