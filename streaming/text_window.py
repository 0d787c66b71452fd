"""What may be learned of texts from a shop's log, and what then says whether it helped.

The window ends where the validation begins: at the split that `beforehand import` wrote, else where the newest tenth of
the events does, of sessions that never end before each one's last two events (`streaming.holdout`). Of the split's
`test` nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from encoders.catalogue import item_text
from encoders.graph.choosing import Validation, target_ranks
from encoders.text import Vectors
from encoders.whitening import Whitening
from index.lesson import LEARNING_KINDS
from index.vocabulary import Vocabulary
from streaming.errors import InputError
from streaming.evaluation.bootstrap import draw
from streaming.evaluation.metrics import NAMES, Values, values_of
from streaming.holdout import hold_out, hold_out_last
from streaming.past import EVENT_COLUMNS, TEXT_COLUMNS, TEXT_DIMENSION
from streaming.shop import ShopInfo

MOMENTS = 8000
"""Moments that texts are judged on, at most."""
_HISTORY = 20


@dataclass(frozen=True, slots=True)
class TextWindow:
    """A training window with the texts of its items, and what came after it."""

    texts: dict[str, str]
    """Of every item with a title, by item id."""
    events: pl.DataFrame
    """Of the window, in time order."""
    validation: Validation
    """Of the moments right after it; items are places in `texts`."""

    def values(self, vectors: Vectors) -> Values:
        """Every metric of every moment, items nearest in whitened text ranked first.

        Args:
            vectors: (items, dimension) of `texts` in their order, as an encoder gives them.
        """
        whitened = Whitening.fit(np.unique(vectors, axis=0), TEXT_DIMENSION).apply(vectors)
        return values_of(target_ranks(whitened, self.validation)[1.0])


def text_window(
    events: pl.DataFrame, items: pl.DataFrame, info: ShopInfo, *, until: int | None = None, moments: int = MOMENTS
) -> TextWindow:
    """Parts a shop's log.

    Args:
        until: ms since the epoch; only events before it are looked at.
        moments: to judge on, at most; drawn by a fixed seed.

    Raises:
        InputError: titles say nothing, or no session goes over the end of the window.
    """
    if not info.titles or "title" not in items.columns:
        raise InputError("the shop's titles say nothing (shop.toml, or no column `title`); there are no texts to tune")
    lacking = [pl.lit(None, pl.String).alias(name) for name in TEXT_COLUMNS if name not in items.columns]
    titled = items.with_columns(lacking).filter(pl.col("title").fill_null("").str.strip_chars() != "")
    texts = {its[0]: item_text(*its[1:]) for its in titled.select("item_id", *TEXT_COLUMNS).iter_rows()}
    used = events.filter(pl.col("time") < until) if until is not None else events
    if "split" in used.columns:
        before = used.filter(pl.col("split") == "train")
        nexts = used.filter(pl.col("split") == "valid", pl.col("item_id").is_not_null())
        nexts = nexts.unique("session_id", keep="first", maintain_order=True)
        past = before.filter(pl.col("item_id").is_not_null()).group_by("session_id").agg(history="item_id")
        rows = nexts.join(past, on="session_id", maintain_order="left").select("history", "item_id").rows()
    else:
        lacking = [pl.lit(None, pl.String).alias(name) for name in EVENT_COLUMNS if name not in used.columns]
        taught = used.with_columns(lacking).filter(
            pl.col("kind").is_in(LEARNING_KINDS), pl.col("item_id").is_not_null()
        )
        ordered = taught.sort("time", maintain_order=True)
        if info.session_idle_ms == 0:  # nothing is learned meanwhile, so nothing need come after the window
            held = hold_out_last(ordered, count=moments)
        else:
            held = hold_out(ordered, endless=False, count=moments)
        before = held.before
        rows = [([step.item_id for step in its.history], its.coming[0][0]) for its in held.moments]
    vocabulary = Vocabulary(list(texts))
    asked = []
    for history, target in rows:
        codes = vocabulary.codes(history[-_HISTORY:])
        if target in texts and (codes >= 0).any():
            asked.append((codes[codes >= 0], int(vocabulary.codes([target])[0])))
    if not asked:
        raise InputError(
            f"{len(events):,} events, {len(texts):,} items with titles: no session goes on after the training window, "
            "so nothing says whether tuning helps; give more of the log, or a later --until"
        )
    if len(asked) > moments:
        asked = [asked[place] for place in np.sort(np.random.default_rng(0).permutation(len(asked))[:moments])]
    validation = Validation(
        [history for history, _ in asked],
        np.array([target for _, target in asked], np.int32),
        None,
        info.repeats_allowed,
    )
    return TextWindow(texts, before, validation)


def compared(before: Values, after: Values, names: Sequence[str] = NAMES) -> dict[str, dict[str, Any]]:
    """By metric: before, after, and the 95 % interval of the difference, by a paired bootstrap over the moments.

    Args:
        before: (n, metrics), of each moment; after: the same moments.
    """
    told: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(names):
        columns = np.stack([after[:, place], before[:, place]], axis=1)
        low, high = draw(columns, np.arange(len(columns))).difference(0, 1)
        told[name] = {
            "before": float(columns[:, 1].mean()),
            "after": float(columns[:, 0].mean()),
            "interval": [low, high],
        }
    return told
