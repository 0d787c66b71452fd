"""Item vectors from behaviour: items that are met in like company are near, whatever they are.

Where a count knows a pair or does not, a vector also knows items that never met but keep the same company. How they
come about: `encoders.behaviour_svd`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from encoders.errors import EncoderError
from encoders.packing import pack, unpack

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BehaviourSettings:
    """How items that meet become vectors. The defaults are the best of a grid on Amazon Beauty's validation items."""

    dimension: int = 128
    """Numbers of a vector."""
    most: int = 20_000
    """Items that get a vector, those that were seen most: the time that vectors take grows faster than their number."""
    window: int = 3
    """Two events of a session at most this many places apart meet; a meeting weighs 1 / distance."""
    shift: float = 15.0
    """A pair has to meet this many times as often as chance would have it; the number of negative samples in
    word2vec's words."""
    smoothing: float = 0.75
    """Exponent of an item's frequency in what chance would have: below 1, rare items are less surprising."""
    exponent: float = 1.0
    """Of the singular values: 0 makes all axes equally wide, 1 keeps their widths."""
    seed: int = 0
    """Of the randomised SVD."""

    def __post_init__(self) -> None:
        if self.dimension < 1 or self.window < 1 or self.shift <= 0 or not 0 < self.smoothing <= 1 or self.exponent < 0:
            raise ValueError(
                f"{self}: expected dimension and window of at least 1, shift above 0, "
                "smoothing above 0 and at most 1, exponent of at least 0"
            )


class BehaviourVectors:
    """A vector of each item that the training window has seen with others. Read-only: any thread may call."""

    def __init__(self, item_ids: Sequence[str], matrix: Vectors) -> None:
        """
        Args:
            item_ids: each once.
            matrix: float32 (n, dimension), in their order; each row of length 1 or zero.
        """
        if matrix.ndim != 2 or len(item_ids) != len(matrix):
            raise ValueError(f"{len(item_ids)} items, matrix {matrix.shape}: expected one row an item")
        self.item_ids = list(item_ids)
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        self.dimension = self.matrix.shape[1]
        self._rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        if len(self._rows) != len(self.item_ids):
            raise ValueError(f"{len(self.item_ids)} item ids, {len(self._rows)} distinct: expected each once")
        content = hashlib.blake2b(repr(self.matrix.shape).encode(), digest_size=8)
        content.update("\n".join(self.item_ids).encode("utf-8", "surrogatepass"))
        content.update(self.matrix.tobytes())
        self.digest = content.hexdigest()
        """16 hex characters of items and numbers."""

    def vectors(self, item_ids: Sequence[str]) -> Vectors:
        """float32 (n, dimension), in their order, each of length 1; zeros for an item that was never seen."""
        found = np.zeros((len(item_ids), self.dimension), dtype=np.float32)
        for place, item_id in enumerate(item_ids):
            row = self._rows.get(item_id)
            if row is not None:
                found[place] = self.matrix[row]
        return found

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        content, ends = pack(self.item_ids)
        save_file({"matrix": self.matrix, "item_ids": content, "item_id_ends": ends}, path)

    @classmethod
    def load(cls, path: Path) -> BehaviourVectors:
        """Reads what `save` wrote.

        Raises:
            EncoderError: the file is not there or not whole.
        """
        try:
            tensors = load_file(path)
            return cls(unpack(tensors["item_ids"], tensors["item_id_ends"]), tensors["matrix"])
        except (OSError, SafetensorError, KeyError, ValueError) as exc:
            raise EncoderError(f"{path}: no file of behaviour vectors ({exc}); build the model folder anew") from exc
