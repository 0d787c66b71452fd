"""The words of a text as features beside its vector: what a name says that an encoder has never met.

Words and pairs of words fall into a fixed number of buckets by their CRC-32 (Weinberger et al. 2009, arXiv:0902.2206),
weighed by TF-IDF. So nothing but one array of weights has to be kept, and nothing but numpy is needed to serve it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

LENGTH = 20.0
"""Of a text's features: about that of a standardised vector, so that both are fitted at one pace."""
LEAST_TEXTS = 2
"""A word of fewer texts says nothing of others."""
MOST_BUCKETS = 2**16
LEAST_BUCKETS = 2**10
MOST_WEIGHTS = 2**22
"""Of the matrix over buckets and outputs, 16 MiB."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")

Rows = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]
"""Buckets and values of all texts, one text after the other, and where each text begins."""


class Words:
    """Texts to sparse rows. Build one by `fit`."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        """
        Args:
            weights: inverse document frequency of each bucket, (buckets,); 0 of one that fewer than two texts had.
        """
        self.weights = weights

    @property
    def buckets(self) -> int:
        """How many there are."""
        return len(self.weights)

    @classmethod
    def fit(cls, texts: Sequence[str], outputs: int) -> Words:
        """Weights by the texts of the training part; as many buckets as `outputs` leave room for."""
        buckets = MOST_BUCKETS
        while buckets > LEAST_BUCKETS and buckets * outputs > MOST_WEIGHTS:
            buckets //= 2
        met = np.zeros(buckets, np.int64)
        for text in texts:
            met[np.unique(_buckets(text, buckets))] += 1
        weights = np.where(met >= LEAST_TEXTS, np.log((1 + len(texts)) / (1 + met)) + 1, 0)
        return cls(weights.astype(np.float32))

    def of(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Buckets, ascending, and their values, of length 20 together; none of a text without a known word."""
        places, counts = np.unique(_buckets(text, self.buckets), return_counts=True)
        values = ((1 + np.log(counts)) * self.weights[places]).astype(np.float32)
        length = float(np.linalg.norm(values))
        return places, values * np.float32(LENGTH / length) if length > 0 else values

    def rows(self, texts: Sequence[str]) -> Rows:
        """Of many texts."""
        found = [self.of(text) for text in texts]
        starts = np.cumsum([0, *(len(places) for places, _ in found)])[:-1]
        empty = np.empty(0, np.int64), np.empty(0, np.float32)
        places, values = (np.concatenate(part) for part in zip(empty, *found, strict=True))
        return places, values, starts.astype(np.int64)


def _buckets(text: str, buckets: int) -> NDArray[np.int64]:
    """The bucket of each word and each pair of neighbours; a CJK character is a word.

    >>> len(_buckets("Red lamp", 1024)), len(_buckets("红色台灯", 1024))
    (3, 7)
    """
    words = _WORD.findall(text.casefold())
    grams = [*words, *(f"{first} {second}" for first, second in pairwise(words))]
    return np.array([crc32(gram.encode()) % buckets for gram in grams], np.int64)
