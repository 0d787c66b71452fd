"""From events and items to a model folder, without training: counts, and the whitening of the texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from encoders.catalogue import item_text
from encoders.text import TextEncoder, Vectors
from encoders.whitening import Whitening
from index.counts import LEARNING_KINDS, Counts, CountSettings
from index.model import Manifest, ModelFolder

Progress = Callable[[str, int, int], None]
"""Called with the stage (`counts`, `texts`, `whitening`, `writing`), what is done of it, and the total."""

EVENT_COLUMNS = ("kind", "session_id", "time", "item_id")
DIGEST_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How a model is built."""

    counts: CountSettings = field(default_factory=CountSettings)
    dimension: int = 128
    """Of an item vector."""
    sample: int = 2000
    """Items, the most popular first, whose texts are encoded to fit the whitening."""
    chunk: int = 256
    """Texts between two reports of progress."""
    ranking: Mapping[str, float] = field(default_factory=dict)
    """Weights that suit this shop, for whoever ranks; kept in the manifest as they are."""
    licence: str = ""
    """Of the base model, for the manifest."""


def build(
    events: pl.DataFrame,
    items: pl.DataFrame,
    folder: Path,
    encoder: TextEncoder,
    *,
    until: int | None = None,
    progress: Progress | None = None,
    settings: BuildSettings | None = None,
) -> ModelFolder:
    """Builds a model and writes it to `folder`.

    Only the texts of the sample are encoded, so that a shop of a million items is ready in the time of a few
    thousand. Equal input gives an equal folder.

    Args:
        events: kind, session_id, time (ms), item_id; in any order. Those of one time keep the order given.
        items: item_id, title, and where known brand and category; further columns are kept.
        until: only events before it (ms since the epoch) are looked at; None: all.

    Raises:
        ValueError: a column is missing.
        ModelFolderError: at `folder` is something that is no model folder.
    """
    settings = settings or BuildSettings()
    progress = progress or _silent
    _need(events, EVENT_COLUMNS, "events")
    _need(items, ("item_id", "title"), "items")
    progress("counts", 0, 1)
    used = events.select(EVENT_COLUMNS).filter(
        pl.col("kind").is_in(LEARNING_KINDS),
        pl.col("item_id").is_not_null(),
        pl.col("session_id").is_not_null(),
    )
    if until is not None:
        used = used.filter(pl.col("time") < until)
    used = used.sort("time", maintain_order=True)
    counts = Counts.fit(used["session_id"], used["item_id"], settings.counts)
    progress("counts", 1, 1)

    vectors = _encoded(_sample_texts(items, counts, settings.sample), encoder, settings.chunk, progress)
    progress("whitening", 0, 1)
    whitening = Whitening.fit(vectors, settings.dimension)
    progress("whitening", 1, 1)

    progress("writing", 0, 1)
    model = ModelFolder(
        Manifest(
            data=data_digest(used, items),
            text=encoder.digest,
            settings={
                "dimension": settings.dimension,
                "sample": settings.sample,
                "until": until,
                "ranking": dict(settings.ranking),
            },
            metrics={
                "events": len(used),
                "items": len(items),
                "items_met": len(counts),
                "texts": len(vectors),
            },
            licence=settings.licence,
        ),
        counts,
        whitening,
        items,
    ).save(folder)
    progress("writing", 1, 1)
    return model


def _silent(_stage: str, _done: int, _total: int) -> None:
    """No progress."""


def data_digest(events: pl.DataFrame, items: pl.DataFrame) -> str:
    """16 hex characters of the rows, their order included; nested columns of the items are left out."""
    content = hashlib.sha256()
    flat = items.select(name for name, kind in items.schema.items() if not kind.is_nested())
    for frame in (events.select(EVENT_COLUMNS), flat):
        content.update(repr(frame.columns).encode())
        for part in frame.iter_slices(DIGEST_ROWS):
            content.update(part.write_csv(include_header=False).encode())
    return content.hexdigest()[:16]


def _sample_texts(items: pl.DataFrame, counts: Counts, size: int) -> list[str]:
    """Distinct texts of the most popular items; of items nobody met, too, where those do not fill the
    sample."""
    rank = {item_id: place for place, (item_id, _) in enumerate(counts.popular(len(counts)))}
    columns = [
        items[name].to_list() if name in items.columns else [None] * len(items) for name in ("brand", "category")
    ]
    rows = zip(items["item_id"].to_list(), items["title"].to_list(), *columns, strict=True)
    ordered = sorted(rows, key=lambda row: (rank.get(row[0], len(rank)), row[0]))
    texts: dict[str, None] = {}
    for _, title, brand, category in ordered:
        if len(texts) == size:
            break
        texts[item_text(title or "", brand, category)] = None
    return list(texts)


def _encoded(texts: list[str], encoder: TextEncoder, chunk: int, progress: Progress) -> Vectors:
    """float32 (n, dimension)"""
    progress("texts", 0, len(texts))
    parts = [np.empty((0, encoder.dimension), dtype=np.float32)]
    for start in range(0, len(texts), chunk):
        parts.append(encoder.encode(texts[start : start + chunk]))
        progress("texts", min(start + chunk, len(texts)), len(texts))
    return np.concatenate(parts)


def _need(frame: pl.DataFrame, columns: tuple[str, ...], name: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"{name}: no column {', '.join(missing)} among {', '.join(frame.columns)}; add it")
