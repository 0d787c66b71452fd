"""How fast a device runs a BERT, beside what the device can do at most: measured, both, in the same minute.

Weights are drawn by chance, for only the shape matters: how long a product takes does not depend on its numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from encoders.errors import EncoderError


@dataclass(frozen=True, slots=True)
class Shape:
    """A BERT's."""

    layers: int
    width: int
    heads: int
    inner: int

    def flops(self, tokens: int) -> float:
        """Multiplications and additions of one sequence's forward pass, without the embeddings and what is linear in
        the width: of each layer four projections, two products of the feed-forward part, and two of the attention."""
        return self.layers * tokens * (8.0 * self.width**2 + 4.0 * self.width * self.inner + 4.0 * tokens * self.width)


SHAPES = {"MiniLM-L6": Shape(6, 384, 12, 1536), "BERT-base": Shape(12, 768, 12, 3072)}


@dataclass(frozen=True, slots=True)
class Peak:
    """What a device can do, as measured."""

    tflops_bf16: float
    """Of one large product of square matrices."""
    memory_gb_per_s: float
    """Bytes read in one pass over a large tensor."""


def why_no_gpu() -> str | None:
    """Why nothing can be measured on a GPU here; none: it can."""
    import torch  # noqa: PLC0415  takes a second, and only those who measure need it

    return None if torch.cuda.is_available() else "torch sees no GPU here"


def peak(device: str, *, side: int = 8192, numbers: int = 1 << 30, seconds: float = 2.0) -> Peak:
    """What `device` can do.

    Args:
        side: of the matrices.
        numbers: of the tensor, two bytes each.
        seconds: of each measurement, at least.
    """
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        left = torch.randn(side, side, device=device, dtype=torch.bfloat16)
        product = _fastest(lambda: left @ left, device, seconds)
        read = torch.ones(numbers, device=device, dtype=torch.bfloat16)
        once = _fastest(lambda: read.view(torch.int16).max(), device, seconds)
    return Peak(2.0 * side**3 / product / 1e12, 2.0 * numbers / once / 1e9)


def sequences_per_s(shape: Shape, length: int, device: str, *, batch: int = 256, seconds: float = 2.0) -> float:
    """Sequences a second through a BERT of this shape, in bf16, all of one length.

    Raises:
        EncoderError: the device does not hold it.
    """
    import torch  # noqa: PLC0415
    from transformers import BertConfig, BertModel  # noqa: PLC0415

    config = BertConfig(
        num_hidden_layers=shape.layers,
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
    )
    try:
        model: Any = BertModel(config, add_pooling_layer=False).eval().to(device, dtype=torch.bfloat16)
        tokens = torch.randint(1000, 20_000, (batch, length), device=device)
        with torch.inference_mode():
            took = _fastest(lambda: model(input_ids=tokens), device, seconds)
    except torch.cuda.OutOfMemoryError as exc:
        raise EncoderError(f"{batch} sequences of {length} do not fit into {device}'s memory; take fewer") from exc
    return batch / took


def _fastest(work: Callable[[], Any], device: str, seconds: float) -> float:
    """The shortest of its runs, in s; the first two warm up."""
    import torch  # noqa: PLC0415

    def run() -> float:
        begun = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    run(), run()
    end, best = time.perf_counter() + seconds, run()
    while time.perf_counter() < end:
        best = min(best, run())
    return best
