"""Tables of a shop of a few items and sessions, for the tests of what is fitted, saved and read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import polars as pl

from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index import fusion
from index.table_fitting import fit_tables
from index.tables import Tables, TableSettings
from index.vector_index import VectorIndex

START = 1_700_000_000_000
MINUTE = 60_000

ITEMS = pl.DataFrame(
    {
        "item_id": ["tea", "mug", "pot", "jam", "rug"],
        "title": ["Green tea", "Stoneware mug", "Stoneware pot", "Plum jam", "Wool rug"],
        "brand": ["Alpine", "Kiln", "Kiln", "Alpine", None],
        "category": ["Food > Tea", "Home > Kitchen", "Home > Kitchen", "Food > Jam", "Floor"],
        "attributes": [None, json.dumps({"colour": "blue"}), json.dumps({"colour": "blue"}), None, None],
    }
)
FACTS = pl.DataFrame(
    [("mug", "made_for", "tea"), ("rug", "also_bought", "jam")], schema=["head", "relation", "tail"], orient="row"
)
SESSIONS = ("tea mug pot", "tea mug", "jam tea mug", "pot mug jam")


def events(sessions: Iterable[str] = SESSIONS, users: Sequence[str | None] | None = None) -> pl.DataFrame:
    """Views: a session a text of item ids, one after the other, an event a minute; `users`: of each session."""
    rows = [
        (f"s{number}", item_id, START + (100 * number + place) * MINUTE, None if users is None else users[number])
        for number, session in enumerate(sessions)
        for place, item_id in enumerate(session.split())
    ]
    schema = {"session_id": pl.String, "item_id": pl.String, "time": pl.Int64, "user_id": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(kind=pl.lit("view"))


def fitted(
    sessions: Iterable[str] = SESSIONS,
    settings: TableSettings | None = None,
    *,
    users: Sequence[str | None] | None = None,
    items: pl.DataFrame = ITEMS,
    facts: pl.DataFrame = FACTS,
) -> Tables:
    """Tables of these sessions; text vectors of 64 numbers stay as they are."""
    whitening = Whitening.identity(DummyTextEncoder.dimension)
    return fit_tables(events(sessions, users), items, facts, whitening, settings or TableSettings())


def placed(tables: Tables, items: pl.DataFrame = ITEMS) -> VectorIndex:
    """An index with the vectors of the items."""
    index = VectorIndex(tables.vocabulary, tables.layout.dimension)
    item_ids = items["item_id"].to_list()
    codes = tables.vocabulary.codes(item_ids)
    texts = DummyTextEncoder().encode(items["title"].to_list())
    index.upsert(
        codes, fusion.assemble(texts, *tables.spaces(item_ids, texts), tables.counts.prior(codes), layout=tables.layout)
    )
    return index
