"""faiss, and nothing else imports it: which distribution is there, and the remedy if none or two are."""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from types import ModuleType

from index.errors import BackendError


def installed() -> list[str]:
    """The distributions that bring the module `faiss`, sorted: `faiss-cpu`, `faiss-gpu-cu12` and their
    like."""
    names = {(dist.name or "").lower().replace("_", "-") for dist in importlib.metadata.distributions()}
    return sorted(name for name in names if name in ("faiss", "faiss-cpu") or name.startswith("faiss-gpu"))


def check() -> str:
    """The one distribution of faiss that is installed.

    Raises:
        BackendError: none is, or several, which overwrite each other's files.
    """
    found = installed()
    if not found:
        raise BackendError(
            "faiss is not installed and the index needs it: "
            'pip install "beforehand[cpu]", or "beforehand[gpu]" on a machine with CUDA'
        )
    if len(found) > 1:
        raise BackendError(
            f"{' and '.join(found)} are both installed and overwrite each other's files, expected one: "
            f"pip uninstall {' '.join(found)}, "
            'then pip install "beforehand[cpu]", or "beforehand[gpu]" on a machine with CUDA'
        )
    return found[0]


BLAS_NUMBERS = 4000
"""A flat search multiplies matrices once queries x dimensions reach this. FAISS 1.15 itself would wait for 128,000; at
321 dimensions and 32 queries that takes four times as long. Older ones count queries alone, and begin at 20."""


@lru_cache(maxsize=1)
def faiss() -> ModuleType:
    """The module, after `check`."""
    name = check()
    try:
        import faiss as module  # noqa: PLC0415  heavy, and its absence must name the remedy
    except ImportError as exc:
        raise BackendError(
            f"{name} is installed but does not load ({exc}): pip install --force-reinstall {name}"
        ) from exc
    module.cvar.distance_compute_blas_threshold = min(module.cvar.distance_compute_blas_threshold, BLAS_NUMBERS)
    return module
