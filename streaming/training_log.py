"""Training curves for TensorBoard; the one door to its writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.summary import Writer


def write_log(folder: Path, curves: Sequence[Mapping[str, Any]]) -> None:
    """Event files of curves as a model folder has them, a run each: `tensorboard --logdir FOLDER` shows them."""
    for curve in curves:
        writer = Writer(str(folder / str(curve["name"]).replace("/", "-")))
        for at, value in zip(curve["x"], curve["y"], strict=True):
            writer.add_scalar(f"{curve['metric']}/{curve['x_name']}", value, int(at))
        writer.close()
