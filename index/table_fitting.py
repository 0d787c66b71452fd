"""Tables of a past: see `index.tables`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
from xxhash import xxh3_64_digest

from encoders.behaviour import BehaviourSettings, BehaviourVectors
from encoders.behaviour_svd import fit_behaviour, meetings
from encoders.graph.adjacency import Graph
from encoders.graph.facts import behaviour_facts, table_facts
from encoders.graph.kge import fit_kge
from encoders.graph.svd import fit_svd
from encoders.whitening import Whitening
from index.cooccurrence import CoOccurrence
from index.session_knn import SessionKnn
from index.tables import Note, Tables, TableSettings
from index.vocabulary import Codes, Vocabulary


def fit_tables(
    events: pl.DataFrame,
    items: pl.DataFrame,
    facts: pl.DataFrame,
    whitening: Whitening,
    settings: TableSettings,
    note: Note = lambda _stage, _done, _total: None,
) -> Tables:
    """Tables of a past.

    Args:
        events: kind, session_id, time, item_id, user_id, in time order; all of kinds that teach.
        items: item_id, brand, category, attributes (JSON).
        facts: head, relation, tail.
    """
    vocabulary = Vocabulary(items["item_id"])
    codes = vocabulary.add_all(events["item_id"])
    sessions, times = events["session_id"], events["time"]
    visitors = events.select(pl.coalesce("user_id", "session_id")).to_series()
    note("counts", 0, 1)
    counts = CoOccurrence.fit(vocabulary, sessions, codes, times, visitors, settings.counts)
    note("counts", 1, 1)
    note("neighbours", 0, 1)
    knn = SessionKnn.fit(vocabulary, _session_tags(sessions), codes, times, settings.knn)
    note("neighbours", 1, 1)
    note("graph", 0, 1)
    graph = Graph()
    for item_id, brand, category, attributes in _described(items):
        graph.upsert_item(item_id, brand, category, json.loads(attributes) if attributes else None)
    graph.extend(table_facts(facts, settings.relations), "knowledge")
    graph.extend(behaviour_facts(_pairs(counts, vocabulary, items["item_id"])), "behaviour")
    tables = with_graph(Tables(settings, vocabulary, counts, knn, graph, whitening), items["item_id"])
    note("graph", 1, 1)
    note("behaviour", 0, 1)
    behaviour = _behaviour(sessions, codes, vocabulary, settings.behaviour)
    note("behaviour", 1, 1)
    return replace(tables, behaviour=behaviour)


def with_graph(tables: Tables, item_ids: pl.Series) -> Tables:
    """Tables with vectors of these items' facts, made as their settings say.

    By KGE not from two threads at once: see `fit_kge`.
    """
    method = tables.settings.graph
    if method == "none":
        return tables
    known = {item_id: tables.graph.facts(item_id) for item_id in item_ids}
    return replace(tables, graph_vectors=fit_kge(known, tables.graph.others()) if method == "kge" else fit_svd(known))


def _described(items: pl.DataFrame) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    """Id, brand, category and attributes (JSON) of each item; a column that is not there says nothing."""
    columns = [
        pl.col(name) if name in items.columns else pl.lit(None, pl.String).alias(name)
        for name in ("item_id", "brand", "category", "attributes")
    ]
    yield from items.select(columns).iter_rows()


def _behaviour(
    sessions: pl.Series, codes: Codes, vocabulary: Vocabulary, settings: BehaviourSettings
) -> BehaviourVectors:
    """Vectors of the items that were seen most; of equals, those whose ids come first."""
    seen = np.bincount(codes, minlength=len(vocabulary))
    ids = np.array(vocabulary.all(), dtype=object)
    chosen = np.lexsort((ids, -seen))[: settings.most]
    row = np.full(len(vocabulary), -1, np.int32)
    row[chosen] = np.arange(len(chosen))
    numbers = sessions.rank("dense").cast(pl.Int32).to_numpy()
    met = meetings(numbers, row[codes], len(chosen), settings.window)
    return fit_behaviour(ids[chosen].tolist(), met, settings)


def _pairs(counts: CoOccurrence, vocabulary: Vocabulary, of: pl.Series) -> pl.DataFrame:
    """The pairs of the counts that begin with an item of `of`: before and after (item ids), weight, visitors."""
    pairs = counts.pairs(vocabulary.codes(of.to_list()))
    ids = pl.Series(vocabulary.all(), dtype=pl.String)
    return pairs.select(
        before=ids.gather(pairs["before"]),
        after=ids.gather(pairs["after"]),
        weight="weight",
        visitors=1 + (pl.col("low") != pl.col("high")),
    )


def _session_tags(sessions: pl.Series) -> pl.Series:
    """64 bits, signed, that stand for each session."""
    distinct = sessions.unique()
    tags = [int.from_bytes(xxh3_64_digest(session.encode()), "big", signed=True) for session in distinct]
    return sessions.replace_strict(distinct, tags, return_dtype=pl.Int64)
