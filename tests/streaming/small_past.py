"""A shop with a past, made the way `build` makes one, and its model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from encoders.catalogue import item_text
from encoders.text import DummyTextEncoder, TextEncoder
from encoders.whitening import Whitening
from index import fusion
from index.co_settings import CoSettings
from index.model import Manifest, ModelFolder
from index.table_fitting import fit_tables
from index.tables import Tables, TableSettings
from streaming.intake import Event, Source
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.ranking import RankingSettings
from streaming.records import Fact, Facts, Item, Learned, Transition
from streaming.sessions import KINDS, Step
from streaming.text_encoder import int8_of
from tests.index.small_tables import FACTS, ITEMS, START, events

DUMMY = DummyTextEncoder()
PAST = ("tea mug pot", "tea mug", "jam tea mug", "pot mug jam")
"""Sessions on `ITEMS`: mugs go with tea, and nobody saw the rug."""
COLD = TableSettings(counts=CoSettings(cold_below=5, cold_factor=1.0))
"""An item is cold until it was seen five times."""


def tables_of(
    *sessions: str,
    items: pl.DataFrame = ITEMS,
    facts: pl.DataFrame = FACTS,
    settings: TableSettings | None = None,
    whitening: Whitening | None = None,
) -> Tables:
    """Tables of sessions, each a text of item ids and of a visitor of its own; text vectors stay as they are."""
    return fit_tables(
        events(sessions), items, facts, whitening or Whitening.identity(DUMMY.dimension), settings or TableSettings()
    )


def stocked(*sessions: str, items: pl.DataFrame = ITEMS, texts: TextEncoder = DUMMY, **more: Any) -> Shop:
    """A shop that has the items, taught by these sessions."""
    whitening = Whitening.identity(texts.dimension)
    shop = Shop(texts, tables_of(*sessions, items=items, **({"whitening": whitening} | more)))
    catalogue = list(items_of(items))
    shop.stock(catalogue, texts.encode([item_text(item.title, item.brand, item.category) for item in catalogue]))
    return shop


def model_at(
    folder: Path,
    *sessions: str,
    items: pl.DataFrame = ITEMS,
    text: str | None = None,
    told: Mapping[str, Any] | None = None,
    learned: Mapping[str, int] | None = None,
    adapter: Path | None = None,
    **more: Any,
) -> Path:
    """The model folder of such a shop; `told`: settings of its manifest, `adapter`: that it brings along."""
    shop = stocked(*sessions, items=items, **more)
    manifest = Manifest(
        data="0" * 16,
        text=text or shop.texts.digest,
        settings={"calibration": shop.calibration.to_dict(), **(told or {})},
        learned=learned or {},
    )
    int8 = int8_of(shop.texts)
    ModelFolder(manifest, shop.tables, items, shop.index, adapter=adapter, int8=int8).save(folder)
    return folder


def ranking_of(settings: RankingSettings) -> dict[str, Any]:
    """Ranking settings as a manifest has them."""
    return {"ranking": asdict(settings)}


class Listening(DummyTextEncoder):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        return super().encode(texts)


def shop_of(*titles: str) -> tuple[Shop, Listening]:
    """A shop that knows items by their titles, whose first three letters are their ids, and nothing else."""
    texts = Listening()
    shop = Shop(texts)
    shop.upsert([Item(item_id=title[:3], title=title) for title in titles])
    return shop, texts


def told(item_id: str, title: str) -> Event:
    """An event that brings a title along."""
    return Event(Source(1, 0, 0, 0), "s", None, "view", 1, item_id, title=title)


def facts_of(head: str, *told: tuple[str, str]) -> Facts:
    """A record of `knowledge`: relations and tails."""
    return Facts(head=head, facts=[Fact(relation=relation, tail=tail) for relation, tail in told])


def nearest(shop: Shop, words: str) -> list[str]:
    """The five items whose texts are nearest to some words, best first."""
    shop.read([words])
    _, (vector,) = shop.vectors_of([Step(1, 1, KINDS.index("search"), words)], (words,))
    query = fusion.query(vector, [1, 0, 0, 0, 0], layout=shop.layout)[0]
    (found,) = shop.index.search(query[None, :], 5)
    near = (shop.index.vectors(found) @ query).tolist()
    return [item_id for _, item_id in sorted(zip(near, shop.vocabulary.ids(found), strict=True), reverse=True)]


def row(shop: Shop, item_id: str) -> NDArray[np.float32]:
    """The vector of an item that has one."""
    found = shop.row_of(item_id)
    assert found is not None
    return found


def together(shop: Shop, item_id: str) -> dict[str, float]:
    """Item -> score of what goes with an item, by the counts."""
    found = shop.counts.together(shop.vocabulary.codes([item_id]), np.ones(1), 20)
    return dict(zip(shop.vocabulary.ids(found.codes), found.scores.tolist(), strict=True))


def support(shop: Shop, before: str, after: str) -> int:
    """Meetings of a pair."""
    return shop.counts.support(shop.vocabulary.code(before), shop.vocabulary.code(after))


def lesson(*offsets: int, partition: int = 0, topic: str = "browses") -> Learned:
    """A record of `learned`: at each offset a visitor of its own goes from tea to a mug."""
    taught = [
        Transition(
            offset=offset, before="tea", after="mug", kind="view", session=offset, visitor=offset, context=["tea"]
        )
        for offset in offsets
    ]
    return Learned(topic=topic, partition=partition, transitions=taught)


def walk(*items: str, session: int, visitor: int) -> Learned:
    """A record of `learned`: what a session on these items teaches, event by event."""
    taught = [
        Transition(
            offset=1000 * session + n,
            before=items[n - 1] if n else "",
            after=item_id,
            kind="view",
            time=START + n,
            session=session,
            visitor=visitor,
            context=list(items[:n][::-1]),
        )
        for n, item_id in enumerate(items)
    ]
    return Learned(topic="browses", partition=0, transitions=taught)
