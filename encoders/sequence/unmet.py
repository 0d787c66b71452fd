"""Items that no session had: what the text and the facts of an item say of the numbers that training finds from
sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.graph.facts import Fact
from encoders.graph.vectors import GraphVectors
from encoders.packing import pack, unpack
from encoders.session import Vector

NAME = "joint"
"""Of the graph vectors, and of the tensors."""
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Unmet:
    """What joint training learned of text and facts. Read-only: any thread may call."""

    text: Vector
    """(whitened dimension, free): turns a text to a direction."""
    facts: GraphVectors
    """Adds up facts to a direction."""
    shares: Vector
    """(3,): of the text's direction and of the facts', as least squares has them over items that sessions had; and how
    long the free numbers of these are in the mean. What is foretold is brought to that length: least squares would
    make it as short as it is unsure, and an item of few free numbers is never found among others."""

    def free(self, texts: Vector, facts: Sequence[Sequence[Fact]]) -> Vector:
        """(n, free) of n items, each row to the bit as if it had come alone; zeros where neither says anything.

        Args:
            texts: (n, whitened dimension). facts: of each item.
        """
        said, known = self.said(texts), self.facts.vectors(facts)
        return _to_length(self.shares[0] * said + self.shares[1] * known, float(self.shares[2]))

    def said(self, texts: Vector) -> Vector:
        """(n, free): the direction of each text, of length 1."""
        rows: Vector = np.zeros((len(texts), self.text.shape[1]), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = text @ self.text  # one by one: a product of matrices is not the same to the bit
        return _to_length(rows, 1.0)

    def fitted(self, texts: Vector, facts: Sequence[Sequence[Fact]], free: Vector) -> Unmet:
        """With the shares that come nearest to these items' free numbers, (n, free)."""
        said = np.stack([self.said(texts), self.facts.vectors(facts)]).astype(np.float64)  # (2, n, free)
        both = np.einsum("anf,bnf->ab", said, said) + np.eye(2)  # one item's worth of doubt
        shares = np.maximum(np.linalg.solve(both, np.einsum("anf,nf->a", said, free.astype(np.float64))), 0)
        length = np.linalg.norm(free, axis=1).mean()
        return Unmet(self.text, self.facts, np.array([*shares, length], np.float32))

    def tensors(self) -> dict[str, Vector]:
        """For a safetensors file."""
        content, ends = pack(self.facts.keys)
        told = {"text": self.text, "facts": self.facts.rows, "keys": content, "key_ends": ends, "shares": self.shares}
        return {f"{NAME}.{name}": tensor for name, tensor in told.items()}  # type: ignore[misc]

    @classmethod
    def of(cls, tensors: Mapping[str, Vector]) -> Unmet | None:
        """Of a file's tensors; None: it has none of it.

        Raises:
            KeyError, ValueError: they are not whole.
        """
        its = {name.removeprefix(f"{NAME}."): tensor for name, tensor in tensors.items() if name.startswith(f"{NAME}.")}
        if not its:
            return None
        facts = GraphVectors(NAME, unpack(its["keys"], its["key_ends"]), its["facts"])  # type: ignore[arg-type]
        free = its["facts"].shape[1]
        if its["text"].ndim != 2 or its["text"].shape[1] != free or its["shares"].shape != (3,):
            raise ValueError(
                f"joint: text {its['text'].shape}, shares {its['shares'].shape}: expected (n, {free}), (3,)"
            )
        return cls(its["text"], facts, its["shares"])


def _to_length(rows: Vector, length: float) -> Vector:
    """Each row brought to this length; zeros stay zeros."""
    lengths = np.sqrt(np.add.reduce(np.square(rows, dtype=np.float64), axis=1, keepdims=True))
    scale = np.divide(length, lengths, out=np.zeros_like(lengths), where=lengths > _LEAST)
    scaled: Vector = (rows * scale).astype(np.float32)
    return scaled
