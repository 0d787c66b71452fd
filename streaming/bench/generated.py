"""A shop that is made up: a catalogue of N items, a past of it, and a load of M visitors.

Items and visitors follow power laws. Of the numbers of clicks of the items, and of the events of the visitors, the
density is x^-a: the share of the one of rank r then goes with r^(-1/(a-1)). For items a is 3.65: the exponent of the
click probabilities in the published source of ETUDE (Kersbergen, Sprangers, de Rijke, Schelter: ICDE 2024), which was
fitted to clicks of bol.com. For visitors, in place of ETUDE's distribution of session lengths, a is 2.5, chosen here.

The past consists of sessions of about six events (ETUDE's 5.6), four events in five of one family of items, so that
pairs and neighbours are found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from encoders.catalogue import item_text
from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index.errors import IndexingError
from index.model import Manifest, ModelFolder
from index.table_fitting import fit_tables
from index.tables import TableSettings
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.ranking import RankingSettings
from streaming.records import Item

ITEM_EXPONENT = 3.65
VISITOR_EXPONENT = 2.5
SESSION_EVENTS = 5.6
VISITORS = 20_000
"""Of a load, where nothing else is said."""
FAMILIES = 20
DIMENSION = 128
"""Of a text's vector: the dummy's 64 numbers, turned, as wide as BERT's are after whitening."""
PAST_EVENTS_PER_ITEM = 10
MOST_PAST_EVENTS = 2_000_000
PAST_FROM = 1_700_000_000_000
RANKING = RankingSettings(text=0.07, graph=0.06, behaviour=0.05, prior=0.02)
"""Every part weighs something, so that each is computed; reasons are of all kinds."""
MADE = 1
"""Of the way in which shops are made up here: another one is made anew."""

Ranks = NDArray[np.int64]


class PowerLaw:
    """Ranks from 0, drawn so that the shares have a density of x^-exponent."""

    def __init__(self, count: int, exponent: float) -> None:
        """
        Raises:
            InputError: there is nothing to draw from, or the exponent is not above 1.
        """
        if count < 1 or exponent <= 1:
            raise InputError(f"{count} items or visitors, exponent {exponent:g}; expected at least 1, and above 1")
        shares = np.arange(1, count + 1, dtype=np.float64) ** (-1 / (exponent - 1))
        self._upto = np.cumsum(shares / shares.sum())

    def draw(self, many: int, draw: np.random.Generator) -> Ranks:
        """So many ranks."""
        return np.minimum(np.searchsorted(self._upto, draw.random(many)), len(self._upto) - 1)


@dataclass(frozen=True, slots=True)
class GeneratedShop:
    """A model folder of a shop that is made up."""

    folder: Path
    items: int

    @classmethod
    def made(cls, folder: Path, items: int) -> GeneratedShop:
        """Makes it, or takes the one that lies there from the last time.

        Raises:
            InputError: fewer than 100 items.
        """
        if items < 100:
            raise InputError(f"{items} items, expected at least 100; give --items 1k or more")
        place = folder / f"generated-{items}"
        try:
            known = ModelFolder.load(place).manifest.settings.get("generated")
        except IndexingError:
            known = None
        if known != _recipe(items):
            _model(items).save(place)
        return cls(place, items)

    def catalogue(self) -> Iterator[Item]:
        """Its items."""
        return items_of(_described(self.items))

    def visits(self, events: int, visitors: int, seed: int) -> list[tuple[int, str]]:
        """Visitor and item of each event of a load."""
        draw = np.random.default_rng(seed)
        who = PowerLaw(visitors, VISITOR_EXPONENT).draw(events, draw)
        home = who % FAMILIES
        strays = draw.random(events) >= 0.8
        family = np.where(strays, draw.integers(FAMILIES, size=events), home)
        what = _members(PowerLaw(self.items // FAMILIES, ITEM_EXPONENT).draw(events, draw), family)
        return [(int(visitor), f"i{item}") for visitor, item in zip(who, what, strict=True)]


def _recipe(items: int) -> dict[str, float]:
    return {"made": MADE, "items": items, "exponent": ITEM_EXPONENT, "past_events_per_item": PAST_EVENTS_PER_ITEM}


def _members(rank: Ranks, family: Ranks) -> Ranks:
    """The item of a family by its rank in it."""
    return rank * FAMILIES + family


def _model(items: int) -> ModelFolder:
    frame = _described(items)
    facts = pl.DataFrame(schema={"head": pl.String, "relation": pl.String, "tail": pl.String})
    tables = fit_tables(_past(items), frame, facts, _turned(), TableSettings())
    texts, catalogue = DummyTextEncoder(), list(items_of(frame))
    shop = Shop(texts, tables)
    shop.stock(catalogue, texts.encode([item_text(item.title, item.brand, item.category) for item in catalogue]))
    settings = {"ranking": asdict(RANKING), "generated": _recipe(items)}
    return ModelFolder(Manifest("generated", texts.digest, settings), tables, frame, shop.index)


def _described(items: int) -> pl.DataFrame:
    numbers = range(items)
    return pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in numbers],
            "title": [f"family{n % FAMILIES} kind{n % 7} number{n}" for n in numbers],
            "brand": [f"brand{n % 61}" for n in numbers],
            "category": [f"family{n % FAMILIES} > kind{n % 7}" for n in numbers],
            "attributes": [json.dumps({"colour": f"colour{n % 11}", "series": f"series{n // 9}"}) for n in numbers],
        }
    )


def _turned() -> Whitening:
    """The dummy's 64 dimensions spread over 128; every cosine stays what it is."""
    axes, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(DIMENSION, DummyTextEncoder.dimension)))
    return Whitening(np.zeros(DummyTextEncoder.dimension, np.float32), axes.T.astype(np.float32))


def _past(items: int) -> pl.DataFrame:
    draw = np.random.default_rng(2)
    wanted = min(MOST_PAST_EVENTS, PAST_EVENTS_PER_ITEM * items)
    lengths = np.maximum(1, draw.poisson(SESSION_EVENTS, int(wanted / SESSION_EVENTS)))
    session = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    strays = draw.random(len(session)) >= 0.8
    home = np.repeat(draw.integers(FAMILIES, size=len(lengths)), lengths)
    family = np.where(strays, draw.integers(FAMILIES, size=len(session)), home)
    item = _members(PowerLaw(items // FAMILIES, ITEM_EXPONENT).draw(len(session), draw), family)
    columns = {
        "kind": pl.Series(["view"], dtype=pl.String).new_from_index(0, len(session)),
        "session_id": pl.Series([f"past-{n}" for n in session]),
        "time": PAST_FROM + 10_000 * session + 1000 * place,
        "item_id": pl.Series([f"i{n}" for n in item]),
        "user_id": pl.Series([None], dtype=pl.String).new_from_index(0, len(session)),
    }
    return pl.DataFrame(columns).sort("time", maintain_order=True)
