"""A shop's past, as models are made of it, and what its nature asks of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from encoders.catalogue import item_text
from encoders.graph.facts import Relations
from encoders.sequence.settings import SequenceSettings
from encoders.text import TextEncoder, Vectors
from encoders.whitening import Whitening
from index.co_settings import CoSettings
from index.lesson import LEARNING_KINDS
from index.tables import GraphMethod, TableSettings
from streaming import intent_fitting
from streaming.errors import InputError
from streaming.ranking import RankingSettings
from streaming.shop import ShopInfo

TEXT_DIMENSION = 128
TEXTS_AT_ONCE = 256
DIGEST_ROWS = 200_000
TEXT_COLUMNS = ("title", "brand", "category")
EVENT_COLUMNS = ("kind", "session_id", "time", "item_id", "user_id")

Note = Callable[[str, int, int], None]
"""Hears of the stage, what is done of it, and the total."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a model is made of."""

    info: ShopInfo
    events: pl.DataFrame
    """kind, session_id, time, item_id, user_id; in time order, of kinds that teach."""
    items: pl.DataFrame
    facts: pl.DataFrame
    texts: Vectors
    """(items, text encoder's dimension), of the items in their order; zeros where titles say nothing."""
    whitening: Whitening
    log: pl.DataFrame | None = None
    """Every event, whatever its kind, with what heads of intent are fitted on; None: `events` are all there are."""

    def until(self, events: pl.DataFrame) -> Past:
        """The same shop, of which no more than these events have happened."""
        return replace(self, events=events, log=None)


def past_of(
    events: pl.DataFrame,
    items: pl.DataFrame,
    facts: pl.DataFrame,
    info: ShopInfo,
    encoder: TextEncoder,
    *,
    until: int | None = None,
    note: Note = silent,
) -> Past:
    """A shop's past with the vectors of its items' texts, each text encoded once.

    Args:
        until: ms since the epoch; only events before it are looked at.

    Raises:
        InputError: there are no items.
    """
    if items.is_empty():
        raise InputError("the shop has no items, expected a table `items` with at least one; add it")
    if "user_id" not in events.columns:
        events = events.with_columns(user_id=pl.lit(None, pl.String))
    if until is not None:
        events = events.filter(pl.col("time") < until)
    events = events.sort("time", maintain_order=True)
    log = events.select(pl.col(name) for name in intent_fitting.COLUMNS if name in events.columns)
    used = events.select(EVENT_COLUMNS).filter(pl.col("kind").is_in(LEARNING_KINDS), pl.col("item_id").is_not_null())
    if not info.titles:
        nothing = np.zeros((len(items), encoder.dimension), np.float32)
        return Past(info, used, items, facts, nothing, Whitening.identity(encoder.dimension), log)
    lacking = [pl.lit(None, pl.String).alias(name) for name in TEXT_COLUMNS if name not in items.columns]
    texts = [item_text(*row) for row in items.with_columns(lacking).select(TEXT_COLUMNS).iter_rows()]
    distinct = list(dict.fromkeys(texts))
    note("texts", 0, len(distinct))
    parts = []
    for start in range(0, len(distinct), TEXTS_AT_ONCE):
        parts.append(encoder.encode(distinct[start : start + TEXTS_AT_ONCE]))
        note("texts", min(start + TEXTS_AT_ONCE, len(distinct)), len(distinct))
    vectors = np.concatenate(parts)
    place = {text: number for number, text in enumerate(distinct)}
    rows = vectors[[place[text] for text in texts]]
    return Past(info, used, items, facts, rows, Whitening.fit(vectors, TEXT_DIMENSION), log)


def table_settings(
    info: ShopInfo,
    relations: Relations = "safe",
    graph: GraphMethod = "svd",
    sequence: SequenceSettings | None = None,
) -> TableSettings:
    """How the tables of such a shop are made."""
    counts = CoSettings(self_pairs=info.repeats_allowed)
    if not info.ordered:
        counts = replace(counts, backward=1.0, damping=0.0, by_distance=False)
    return TableSettings(counts=counts, relations=relations, graph=graph, sequence=sequence)


def ranking_settings(info: ShopInfo) -> RankingSettings:
    """Where the choice of weights begins."""
    start = RankingSettings(repeat=info.repeats_allowed)
    return start if info.ordered else replace(start, decay=0.9)


def data_digest(events: pl.DataFrame, items: pl.DataFrame) -> str:
    """16 hex characters of the rows, their order included; nested columns of the items are left out."""
    content = hashlib.sha256()
    flat = items.select(name for name, kind in items.schema.items() if not kind.is_nested())
    for frame in (events.select(EVENT_COLUMNS), flat):
        content.update(repr(frame.columns).encode())
        for part in frame.iter_slices(DIGEST_ROWS):
            content.update(part.write_csv(include_header=False).encode())
    return content.hexdigest()[:16]
