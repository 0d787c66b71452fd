"""The text encoder that the settings name, with its cache, and those that model folders bring."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock

from encoders.cache import CachedTextEncoder
from encoders.errors import EncoderError
from encoders.int8 import Int8TextEncoder
from encoders.text import TextEncoder, load_text_encoder
from index.errors import IndexingError
from index.model import ModelFolder, adapter_in, read_manifest
from streaming import cores
from streaming.errors import InputError
from streaming.settings import Settings

logger = logging.getLogger(__name__)


def text_encoder(
    settings: Settings, adapter: Path | None = None, beside: CachedTextEncoder | None = None
) -> CachedTextEncoder:
    """Loads it: some seconds for a BERT.

    Args:
        adapter: in place of the one that the settings name.
        beside: one that is loaded already, to share with it what is alike.

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
            threads=cores.at_most(wanted.threads),
            precision=wanted.precision,
            adapter=adapter or wanted.adapter,
            exports=kept,
            beside=None if beside is None else beside.inner,
        )
    except EncoderError as exc:
        raise InputError(str(exc)) from exc
    return CachedTextEncoder(inner, kept)


def int8_of(texts: TextEncoder) -> Path | None:
    """The folder that a text encoder in int8 was read from; None: it is another."""
    inner = texts.inner if isinstance(texts, CachedTextEncoder) else texts
    return inner.folder if isinstance(inner, Int8TextEncoder) else None


def check_texts(folder: Path, model: ModelFolder, texts: TextEncoder) -> None:
    """Raises:
    InputError: the model was built with another text encoder than `texts`.
    """
    if model.manifest.text != texts.digest:
        too = "" if model.adapter else ", BEFOREHAND_ENCODER__ADAPTER, where it had one,"
        raise InputError(
            f"{folder}: built with text encoder {model.manifest.text}, expected {texts.digest}, which is served; set "
            f"BEFOREHAND_ENCODER__MODEL and BEFOREHAND_ENCODER__PRECISION{too} to what it was built with, or "
            "build it anew"
        )
    taken = model.tables.whitening.input_dimension
    if taken != texts.dimension:
        raise InputError(
            f"{folder}: takes text vectors of {taken} numbers, expected {texts.dimension}, as its text encoder gives; "
            "build it anew"
        )


class TextEncoders:
    """The text encoders of a process, each loaded once however many use it, and let go by the last.

    A model folder says by a digest which one its vectors were made with. It is looked for in this order: one that is
    loaded, the base model with the adapter that the folder brings; where it brings none, with that of
    BEFOREHAND_ENCODER__ADAPTER, then the base model alone. Any thread may call; loading holds nobody up but the caller.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = settings.encoder.adapter
        self._bare = settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"adapter": None})})
        self._lock = Lock()
        self._open: dict[str, CachedTextEncoder] = {}
        self._users: dict[str, int] = {}

    def of_folder(self, folder: Path | None) -> CachedTextEncoder:
        """As `of`, before the folder is read; of one that cannot be read, as of none: whoever reads it says why."""
        try:
            manifest = None if folder is None else read_manifest(folder)
        except (IndexingError, OSError):
            manifest = None
        if folder is None or manifest is None:
            return self.of(None, None)
        return self.of(manifest.text, adapter_in(folder, manifest))

    def of(self, digest: str | None, adapter: Path | None) -> CachedTextEncoder:
        """The one that a model was built with, to be given back by `release`; where none of those that can be had is
        it, the first of them: whoever opens the model refuses it.

        Args:
            digest: of that one; None: there is no model.
            adapter: that the model folder brings.

        Raises:
            InputError: an adapter is damaged or of another base model, or there is no such model.
        """
        if digest is not None and (found := self._taken(digest)) is not None:
            return found
        tried: list[CachedTextEncoder] = []
        for each in [adapter] if adapter is not None else list(dict.fromkeys((self._given, None))):
            texts = text_encoder(self._bare, each, self._any())
            tried.append(texts)
            if digest in (None, texts.digest):
                break
        chosen = tried[-1] if digest in (None, tried[-1].digest) else tried[0]
        for texts in tried:
            if texts is not chosen:
                texts.close()
        return self._taken(chosen.digest, chosen) or chosen

    def share(self, digest: str) -> None:
        """One user more of an encoder that is in use."""
        self._taken(digest)

    def release(self, digest: str) -> None:
        """One user less; the last closes its cache, and with the last reference its weights go."""
        with self._lock:
            self._users[digest] -= 1
            if self._users[digest]:
                return
            del self._users[digest]
            texts = self._open.pop(digest)
        texts.close()
        logger.info("text encoder %s is let go", digest)

    def _taken(self, digest: str, fresh: CachedTextEncoder | None = None) -> CachedTextEncoder | None:
        """The one that is open, with one user more; `fresh` becomes it where there is none, and is closed elsewhere."""
        with self._lock:
            found = self._open.get(digest)
            if found is None and fresh is not None:
                found = self._open[digest] = fresh
                logger.info("text encoder %s is loaded", digest)
            if found is not None:
                self._users[digest] = self._users.get(digest, 0) + 1
        if fresh is not None and found is not fresh:
            fresh.close()
        return found

    def _any(self) -> CachedTextEncoder | None:
        """The one that was loaded last."""
        with self._lock:
            return next(reversed(self._open.values()), None)
