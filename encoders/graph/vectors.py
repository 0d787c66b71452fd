"""Item vectors from facts: the sum of what each fact says, to length 1.

Whatever fits the numbers (`encoders.graph.svd`, `encoders.graph.kge`), a vector is a function of an item's facts at
the time: a new item, or one whose facts have changed, has its vector at once and without a rebuild.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from encoders.errors import EncoderError
from encoders.graph.facts import SEPARATOR, Fact, entity
from encoders.packing import pack, unpack

Vectors = NDArray[np.float32]

ITSELF = "itself"
"""Relation of an item to itself: what it is as the other end of facts."""


class GraphVectors:
    """What each fact adds to the vector of an item. Read-only: any thread may call."""

    def __init__(self, method: str, keys: Sequence[str], rows: Vectors) -> None:
        """
        Args:
            method: what fitted the numbers, such as `svd`.
            keys: of facts (`feature`), each once.
            rows: float32 (n, dimension): what each adds, its weight included.
        """
        if rows.ndim != 2 or len(keys) != len(rows):
            raise ValueError(f"{len(keys)} keys, rows {rows.shape}: expected one row a key")
        self.method = method
        self.keys = list(keys)
        self.rows = np.ascontiguousarray(rows, dtype=np.float32)
        self.dimension = self.rows.shape[1]
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        if len(self._row_of) != len(self.keys):
            raise ValueError(f"{len(self.keys)} keys, {len(self._row_of)} distinct: expected each once")
        content = hashlib.blake2b(f"{method} {self.rows.shape}".encode(), digest_size=8)
        content.update("\n".join(self.keys).encode("utf-8", "surrogatepass"))
        content.update(self.rows.tobytes())
        self.digest = content.hexdigest()
        """16 hex characters of method, keys and numbers."""

    def vector(self, facts: Iterable[Fact]) -> Vectors:
        """float32 (dimension,) of length 1, of an item with these facts, in any order; zeros where none of them was
        met in fitting."""
        asked = features(facts)
        known = sorted(row for key in asked if (row := self._row_of.get(key)) is not None)
        total: NDArray[np.float64] = self.rows[known].sum(axis=0, dtype=np.float64)  # (dimension,)
        length = float(np.sqrt((total * total).sum()))
        return (total / length if length > 1e-9 else np.zeros_like(total)).astype(np.float32)

    def vectors(self, facts: Sequence[Iterable[Fact]]) -> Vectors:
        """float32 (n, dimension): `vector` of each item, to the bit."""
        found = np.zeros((len(facts), self.dimension), dtype=np.float32)
        for row, its in zip(found, facts, strict=True):
            row[:] = self.vector(its)
        return found

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        content, ends = pack(self.keys)
        save_file({"rows": self.rows, "keys": content, "key_ends": ends}, path, metadata={"method": self.method})

    @classmethod
    def load(cls, path: Path) -> GraphVectors:
        """Reads what `save` wrote.

        Raises:
            EncoderError: the file is not there or not whole.
        """
        try:
            tensors = load_file(path)
            with safe_open(path, "numpy") as file:
                method = file.metadata()["method"]
            return cls(method, unpack(tensors["keys"], tensors["key_ends"]), tensors["rows"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as exc:
            raise EncoderError(f"{path}: no file of graph vectors ({exc}); build the model folder anew") from exc


def feature(fact: Fact) -> str:
    """The key of what a fact says of its head: relation and other end.

    >>> feature(Fact("i1", "brand", "OPI")) == feature(Fact("i2", "Brand", "brand:opi"))
    True
    """
    return f"{fact.relation.casefold()}{SEPARATOR}{entity(fact.relation, fact.tail)}"


def features(facts: Iterable[Fact]) -> set[str]:
    """The keys of all facts, and of what each head is itself."""
    keys = set()
    for fact in facts:
        keys.add(feature(fact))
        keys.add(f"{ITSELF}{SEPARATOR}{fact.head}")
    return keys


def shuffled(vectors: Vectors, seed: int) -> Vectors:
    """The control: the same vectors, each with another item. What it still adds is not what the graph knows.

    Rows of zeros stay where they are, so that the control knows as many items.
    """
    known = np.flatnonzero(vectors.any(axis=1))
    mixed = vectors.copy()
    mixed[known] = vectors[np.random.default_rng(seed).permutation(known)]
    return mixed
