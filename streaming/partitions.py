"""Rows divided into parts that each fit into memory, on disk once they are many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

ROWS_IN_MEMORY = 1_500_000
"""Rows that are held before they go to disk; a part is to have about as many. Some 150 MB of events."""


class Partitions:
    """Rows by part, those of a part in the order in which they came.

    parts = Partitions(folder, count=16)
    parts.add(rows, pl.col("session_id").hash() % 16)
    for part in parts: ...

    As long as they are few they stay in memory and are one single part, whatever their numbers.
    """

    def __init__(self, folder: Path, count: int, rows_in_memory: int = ROWS_IN_MEMORY) -> None:
        """Parts in an empty `folder`, which need not be there yet."""
        self._folder = folder
        self._count = count
        self._most = rows_in_memory
        self._held: list[pl.DataFrame] = []
        self.held = 0
        """Rows in memory."""
        self._spilled = 0
        self.rows = 0
        """Added so far."""

    @property
    def on_disk(self) -> bool:
        """Were there too many rows for memory."""
        return self._spilled > 0

    def add(self, rows: pl.DataFrame, part: pl.Expr) -> None:
        """Adds rows, each to the part whose number, from 0, the expression gives."""
        if rows.is_empty():
            return
        self._held.append(rows.with_columns(part.cast(pl.UInt32).alias(_PART)))
        self.held += len(rows)
        self.rows += len(rows)
        if self.held > self._most:
            self._spill()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """The parts that have rows, by their number; each is dropped from memory or disk as the next is asked for."""
        if not self._spilled:
            if self._held:
                held, self._held = self._held, []
                yield pl.concat(held).drop(_PART)
            return
        self._spill()
        for number in range(self._count):
            files = sorted((self._folder / str(number)).glob("*.arrow"))
            if files:
                yield pl.scan_ipc(files, glob=False).collect()
            for file in files:
                file.unlink()

    def _spill(self) -> None:
        if not self._held:
            return
        frames, self._held, self.held = self._held, [], 0
        for (number,), rows in pl.concat(frames).partition_by(_PART, as_dict=True, include_key=False).items():
            folder = self._folder / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            rows.write_ipc(folder / f"{self._spilled:08}.arrow", compression="lz4")
        self._spilled += 1


_PART = "_part"
