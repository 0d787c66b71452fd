"""YooChoose (RecSys Challenge 2015), a part of it: clicks of a shop to the millisecond, numbers for items."""

from __future__ import annotations

from pathlib import Path

from streaming.adapters.numbered import click_files, numbered_shop
from streaming.adapters.tables import ShopTables, located
from streaming.tables import Scan


def yoochoose(source: Path | None, scan: Scan) -> ShopTables:
    """Events of `train.tsv` and `test.tsv`.

    Raises:
        InputError: one of them is not there.
    """
    files = located(source, "train.tsv", "test.tsv")
    return numbered_shop("YooChoose", click_files(files, ("train", "test"), scan), files[0].parent)
