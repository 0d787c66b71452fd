"""Import: a shop's files, checked and cleaned, become a shop folder of Parquet files that everything else reads.

Items and facts are in memory while they are checked; events never all at once (`streaming.arranging`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from streaming.adapters import ADAPTERS, ShopTables
from streaming.arranging import arrange
from streaming.checking import DamagedError, Source, TableReport, check
from streaming.cleaning import Cleaning
from streaming.columns import TABLES
from streaming.errors import InputError
from streaming.shop import ShopFolder, ShopInfo
from streaming.splits import Cut, cut_times, split_of
from streaming.tables import Scan, scan, scan_damaged

ROW_GROUP_ROWS = 250_000
"""Of the events that are written: what a reader of a part of them has to unpack."""
_SCRATCH = "scratch"

T = TypeVar("T")


@dataclass(slots=True)
class ImportReport:
    """What an import read, kept and set aside."""

    source: Path
    out: Path
    info: ShopInfo
    seconds: float = 0
    tables: list[TableReport] = field(default_factory=list)
    """Events, items, facts: those there are."""
    splits: dict[str, int] = field(default_factory=dict)
    """Events of each part, where they are split."""

    @property
    def bad(self) -> int:
        """Rows set aside, over all tables."""
        return sum(report.read - report.kept for report in self.tables)

    def table(self, name: str) -> pl.DataFrame:
        """What was written of `events`, `items` or `facts`, whole and in memory."""
        return pl.read_parquet(self.out / f"{name}.parquet", glob=False)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": str(self.source),
            "out": str(self.out),
            "import_s": round(self.seconds, 3),
            "rows_bad": self.bad,
            "splits": self.splits,
            "tables": {
                report.table: {
                    "file": report.file,
                    "rows_read": report.read,
                    "rows_kept": report.kept,
                    "bad": report.bad,
                    "first_bad": [asdict(row) for row in [*report.first_bad, *report.cleaned]],
                    "notes": report.notes,
                }
                for report in self.tables
            },
        }


def import_shop(
    source: Path | None,
    out: Path,
    adapter: str | None = None,
    strict: bool = False,
    cleaning: Cleaning | None = None,
    split: Sequence[Cut] = (),
) -> ImportReport:
    """Read `source`, set wrong rows aside, and write the shop folder `out`: events in time order, items, facts.

    The same input gives the same bytes. `out` is written beside and renamed; what stood there is replaced if it is a
    shop folder that an import wrote.

    Args:
        source: a shop folder; with an adapter whatever it reads, None for the place it knows.
        out: the folder to write. The disk under it holds the events three times meanwhile.
        adapter: a name in `ADAPTERS`.
        strict: a wrong row is an error, and nothing is written. What cleaning sets aside is not wrong.
        cleaning: what is set aside of rows that are right by themselves; None: by its defaults.
        split: where the part `test` begins, or `valid` and `test`; without, events keep the part they say.

    Raises:
        InputError: the source cannot be read, `out` is something else, or strict and a wrong row.
    """
    begun = time.perf_counter()
    _check_out(source, out)
    shop = _Shop(_opener(source, adapter))
    report = ImportReport(shop.tables.source, out, shop.tables.info)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            _fill(beside, shop, report, cleaning or Cleaning(), split)
            if strict:
                _refuse_bad(report)
            beside.chmod(0o755)
            if out.exists():
                shutil.rmtree(out)
            os.replace(beside, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as exc:
        raise InputError(f"{out} cannot be written ({exc.strerror or exc}); name another folder") from exc
    report.seconds = time.perf_counter() - begun
    return report


class _Shop:
    """The tables of a source, read another way where that proves necessary."""

    def __init__(self, opener: Callable[[Scan], ShopTables]) -> None:
        self._opener = opener
        try:
            self.tables = opener(scan)
        except pl.exceptions.ComputeError:  # of an adapter that looks into a file that is damaged
            self.tables = opener(scan_damaged)

    def table(self, name: str, work: Callable[[list[Source]], T]) -> T:
        """What `work` makes of a table's sources; it begins anew where a file of them is damaged."""
        try:
            return work(self.tables.tables[name])
        except DamagedError:
            return work(self._opener(scan_damaged).tables[name])


def _opener(source: Path | None, adapter: str | None) -> Callable[[Scan], ShopTables]:
    if adapter is None:
        if source is None:
            raise InputError("no SOURCE was given, expected a shop folder; name it, or an adapter by --from")
        shop = ShopFolder(source)
        return lambda read: ShopTables(shop.info, {name: shop.sources(name, read) for name in shop.files}, shop.path)
    if adapter not in ADAPTERS:
        raise InputError(f"--from {adapter!r} is no adapter, expected one of {', '.join(ADAPTERS)}")
    return lambda read: ADAPTERS[adapter](source, read)


def _fill(folder: Path, shop: _Shop, report: ImportReport, cleaning: Cleaning, split: Sequence[Cut]) -> None:
    """Writes tables and shop.toml, and tells of them."""
    told: dict[str, TableReport] = {}
    catalogue = None
    for name in ("items", "facts"):
        if name in shop.tables.tables:
            rows, told[name] = shop.table(name, partial(check, name))
            rows.with_columns(report.info.priced(rows.columns)).write_parquet(folder / f"{name}.parquet")
            catalogue = rows["item_id"] if name == "items" else catalogue
    if "events" in shop.tables.tables:
        scratch = folder / _SCRATCH

        def arranged(sources: list[Source]) -> tuple[list[pl.LazyFrame], TableReport]:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            return arrange(sources, cleaning, catalogue, scratch)

        frames, told["events"] = shop.table("events", arranged)
        file = folder / "events.parquet"
        _write_events(frames, report.info, split, file)
        shutil.rmtree(scratch)
        parts = pl.scan_parquet(file, glob=False).drop_nulls("split").group_by("split").len().sort("split")
        report.splits = dict(parts.collect(engine="streaming").iter_rows())
    (folder / "shop.toml").write_text(report.info.to_toml(), encoding="utf-8")
    report.tables = [told[name] for name in TABLES if name in told]


def _write_events(frames: Sequence[pl.LazyFrame], info: ShopInfo, split: Sequence[Cut], file: Path) -> None:
    events = pl.concat(frames)
    events = events.with_columns(info.priced(events.collect_schema().names()))
    if split:
        events = events.with_columns(split_of(cut_times(split, frames)))
    events.sink_parquet(file, row_group_size=ROW_GROUP_ROWS, maintain_order=True)


def _refuse_bad(report: ImportReport) -> None:
    for table in report.tables:
        if table.first_bad:
            raise InputError(f"--strict: {table.first_bad[0]} ({report.bad:,} rows in all); nothing was written")


def _check_out(source: Path | None, out: Path) -> None:
    if source is not None and source.resolve() == out.resolve():
        raise InputError(f"{out} is the source too, expected another folder for the result; name one")
    if out.exists():
        known = {f"{table}.parquet" for table in TABLES} | {"shop.toml"}
        others = [path.name for path in out.iterdir() if path.name not in known] if out.is_dir() else [out.name]
        if others:
            raise InputError(
                f"{out} holds {others[0]}, which no import wrote, expected a new folder or one of an import before;"
                " name another"
            )
