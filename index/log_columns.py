"""Columns of a log of events as numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from index.meetings import visitor_tag
from index.vocabulary import Codes, Vocabulary


def number_items(vocabulary: Vocabulary, items: pl.Series) -> Codes:
    """Codes of item ids, (n,); new ids get theirs in alphabetical order. Numbers are codes already.

    Raises:
        ValueError: a number that is no code of the vocabulary.
    """
    if items.dtype.is_integer():
        codes = items.to_numpy().astype(np.int32)
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(vocabulary):
            raise ValueError(f"item codes from {codes.min()} to {codes.max()}, expected 0 to {len(vocabulary) - 1}")
        return codes
    distinct, places = _distinct(items.cast(pl.String))
    return vocabulary.add_all(distinct)[places]


def number_sessions(sessions: pl.Series, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first `most` events of each session, session by session.

    Returns:
        places: of these events in the log.
        numbers: their sessions, rising.
    """
    numbers = (sessions.rank("dense").cast(pl.Int64)).to_numpy()
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    place = np.arange(len(order)) - np.searchsorted(numbers, numbers)
    return order[place < most], numbers[place < most]


def tags(visitors: pl.Series) -> NDArray[np.uint32]:
    """32 bits for each visitor's id, (n,); numbers are tags already."""
    if visitors.dtype.is_integer():
        return visitors.to_numpy().astype(np.uint32)
    distinct, places = _distinct(visitors.cast(pl.String))
    return np.fromiter(map(visitor_tag, distinct), np.uint32, len(distinct))[places]


def _distinct(texts: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts in order, and where each text is among them."""
    if not len(texts):
        return [], np.empty(0, np.int64)
    return texts.unique().sort().to_list(), texts.rank("dense").cast(pl.Int64).to_numpy() - 1
