"""What a shop's past teaches: counts, session neighbours, facts, and the spaces in which items have vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from encoders.behaviour import BehaviourSettings, BehaviourVectors
from encoders.graph.adjacency import Graph
from encoders.graph.facts import Relations
from encoders.graph.vectors import GraphVectors
from encoders.sequence.settings import SequenceSettings
from encoders.sequence.space import SequenceSpace
from encoders.session import PooledSessionEncoder, SessionEncoder
from encoders.text import TextEncoder
from encoders.whitening import Whitening
from index.co_settings import CoSettings
from index.cooccurrence import CoOccurrence
from index.fusion import LAYOUT, Layout
from index.knn_settings import KnnSettings
from index.session_knn import SessionKnn
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
SEQUENCE = "sequence.safetensors"


class Spaces(NamedTuple):
    """Blocks of item vectors, (n, width) each; None: there is no such space."""

    graph: Vectors | None
    behaviour: Vectors | None
    sequence: Vectors | None


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
    sequence: SequenceSettings | None = None
    """How a network is trained on what comes next; None: none is."""

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
            None if told["sequence"] is None else SequenceSettings(**told["sequence"]),
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
    sequence: SequenceSpace | None = None
    """None: no network was trained."""

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

    @property
    def layout(self) -> Layout:
        """Of the item vectors."""
        return Layout(
            text=self.whitening.dimension,
            graph=LAYOUT.graph if self.graph_vectors is None else self.graph_vectors.dimension,
            behaviour=LAYOUT.behaviour if self.behaviour is None else self.behaviour.dimension,
            sequence=0 if self.sequence is None else self.sequence.dimension,
        )

    @property
    def met(self) -> Codes | None:
        """The items that the network learned of; None: there is none, or it says itself where others lie."""
        if self.sequence is None or self.sequence.unmet is not None:
            return None
        codes = self.vocabulary.codes(self.sequence.item_ids)
        return codes[codes >= 0]

    @property
    def digest(self) -> str:
        """Names the vector spaces: 16 hex characters."""
        parts = [self.whitening.digest]
        parts += [space.digest for space in (self.graph_vectors, self.behaviour, self.sequence) if space is not None]
        return hashlib.blake2b(" ".join(parts).encode(), digest_size=8).hexdigest()

    def session_encoder(self, texts: TextEncoder | None = None) -> SessionEncoder:
        """Of sessions over the vectors of these spaces.

        Args:
            texts: what a network that reads sessions' words reads with; others need none.

        Raises:
            EncoderError: the network reads, and `texts` is nothing to read with.
        """
        if self.sequence is None:
            return PooledSessionEncoder(self.layout.session)
        return self.sequence.encoder(self.layout.session - self.layout.sequence, texts)

    def spaces(self, item_ids: Sequence[str], texts: Vectors) -> Spaces:
        """(n, width) of graph, behaviour and sequence, of items as they are known now; None: there is no such space.

        Args:
            texts: (n, whitened dimension), in their order.
        """
        facts = [self.graph.facts(item_id) for item_id in item_ids]
        return Spaces(
            None if self.graph_vectors is None else self.graph_vectors.vectors(facts),
            None if self.behaviour is None else self.behaviour.vectors(item_ids),
            None if self.sequence is None else self.sequence.vectors(item_ids, texts, facts),
        )

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
        if self.sequence is not None:
            self.sequence.save(folder / SEQUENCE)

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
            SequenceSpace.load(folder / SEQUENCE) if (folder / SEQUENCE).is_file() else None,
        )
