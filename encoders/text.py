"""Text to vectors: the protocol, the model that tests can predict, and the choice by name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.bert import BertTextEncoder, on_gpu
from encoders.errors import EncoderError
from encoders.int8 import Int8TextEncoder
from encoders.int8_export import exported

Vectors = NDArray[np.float32]
Precision = Literal["auto", "float32", "int8"]


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
    model: str,
    device: str = "auto",
    batch: int = 64,
    threads: int | None = None,
    max_tokens: int = 128,
    *,
    precision: Precision = "float32",
    adapter: Path | None = None,
    exports: Path | None = None,
    beside: TextEncoder | None = None,
) -> TextEncoder:
    """The text encoder called `model`: `dummy`, or a BERT by name or path (`encoders.bert`, `encoders.int8`).

    May be called in a thread while another encoder runs in its own, such as to change over to another adapter.

    Args:
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
        batch: texts per forward pass; of float32.
        threads: for one forward pass on a CPU; None leaves torch's choice, which holds for the whole process, and is
            one of int8.
        max_tokens: a longer text is cut.
        precision: `float32` (bfloat16 on a GPU), `int8` (on a CPU), or `auto`: int8 where it runs on a CPU.
        adapter: a folder that `encoders.finetune` wrote for this model.
        exports: where int8 models are kept, by digest.
        beside: one that is loaded already; what both hold alike is held once, where that can be (`encoders.bert`).

    Raises:
        EncoderError: there is no such model here, or it cannot be loaded.
    """
    if model == "dummy":
        if adapter is not None:
            raise EncoderError(f"adapter {adapter} for the model 'dummy', expected a BERT; name one or leave it out")
        return DummyTextEncoder()
    if precision == "int8" and device == "cuda":
        raise EncoderError("precision 'int8' on 'cuda': it runs on a CPU; set device cpu, or precision float32")
    if precision == "float32" or (precision == "auto" and on_gpu(device)):
        return BertTextEncoder(
            model,
            device=device,
            batch=batch,
            threads=threads,
            max_tokens=max_tokens,
            adapter=adapter,
            beside=beside,
        )
    if exports is None:
        raise EncoderError(f"precision {precision!r} without a folder for int8 models, expected `exports`; name one")
    return Int8TextEncoder(exported(model, exports, adapter), threads=threads or 1, max_tokens=max_tokens)


def _signs(word: str) -> Vectors:
    """64 signs of a word: float32 (64,) of -1 and 1."""
    bits = np.frombuffer(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), dtype=np.uint8)
    return np.unpackbits(bits).astype(np.float32) * 2 - 1
