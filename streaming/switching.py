"""The model that is to serve next: opened beside the one that serves, with the text encoder that it belongs to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from encoders.errors import EncoderError
from index.errors import IndexingError
from index.model import ModelFolder
from streaming.errors import InputError
from streaming.items import Shop
from streaming.records import Item
from streaming.text_encoder import TextEncoders

logger = logging.getLogger(__name__)

TEXTS_AT_ONCE = 64
"""Encoded in one call, so that a thread beside the engine's lets go of what it shares with it."""
WORDS = 1024
"""Queries and titles met last that another encoder reads beforehand; sessions that go on ask for them first."""


class Switching:
    """Opens model folders, and lets those go that are not served in the end or not any more."""

    def __init__(self, encoders: TextEncoders, model_thread: Executor, shop: Callable[[], Shop]) -> None:
        """
        Args:
            model_thread: where the shop may be looked at.
            shop: the one that serves.
        """
        self._encoders, self._model_thread, self._shop = encoders, model_thread, shop

    def open(self, folder: Path) -> Shop:
        """A shop without items, ready to be handed over to: tables, index, session encoder and text encoder are loaded,
        and where the latter is another than the one that serves, what it will be asked for at once is encoded. Not for
        the model's thread; blocks for as long as that takes.

        Raises:
            InputError: the folder or the adapter in it is damaged, or belongs to another text encoder than can be had.
                Nothing is held then.
        """
        try:
            model = ModelFolder.load(folder)
        except IndexingError as exc:
            raise InputError(str(exc)) from exc
        texts = self._encoders.of(model.manifest.text, model.adapter)
        try:
            opened = Shop.open(folder, texts, model)
            _ = opened.encoder
            self._read_beforehand(opened)
        except BaseException:
            self._encoders.release(texts.digest)
            raise
        return opened

    def drop(self, shop: Shop) -> None:
        """It serves no more, or never will."""
        self._encoders.release(shop.texts.digest)

    def _read_beforehand(self, opened: Shop) -> None:
        """Else the first events after the switch would wait for it."""

        def known() -> tuple[str, list[Item], list[str]]:
            serving = self._shop()
            return serving.texts.digest, list(serving.items.values()), serving.words_met(WORDS)

        digest, items, words = self._model_thread.submit(known).result()
        if digest == opened.texts.digest:
            return
        begun, texts = time.monotonic(), opened.unmet(items)
        try:
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                opened.texts.encode(texts[start : start + TEXTS_AT_ONCE])  # into its cache
            for start in range(0, len(words), TEXTS_AT_ONCE):
                opened.read(words[start : start + TEXTS_AT_ONCE])
        except EncoderError as exc:
            raise InputError(str(exc)) from exc
        logger.info("%d texts read beforehand in %.1f s", len(texts) + len(words), time.monotonic() - begun)
