"""How training went, as curves: those that `train` left in the model folder, and those of the networks beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from encoders.baselines.stopping import Course
from streaming.errors import InputError

TRAINING = "training.json"
"""In a model folder: `{"curves": [{"name", "metric", "x", "y", "x_name"}]}`."""


class Curve(msgspec.Struct, frozen=True):
    """One metric of one training."""

    name: str
    """What was trained."""
    metric: str
    x: list[float]
    y: list[float]
    x_name: str = "epoch"


class _Training(msgspec.Struct):
    curves: list[Curve]


def of_model(folder: Path) -> list[Curve]:
    """The curves of a model folder; none where it was not trained.

    Raises:
        InputError: the file says nothing that can be drawn.
    """
    path = folder / TRAINING
    if not path.is_file():
        return []
    try:
        curves = msgspec.json.decode(path.read_bytes(), type=_Training).curves
        for curve in curves:
            if len(curve.x) != len(curve.y):
                raise ValueError(f"curve {curve.name!r}: {len(curve.x)} x and {len(curve.y)} y, expected as many")
    except (OSError, msgspec.DecodeError, ValueError) as exc:
        raise InputError(f"{path}: no training curves ({exc}); train the model anew, or remove the file") from exc
    return curves


def of_networks(courses: Iterable[tuple[str, Course]]) -> list[Curve]:
    """What was ranked after each epoch."""
    return [
        Curve(
            name,
            "NDCG@10 of what was set aside",
            [float(epoch) for epoch in range(1, len(course.ranked) + 1)],
            [round(value, 5) for value in course.ranked],
        )
        for name, course in courses
    ]


def as_json(curves: Iterable[Curve]) -> list[dict[str, Any]]:
    """As `training.json` has them."""
    return [msgspec.to_builtins(curve) for curve in curves]
