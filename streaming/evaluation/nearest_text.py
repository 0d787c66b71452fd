"""The baseline that knows no behaviour: items whose words are nearest to those of the last item."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from encoders.catalogue import item_text
from encoders.text import TextEncoder
from encoders.whitening import Whitening
from index.vocabulary import Vocabulary
from streaming.evaluation.log import TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked, best

Vectors = NDArray[np.float32]
_CHUNK = 256


class LastItemsText:
    """Whitened cosine to the last item; nothing is learned from events. Items without words are never found."""

    name = "last item's text"
    learns = False

    def __init__(self, vectors: Vectors) -> None:
        """`vectors`: (items, dimension), as `text_vectors` gives them."""
        self._vectors = vectors

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""

    def rank(self, moment: Moment, k: int) -> Ranked:
        """As the protocol says."""
        return best((self._vectors @ self._vectors[moment.items[-1]]).astype(np.float64), k)

    def learn(self, passed: Passed) -> None:
        """As the protocol says: nothing."""


def text_vectors(items: pl.DataFrame, catalogue: Vocabulary, encoder: TextEncoder, dimension: int = 128) -> Vectors:
    """float32 (items, dimension): vectors of the catalogue's texts, whitened on themselves; zeros where an item has no
    title."""
    texts: dict[str, list[int]] = {}
    columns = [
        items[name].to_list() if name in items.columns else [None] * len(items) for name in ("brand", "category")
    ]
    for item_id, title, brand, category in zip(items["item_id"], items["title"], *columns, strict=True):
        if title:
            texts.setdefault(item_text(title, brand, category), []).append(catalogue.code(item_id))
    distinct = list(texts)
    parts = [np.empty((0, encoder.dimension), dtype=np.float32)]
    parts += [encoder.encode(distinct[at : at + _CHUNK]) for at in range(0, len(distinct), _CHUNK)]
    found = np.concatenate(parts)
    found = Whitening.fit(found, dimension).apply(found)
    vectors = np.zeros((len(catalogue), found.shape[1]), dtype=np.float32)
    for codes, vector in zip(texts.values(), found, strict=True):
        vectors[codes] = vector
    return vectors
