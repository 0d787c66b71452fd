"""The space of what comes next: a vector of each item, and the network whose outcome lies in the same space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from encoders.errors import EncoderError
from encoders.graph.facts import Fact
from encoders.packing import pack, unpack
from encoders.sequence.bert import BertSessionEncoder, BertWeights
from encoders.sequence.gru import GruSessionEncoder, GruWeights
from encoders.sequence.reading import ReadingSessionEncoder, TextWeights, reader_of
from encoders.sequence.unmet import Unmet
from encoders.session import PooledSessionEncoder, SessionEncoder, Vector
from encoders.text import TextEncoder

Weights = GruWeights | BertWeights | TextWeights
_WEIGHTS: dict[str, type[Weights]] = {"gru": GruWeights, "bert": BertWeights, "text": TextWeights}
_LEAST = 1e-12


class SequenceSpace:
    """Item vectors [text | free], of length 1: the first axes of the item's whitened text, and what training found.

    An item that training never saw has its text alone, or, where text and facts were trained along with the clicks,
    what they say of the rest. Read-only: any thread may call.
    """

    def __init__(
        self, item_ids: Sequence[str], free: Vector, text: int, weights: Weights, unmet: Unmet | None = None
    ) -> None:
        """
        Args:
            item_ids: each once.
            free: (n, free dimension), in their order.
            text: numbers that are the text's.
            unmet: what says the free numbers of other items; None: those are 0.

        Raises:
            ValueError: shapes do not fit.
        """
        weights.check()
        if free.ndim != 2 or len(free) != len(item_ids) or text + free.shape[1] != weights.width:
            raise ValueError(
                f"{len(item_ids)} items, free {free.shape}, text {text}, width {weights.width}: do not fit"
            )
        self.item_ids, self.text, self.weights, self.unmet = list(item_ids), text, weights, unmet
        self.free = np.ascontiguousarray(free, np.float32)
        self.dimension = weights.width
        self._rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        content = hashlib.blake2b(repr((text, self.free.shape)).encode(), digest_size=8)
        content.update("\n".join(self.item_ids).encode("utf-8", "surrogatepass"))
        for array in (self.free, *weights.tensors().values()):
            content.update(np.ascontiguousarray(array, np.float32).tobytes())
        for array in () if unmet is None else unmet.tensors().values():
            content.update(np.ascontiguousarray(array).tobytes())
        self.digest = content.hexdigest()
        """16 hex characters of items and numbers."""

    def vectors(self, item_ids: Sequence[str], texts: Vector, facts: Sequence[Sequence[Fact]] = ()) -> Vector:
        """(n, dimension), each of length 1; zeros where neither text nor training says anything.

        Args:
            texts: (n, whitened dimension), in their order.
            facts: of each; none: nothing is known of any.
        """
        rows = np.zeros((len(item_ids), self.dimension), np.float32)
        rows[:, : self.text] = first_axes(texts, self.text)
        others = []
        for place, item_id in enumerate(item_ids):
            row = self._rows.get(item_id)
            if row is not None:
                rows[place, self.text :] = self.free[row]
            else:
                others.append(place)
        if self.unmet is not None and others:
            rows[others, self.text :] = self.unmet.free(texts[others], [facts[at] if facts else () for at in others])
        lengths = np.sqrt(np.add.reduce(np.square(rows, dtype=np.float64), axis=1, keepdims=True))
        return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > _LEAST, casting="same_kind")

    def encoder(self, pooled: int, texts: TextEncoder | None = None) -> SessionEncoder:
        """The session encoder whose vectors are [pooled | sequence].

        Args:
            pooled: width of the blocks before. texts: what a network that reads reads with.

        Raises:
            EncoderError: the network reads, and `texts` is nothing to read with.
        """
        match self.weights:
            case GruWeights():
                return GruSessionEncoder(PooledSessionEncoder(pooled), self.weights)
            case BertWeights():
                return BertSessionEncoder(PooledSessionEncoder(pooled), self.weights)
            case TextWeights():
                return ReadingSessionEncoder(PooledSessionEncoder(pooled), self.weights, reader_of(texts))

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        content, ends = pack(self.item_ids)
        kind = self.weights.kind
        tensors = {"item_ids": content, "item_id_ends": ends, "free": self.free, "text": np.array([self.text])}
        tensors |= {} if self.unmet is None else self.unmet.tensors()
        tensors |= {f"{kind}.{name}": tensor for name, tensor in self.weights.tensors().items()}
        save_file(tensors, path, metadata={"network": kind})

    @classmethod
    def load(cls, path: Path) -> SequenceSpace:
        """Reads what `save` wrote; a file that does not say its network has a GRU, as all had before there were others.

        Raises:
            EncoderError: the file is not there or not whole, or has a network that this release does not know.
        """
        try:
            tensors = load_file(path)
            with safe_open(path, "numpy") as file:
                kind = (file.metadata() or {}).get("network", "gru")
            if kind not in _WEIGHTS:
                raise ValueError(f"network {kind!r}, expected {', '.join(_WEIGHTS)}")
            prefix = f"{kind}."
            weights = _WEIGHTS[kind].of(
                {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            )
            ids = unpack(tensors["item_ids"], tensors["item_id_ends"])
            return cls(ids, tensors["free"], int(tensors["text"][0]), weights, Unmet.of(tensors))
        except (OSError, SafetensorError, KeyError, IndexError, ValueError) as exc:
            raise EncoderError(f"{path}: no file of a sequence network ({exc}); train the model anew") from exc


def first_axes(texts: Vector, count: int) -> Vector:
    """The first `count` axes of whitened texts, (n, count), each row brought to length 1; zeros stay zeros, and axes
    that the texts do not have are 0."""
    found = np.zeros((len(texts), count), np.float32)
    axes = texts[:, :count]
    lengths = np.sqrt(np.add.reduce(np.square(axes, dtype=np.float64), axis=1, keepdims=True))
    np.divide(axes, lengths, out=found[:, : axes.shape[1]], where=lengths > _LEAST, casting="same_kind")
    return found
