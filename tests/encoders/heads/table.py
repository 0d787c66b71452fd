"""Tables of which the right head is known: the words of a text say its class, its number and its relevance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from encoders.heads.classification import Classification
from encoders.heads.examples import Examples, Parts
from encoders.heads.fitting import evaluate, fit
from encoders.heads.head import Head
from encoders.heads.training import FitSettings
from encoders.text import DummyTextEncoder, TextEncoder

THINGS = {"lamp": 10.0, "boot": 20.0, "saw": 30.0}
"""What a text is about, and what it costs."""
COLOURS = ("red", "blue", "green", "black", "white")


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts and their thing: `red lamp n0x7`; no two parts share the last word."""
    source = np.random.default_rng(seed)
    things = [list(THINGS)[place] for place in source.integers(0, len(THINGS), count)]
    colours = [COLOURS[place] for place in source.integers(0, len(COLOURS), count)]
    named = zip(colours, things, strict=True)
    return [(f"{colour} {thing} n{seed}x{row}", thing) for row, (colour, thing) in enumerate(named)]


def parts(label: Callable[[str, int], str], sizes: Sequence[int] = (120, 40, 40), group: int = 0) -> Parts:
    """Train, valid and test.

    Args:
        label: of a thing, and of the row's number.
        group: rows of a group; 0: there are none.
    """
    made = []
    for seed, size in enumerate(sizes):
        rows = texts(size, seed)
        groups = tuple(f"g{seed}-{row // group}" for row in range(size)) if group else ()
        labels = tuple(label(thing, row) for row, (_, thing) in enumerate(rows))
        made.append(Examples(tuple(text for text, _ in rows), labels, groups))
    return Parts(*made)


def noise(_thing: str, row: int) -> str:
    """Labels that no text explains."""
    return "yes" if np.random.default_rng(row).random() < 0.5 else "no"


def save_thing(folder: Path, encoder: TextEncoder | None = None) -> Head:
    """A head that tells lamps, boots and saws apart by any text, saved there; of the dummy, or of another encoder."""
    task = Classification(parts(lambda thing, _: thing), FitSettings())
    trained = fit(task, "text", "thing", encoder or DummyTextEncoder())
    return trained.save(folder, evaluate(task, trained))
