"""Text to vectors: the protocol, the model that tests can predict, and the choice by name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.bert import BertTextEncoder

Vectors = NDArray[np.float32]


class TextEncoder(Protocol):
    """Turns texts into unit vectors. Equal texts give equal vectors, whatever stands beside them in the
    call."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def digest(self) -> str:
        """16 hex characters naming the model: equal digests, equal vectors. The key of caches."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts`, in their order: float32 (n, dimension), each of length 1. No texts: (0,
        dimension)."""


class DummyTextEncoder:
    """A bag of lower-case words, each hashed to 64 signs: texts that share words are near, others are not.

    For tests of the path, where the right answer must be known without a model; of no use to a shop.

    >>> milk, more_milk, hammer = DummyTextEncoder().encode(["whole milk", "Skimmed Milk", "hammer"])
    >>> bool(milk @ more_milk > milk @ hammer)
    True
    """

    dimension = 64
    digest = hashlib.blake2b(b"dummy text encoder 1", digest_size=8).hexdigest()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As the protocol says. A text without words has the vector of the empty word."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split() or [""]:
                row += _signs(word)
            if not row.any():  # two words of exactly opposite signs
                row += _signs(text)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # type: ignore[no-any-return]


def load_text_encoder(
    model: str, device: str = "auto", batch: int = 64, threads: int | None = None, max_tokens: int = 128
) -> TextEncoder:
    """The text encoder called `model`: `dummy`, or a BERT by name or path (`encoders.bert`).

    Args:
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
        batch: texts per forward pass.
        threads: for one forward pass on a CPU; None leaves torch's choice. Holds for the whole process.
        max_tokens: a longer text is cut.

    Raises:
        EncoderError: there is no such model here, or it cannot be loaded.
    """
    if model == "dummy":
        return DummyTextEncoder()
    return BertTextEncoder(model, device=device, batch=batch, threads=threads, max_tokens=max_tokens)


def _signs(word: str) -> Vectors:
    """64 signs of a word: float32 (64,) of -1 and 1."""
    bits = np.frombuffer(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), dtype=np.uint8)
    return np.unpackbits(bits).astype(np.float32) * 2 - 1
