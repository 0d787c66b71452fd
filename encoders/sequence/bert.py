"""A session by a causal BERT over its items' vectors, in torch: what is likely next, as a direction in their space.

Imports torch and transformers only once such a network is wanted: a worker that serves a GRU needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoders.sequence.beside import BesidePooled
from encoders.sequence.gru import features
from encoders.sequence.settings import EXTRAS, LONGEST, Network
from encoders.session import PooledSessionEncoder, Vector

LAYERS, HEADS = 2, 4
AT_ONCE = 256
"""Sessions of one forward pass."""
_OURS = ("into.weight", "into.bias", "out.weight", "out.bias", "skip")


def bert_model(hidden: int, dropout: float = 0.0) -> Any:
    """A BERT that sees what came before each input and nothing after it, over inputs of `hidden` numbers."""
    from transformers import BertConfig, BertModel  # noqa: PLC0415  takes seconds, see the module

    config = BertConfig(
        vocab_size=1,
        hidden_size=hidden,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * hidden,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=LONGEST,
        is_decoder=True,
        use_cache=False,
    )
    return BertModel(config, add_pooling_layer=False)


@dataclass(frozen=True, slots=True)
class BertWeights:
    """All float32, by their names in PyTorch: the way in, the BERT (`bert.`), the way out, and `skip`."""

    arrays: Mapping[str, Vector]

    @property
    def kind(self) -> Network:
        """As the settings call it."""
        return "bert"

    @property
    def width(self) -> int:
        """Of an item's vector."""
        return len(self.arrays["out.weight"])

    @property
    def hidden(self) -> int:
        """Numbers that the BERT has of each input."""
        return int(self.arrays["out.weight"].shape[1])

    def check(self) -> None:
        """Nothing, unless the arrays do not fit together.

        Raises:
            ValueError: they do not.
        """
        if "out.weight" not in self.arrays or self.arrays["out.weight"].ndim != 2:
            raise ValueError("weights of a BERT without out.weight, (width, hidden)")
        expected = _shapes(self.width, self.hidden)
        found = {name: array.shape for name, array in self.arrays.items()}
        if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
            name = wrong[0]
            raise ValueError(f"weights of a BERT with {name} of {found.get(name)}, expected {expected.get(name)}")
        if self.hidden % HEADS or not all(np.isfinite(array).all() for array in self.arrays.values()):
            raise ValueError(f"weights of a BERT of {self.hidden} numbers, expected some {HEADS} times, all finite")

    def tensors(self) -> dict[str, Vector]:
        """For a safetensors file."""
        return dict(self.arrays)

    @classmethod
    def of(cls, tensors: Mapping[str, Vector]) -> BertWeights:
        """What `tensors` gave."""
        return cls(dict(tensors))


def _shapes(width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Of all arrays, by name."""
    wide = 2 * hidden
    rows = {"word": 1, "position": LONGEST, "token_type": 2}
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (n, hidden) for name, n in rows.items()
    }
    linear = {f"attention.self.{name}": (hidden, hidden) for name in ("query", "key", "value")}
    linear |= {"attention.output.dense": (hidden, hidden), "intermediate.dense": (wide, hidden)}
    linear |= {"output.dense": (hidden, wide)}
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for name, shape in linear.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    norms = ["embeddings"]
    norms += [f"encoder.layer.{n}.{name}" for n in range(LAYERS) for name in ("attention.output", "output")]
    shapes |= {f"{name}.LayerNorm.{part}": (hidden,) for name in norms for part in ("weight", "bias")}
    ours = ((hidden, width + EXTRAS), (hidden,), (width, hidden), (width,), (1,))
    return {f"bert.{name}": shape for name, shape in shapes.items()} | dict(zip(_OURS, ours, strict=True))


class BertSessionEncoder(BesidePooled):
    """`SessionEncoder` of [pooled | sequence], on CUDA where there is one. An item without a vector in the sequence
    space is passed over.

    Its state holds the last LONGEST inputs, about 11 KB; so many events are looked at, as many as a session keeps.
    Vectors of many states are made in one forward pass.
    """

    def __init__(self, pooled: PooledSessionEncoder, weights: BertWeights) -> None:
        """
        Args:
            pooled: of the blocks before the sequence's.

        Raises:
            ValueError: the weights do not fit together.
        """
        import torch  # noqa: PLC0415  see the module

        weights.check()
        self._row = weights.width + EXTRAS
        super().__init__(pooled, 1 + LONGEST * self._row, weights.width)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._width = weights.width
        tensors = {name: torch.from_numpy(array.copy()).to(self.device) for name, array in weights.arrays.items()}
        self._ours = {name: tensors.pop(name) for name in _OURS}
        self._model = bert_model(weights.hidden)
        self._model.load_state_dict({name.removeprefix("bert."): tensor for name, tensor in tensors.items()})
        self._model.to(self.device).eval()

    def stepped(
        self, state: Vector, items: Vector, kinds: Sequence[str], gaps_ms: Sequence[int], _texts: Sequence[str]
    ) -> Vector:
        told = features(kinds, gaps_ms)
        states = np.empty((len(items), len(state)), np.float32)
        before = state
        for after, item, its in zip(states, items, told, strict=True):
            after[:] = before
            if item.any():
                count, inputs = int(before[0]), after[1:].reshape(LONGEST, self._row)
                if count == LONGEST:
                    inputs[:-1] = before[1 + self._row :].reshape(LONGEST - 1, self._row)
                    count -= 1
                inputs[count, : self._width], inputs[count, self._width :] = item, its
                after[0] = count + 1
            before = after
        return states

    def outcome(self, states: Vector) -> Vector:
        counts = states[:, 0].astype(np.int64)
        found = np.zeros((len(states), self._width), np.float32)
        known = np.flatnonzero(counts)
        for start in range(0, len(known), AT_ONCE):
            part = known[start : start + AT_ONCE]
            longest = int(counts[part].max())
            inputs = states[part, 1:].reshape(len(part), LONGEST, self._row)[:, :longest]
            found[part] = self._forward(np.ascontiguousarray(inputs), counts[part])
        return found

    def _forward(self, inputs: Vector, counts: Any) -> Vector:
        """(b, width) after the last input of each: inputs (b, t, width + EXTRAS), of which the first `counts` are
        there."""
        import torch  # noqa: PLC0415  see the module
        from torch.nn import functional  # noqa: PLC0415  likewise

        with torch.inference_mode():
            ours = self._ours
            seen = torch.from_numpy(inputs).to(self.device)  # (b, t, width + EXTRAS)
            sizes = torch.from_numpy(counts).to(self.device)  # (b,)
            there = torch.arange(seen.shape[1], device=self.device)[None, :] < sizes[:, None]  # (b, t)
            into = functional.linear(seen, ours["into.weight"], ours["into.bias"])  # (b, t, hidden)
            hidden = self._model(inputs_embeds=into, attention_mask=there.long()).last_hidden_state
            rows = torch.arange(len(seen), device=self.device)
            newest = seen[rows, sizes - 1, : self._width]  # (b, width)
            out = functional.linear(hidden[rows, sizes - 1], ours["out.weight"], ours["out.bias"])
            told: Vector = functional.normalize(out + ours["skip"] * newest, dim=-1).cpu().numpy()
        return told
