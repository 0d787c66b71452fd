"""What a shop's past teaches: counts, session neighbours, facts, and the spaces in which items have vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from xxhash import xxh3_64_digest

from encoders.behaviour import BehaviourSettings, BehaviourVectors, meetings
from encoders.graph.adjacency import Graph
from encoders.graph.facts import Relations, behaviour_facts, table_facts
from encoders.graph.kge import fit_kge
from encoders.graph.svd import fit_svd
from encoders.graph.vectors import GraphVectors
from encoders.whitening import Whitening
from index.co_settings import CoSettings
from index.cooccurrence import CoOccurrence
from index.fusion import LAYOUT, Layout
from index.session_knn import KnnSettings, SessionKnn
from index.vocabulary import Codes, Vocabulary

Vectors = NDArray[np.float32]
GraphMethod = Literal["auto", "svd", "kge", "none"]
Note = Callable[[str, int, int], None]
"""Hears of the stage, what is done of it, and the total."""

WHITENING = "whitening.safetensors"
COUNTS = "tables.parquet"
SESSIONS = "sessions.parquet"
FACTS = "facts.parquet"
GRAPH = "graph.safetensors"
BEHAVIOUR = "behaviour.safetensors"


@dataclass(frozen=True, slots=True)
class TableSettings:
    """How tables are fitted."""

    counts: CoSettings = field(default_factory=CoSettings)
    knn: KnnSettings = field(default_factory=KnnSettings)
    behaviour: BehaviourSettings = field(default_factory=BehaviourSettings)
    graph: GraphMethod = "svd"
    """How vectors are made of facts; `auto`: not chosen yet, meanwhile by SVD."""
    relations: Relations = "safe"
    """`safe`: without relations that may know what came after the training window."""

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> TableSettings:
        """What `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is nothing of the kind.
        """
        return cls(
            CoSettings(**told["counts"]),
            KnnSettings(**told["knn"]),
            BehaviourSettings(**told["behaviour"]),
            told["graph"],
            told["relations"],
        )


@dataclass(frozen=True, slots=True)
class Tables:
    """All of it, over one numbering of items. Counts, neighbours and facts go on learning; the spaces stay."""

    settings: TableSettings
    vocabulary: Vocabulary
    counts: CoOccurrence
    knn: SessionKnn
    graph: Graph
    whitening: Whitening
    graph_vectors: GraphVectors | None = None
    """None: facts give reasons, and no vectors."""
    behaviour: BehaviourVectors | None = None

    @classmethod
    def empty(cls, text_dimension: int) -> Tables:
        """Nothing is known yet; text vectors stay as they are."""
        settings, vocabulary = TableSettings(graph="none"), Vocabulary()
        return cls(
            settings,
            vocabulary,
            CoOccurrence(vocabulary, settings.counts),
            SessionKnn(vocabulary, settings.knn),
            Graph(),
            Whitening.identity(text_dimension),
        )

    @classmethod
    def fit(
        cls,
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
        known = {item_id: graph.facts(item_id) for item_id in items["item_id"]}
        graph_vectors = None
        if settings.graph in ("svd", "auto"):
            graph_vectors = fit_svd(known)
        elif settings.graph == "kge":
            graph_vectors = fit_kge(known, graph.others())
        note("graph", 1, 1)
        note("behaviour", 0, 1)
        behaviour = _behaviour(sessions, codes, vocabulary, settings.behaviour)
        note("behaviour", 1, 1)
        return cls(settings, vocabulary, counts, knn, graph, whitening, graph_vectors, behaviour)

    @property
    def layout(self) -> Layout:
        """Of the item vectors."""
        return Layout(
            text=self.whitening.dimension,
            graph=LAYOUT.graph if self.graph_vectors is None else self.graph_vectors.dimension,
            behaviour=LAYOUT.behaviour if self.behaviour is None else self.behaviour.dimension,
        )

    @property
    def digest(self) -> str:
        """Names the vector spaces: 16 hex characters."""
        parts = [self.whitening.digest]
        parts += [space.digest for space in (self.graph_vectors, self.behaviour) if space is not None]
        return hashlib.blake2b(" ".join(parts).encode(), digest_size=8).hexdigest()

    def spaces(self, item_ids: Sequence[str]) -> tuple[Vectors | None, Vectors | None]:
        """(n, width) of graph and of behaviour, of items as they are known now; None: there is no such space."""
        graph = None
        if self.graph_vectors is not None:
            graph = self.graph_vectors.vectors([self.graph.facts(item_id) for item_id in item_ids])
        return graph, None if self.behaviour is None else self.behaviour.vectors(item_ids)

    def save(self, folder: Path) -> None:
        """Writes its files into a folder that is there."""
        self.whitening.save(folder / WHITENING)
        self.counts.to_frame().write_parquet(folder / COUNTS)
        self.knn.to_frame().write_parquet(folder / SESSIONS)
        self.graph.to_frame().write_parquet(folder / FACTS)
        if self.graph_vectors is not None:
            self.graph_vectors.save(folder / GRAPH)
        if self.behaviour is not None:
            self.behaviour.save(folder / BEHAVIOUR)

    @classmethod
    def load(cls, folder: Path, items: pl.DataFrame, settings: TableSettings) -> Tables:
        """Reads what `save` wrote; `items`: those that were known then.

        Raises:
            EncoderError, OSError, ValueError, polars.exceptions.PolarsError: a file is not there or not whole.
        """
        vocabulary = Vocabulary(items["item_id"])
        graph = Graph.from_frame(pl.read_parquet(folder / FACTS, glob=False), items["item_id"])
        return cls(
            settings,
            vocabulary,
            CoOccurrence.from_frame(vocabulary, pl.read_parquet(folder / COUNTS, glob=False), settings.counts),
            SessionKnn.from_frame(vocabulary, pl.read_parquet(folder / SESSIONS, glob=False), settings.knn),
            graph,
            Whitening.load(folder / WHITENING),
            GraphVectors.load(folder / GRAPH) if (folder / GRAPH).is_file() else None,
            BehaviourVectors.load(folder / BEHAVIOUR) if (folder / BEHAVIOUR).is_file() else None,
        )


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
    return BehaviourVectors.fit(ids[chosen].tolist(), met, settings)


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
