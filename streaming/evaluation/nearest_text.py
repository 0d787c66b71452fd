"""The baseline that knows no behaviour: items whose words are nearest to those of the last item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index.vocabulary import Vocabulary
from streaming.evaluation.log import TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked, best
from streaming.past import Past

Vectors = NDArray[np.float32]


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


def text_vectors(past: Past, catalogue: Vocabulary) -> Vectors:
    """float32 (items, dimension): whitened vectors of the catalogue's texts; zeros where an item has no title."""
    vectors = np.zeros((len(catalogue), past.whitening.dimension), dtype=np.float32)
    titled = (past.items["title"].fill_null("") != "").to_numpy()
    vectors[catalogue.codes(past.items["item_id"].to_list())[titled]] = past.whitening.apply(past.texts[titled])
    return vectors
