"""What a worker has learned, kept in its data folder: a restart goes on from there, whatever the topic still holds.

Counts and neighbours are copied between two batches, which takes some ten milliseconds, and written while the worker
decides. They hold for the model that they were learned on; with another one, or damaged, they are passed over, and the
worker goes on from its model and the topic.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from encoders.folders import put_in_place
from encoders.text import TextEncoder
from index.cooccurrence import CoOccurrence
from index.errors import IndexingError
from index.model import ModelFolder
from index.session_knn import SessionKnn
from index.tables import COUNTS, SESSIONS
from streaming.errors import InputError
from streaming.items import Shop
from streaming.settings import WorkerSettings
from streaming.topics import source_of

logger = logging.getLogger(__name__)

Texts = TypeVar("Texts", bound=TextEncoder)

FOLDER = "learned"
FORMAT = 1
ABOUT = "about.json"


@dataclass(frozen=True, slots=True)
class About:
    """What a snapshot is of."""

    format: int
    model: str
    """That the tables were learned on."""
    records: int
    """Of `learned`, applied."""
    marks: dict[str, int]
    """The last offset of each source partition that was learned."""
    positions: dict[str, int]
    """Of each partition of `learned`, the offset to go on from."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """A copy of what a shop has learned, at one moment."""

    about: About
    counts: CoOccurrence
    knn: SessionKnn

    @classmethod
    def of(cls, shop: Shop) -> Learnt:
        """To be called where nothing learns meanwhile."""
        about = About(
            FORMAT,
            shop.model,
            shop.learned,
            {f"{topic}/{partition}": mark for (topic, partition), mark in shop.marks.items()},
            {str(partition): offset for partition, offset in shop.positions.items()},
        )
        return cls(about, shop.counts.copied(), shop.knn.copied())

    def save(self, folder: Path) -> None:
        """Writes it, in place of what is there; whole or not at all.

        Raises:
            OSError: it cannot be written; then what was there is still there.
        """
        beside = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            self.counts.to_frame().write_parquet(beside / COUNTS)
            self.knn.to_frame().write_parquet(beside / SESSIONS)
        except pl.exceptions.PolarsError as exc:  # a full disk, too
            raise OSError(str(exc)) from exc
        (beside / ABOUT).write_text(json.dumps(asdict(self.about)))
        put_in_place(beside, folder)


def recall(shop: Shop, folder: Path) -> bool:
    """Has a shop that has learned nothing yet go on from a snapshot; whether it does.

    What cannot be used is told in the log, and the shop is as it was.
    """
    try:
        about = About(**json.loads((folder / ABOUT).read_bytes()))
        if about.format != FORMAT or about.model != shop.model:
            logger.info("%s is of model %s, format %d: begun anew", folder, about.model or "none", about.format)
            return False
        counts = pl.read_parquet(folder / COUNTS, glob=False)
        knn = pl.read_parquet(folder / SESSIONS, glob=False)
        shop.go_on_from(
            CoOccurrence.from_frame(shop.vocabulary, counts, shop.counts.settings),
            SessionKnn.from_frame(shop.vocabulary, knn, shop.knn.settings),
            records=about.records,
            marks={source_of(name): mark for name, mark in about.marks.items()},
            positions={int(partition): offset for partition, offset in about.positions.items()},
        )
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError, KeyError, pl.exceptions.PolarsError) as exc:
        logger.warning("%s cannot be used (%s): begun anew from the model", folder, exc)
        return False
    logger.info("%d records of learned are known from %s", about.records, folder)
    return True


def what_was_learned(shop: Shop) -> dict[str, Any]:
    """Names what the tables of counts and neighbours hold: `digest` is equal in workers that learned the same, in
    whatever order. With how many records of `learned` were applied, and the last offset of each source."""
    content = hashlib.blake2b(digest_size=8)
    for frame in (shop.counts.to_frame(), shop.knn.to_frame()):
        content.update(json.dumps(frame.to_dict(as_series=False)).encode())
    marks = {f"{topic}/{partition}": mark for (topic, partition), mark in sorted(shop.marks.items())}
    return {"digest": content.hexdigest(), "records": shop.learned, "marks": marks}


def opened(worker: WorkerSettings, load: Callable[[], Texts]) -> tuple[Texts, Shop]:
    """The text encoder and the shop that a worker begins with: its model, with what it has learned before.

    Args:
        load: gives the text encoder; meanwhile the model is read.

    Raises:
        InputError: as `Shop.open`.
    """
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(ModelFolder.load, worker.model) if worker.model is not None else None
        texts = load()
        try:
            model = reading.result() if reading is not None else None
        except IndexingError as exc:
            raise InputError(str(exc)) from exc
    shop = Shop.open(worker.model, texts, model)
    if worker.learn:
        recall(shop, worker.data_dir / FOLDER)
    return texts, shop


async def _keep_now(shop: Shop, folder: Path, in_model_thread: Callable[..., Awaitable[Any]]) -> None:
    """Nothing holds the copy any more when it returns: it is some hundred MB of 100,000 items."""
    learnt: Learnt = await in_model_thread(Learnt.of, shop)
    await asyncio.to_thread(learnt.save, folder)


async def keep(
    worker: WorkerSettings,
    shop: Callable[[], Shop],
    in_model_thread: Callable[..., Awaitable[Any]],
    unkept: Callable[[str | None], None],
) -> None:
    """Writes a snapshot now and then, for ever. A disk that is full costs the snapshot and nothing else: `unkept` hears
    why, and none once it was written."""
    folder = worker.data_dir / FOLDER
    while True:
        await asyncio.sleep(worker.keep_s)
        if not worker.learn:
            continue
        try:
            await _keep_now(shop(), folder, in_model_thread)
        except OSError as exc:
            unkept(f"what was learned cannot be kept in {folder}: {exc}")
            logger.warning("what was learned cannot be kept in %s: %s", folder, exc)
        else:
            unkept(None)
