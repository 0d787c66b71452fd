"""How fast FAISS searches on a GPU: flat, so that each query reads every vector."""

from __future__ import annotations

import time

import numpy as np

from index.backend import faiss


def why_no_gpu() -> str | None:
    """Why FAISS cannot search on a GPU here; none: it can."""
    module = faiss()
    if not hasattr(module, "StandardGpuResources"):
        return 'the FAISS here has no GPU code; install "beforehand[gpu]"'
    return None if module.get_num_gpus() else "FAISS sees no GPU here"


def search_s(items: int, dimension: int, *, queries: int = 64, nearest: int = 100, seconds: float = 2.0) -> float:
    """The shortest time of one search of so many queries among so many items, in s, vectors as half floats.

    The vectors are drawn by chance: a flat search does the same work for all.
    """
    module = faiss()
    config = module.GpuIndexFlatConfig()
    config.useFloat16 = True
    index = module.GpuIndexFlatIP(module.StandardGpuResources(), dimension, config)
    draw = np.random.default_rng(1)
    part = draw.standard_normal((min(items, 1_000_000), dimension), dtype=np.float32)
    while index.ntotal < items:
        index.add(part[: items - index.ntotal])
    asked = part[:queries]
    index.search(asked, nearest)
    end, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        begun = time.perf_counter()
        index.search(asked, nearest)
        best = min(best, time.perf_counter() - begun)
    return best
