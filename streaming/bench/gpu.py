"""What a GPU does: the text encoder against the device's own peak, the search against one pass over its memory."""

from __future__ import annotations

from typing import Any

from encoders import throughput
from encoders.throughput import SHAPES
from index import gpu_search

LENGTHS = (16, 128)
ITEMS = (1_000_000, 10_000_000)
DIMENSION = 128
BYTES = 2
"""Of a number of a vector."""


def measure() -> dict[str, Any]:
    """Figures, or why there are none. Each part that cannot be measured says so under `skipped`."""
    reason = throughput.why_no_gpu()
    if reason is not None:
        return {"skipped": reason}
    peak = throughput.peak("cuda")
    found: dict[str, Any] = {
        "bf16_peak_tflops": round(peak.tflops_bf16, 1),
        "memory_gb_per_s": round(peak.memory_gb_per_s, 1),
        "encoder": [_encoder(name, length, peak.tflops_bf16) for name in SHAPES for length in LENGTHS],
    }
    reason = gpu_search.why_no_gpu()
    found["search"] = {"skipped": reason} if reason else [_search(items, peak.memory_gb_per_s) for items in ITEMS]
    return found


def _encoder(name: str, length: int, peak_tflops: float) -> dict[str, Any]:
    speed = throughput.sequences_per_s(SHAPES[name], length, "cuda")
    reached = speed * SHAPES[name].flops(length) / 1e12
    return {
        "model": name,
        "tokens": length,
        "sequences_per_s": round(speed),
        "tflops": round(reached, 1),
        "share_of_peak": round(reached / peak_tflops, 3),
    }


def _search(items: int, memory_gb_per_s: float) -> dict[str, Any]:
    took = gpu_search.search_s(items, DIMENSION)
    once = items * DIMENSION * BYTES / (memory_gb_per_s * 1e9)
    return {
        "items": items,
        "dimension": DIMENSION,
        "queries": 64,
        "search_ms": round(took * 1000, 3),
        "one_pass_ms": round(once * 1000, 3),
        "over_one_pass": round(took / once, 2),
    }
