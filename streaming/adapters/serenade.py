"""The example of bolcom/serenade: clicks of a shop in three parts, with times to the second and numbers for items.

The lines of a session run backwards in its test file; an import puts events in the order of their times.
"""

from __future__ import annotations

from pathlib import Path

from streaming.adapters.numbered import click_files, numbered_shop
from streaming.adapters.tables import ShopTables, located
from streaming.tables import Scan


def serenade(source: Path | None, scan: Scan) -> ShopTables:
    """Events of `train.tsv`, `valid.tsv` and `test.tsv`.

    Raises:
        InputError: one of them is not there.
    """
    files = located(source, "train.tsv", "valid.tsv", "test.tsv")
    return numbered_shop("Serenade", click_files(files, ("train", "valid", "test"), scan), files[0].parent)
