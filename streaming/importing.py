"""Import: a shop's files, checked, become a shop folder of Parquet files that everything else reads."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from streaming.adapters import ADAPTERS
from streaming.checking import TableReport, check
from streaming.columns import TABLES
from streaming.errors import InputError
from streaming.shop import ShopFolder, ShopInfo
from streaming.tables import ROW


@dataclass(slots=True)
class ImportReport:
    """What an import read, kept and set aside."""

    source: str
    out: str
    info: ShopInfo
    rows: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)
    """What was written, by table."""
    seconds: float = 0
    tables: list[TableReport] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Rows set aside, over all tables."""
        return sum(report.read - report.kept for report in self.tables)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": self.source,
            "out": self.out,
            "import_s": round(self.seconds, 3),
            "rows_bad": self.bad,
            "tables": {
                report.table: {
                    "file": report.file,
                    "rows_read": report.read,
                    "rows_kept": report.kept,
                    "bad": report.bad,
                    "first_bad": [asdict(row) for row in report.first_bad],
                    "notes": report.notes,
                }
                for report in self.tables
            },
        }


def import_shop(source: Path | None, out: Path, adapter: str | None = None, strict: bool = False) -> ImportReport:
    """Read `source`, set wrong rows aside, and write the shop folder `out`: events in time order, items, facts.

    The same input gives the same bytes. `out` is written beside and renamed; what stood there is replaced if it is a
    shop folder that an import wrote.

    Args:
        source: a shop folder; with an adapter whatever it reads, None for the place it knows.
        adapter: a name in `ADAPTERS`.
        strict: the first wrong row is an error, and nothing is written.

    Raises:
        InputError: the source cannot be read, `out` is something else, or strict and a wrong row.
    """
    begun = time.perf_counter()
    _check_out(source, out)
    report = _read(source, str(out)) if adapter is None else _adapted(source, str(out), adapter)
    if strict:
        _refuse_bad(report)
    _write(report.info, report.rows, out)
    report.seconds = time.perf_counter() - begun
    return report


def _read(source: Path | None, out: str) -> ImportReport:
    if source is None:
        raise InputError("no SOURCE was given, expected a shop folder; name it, or an adapter by --from")
    shop = ShopFolder(source)
    report = ImportReport(str(source), out, shop.info)
    for table in shop.files:
        report.rows[table], told = shop.table(table)
        report.tables.append(told)
    return report


def _adapted(source: Path | None, out: str, adapter: str) -> ImportReport:
    if adapter not in ADAPTERS:
        raise InputError(f"--from {adapter!r} is no adapter, expected one of {', '.join(ADAPTERS)}")
    shop = ADAPTERS[adapter](source)
    report = ImportReport(str(shop.source), out, shop.info)
    for table, rows in shop.tables.items():
        report.rows[table], told = check(table, rows.with_row_index(ROW, offset=1).lazy(), shop.source / table)
        report.tables.append(told)
    return report


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


def _write(info: ShopInfo, found: dict[str, pl.DataFrame], out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            for table, rows in found.items():
                rows.write_parquet(beside / f"{table}.parquet")
            (beside / "shop.toml").write_text(info.to_toml(), encoding="utf-8")
            beside.chmod(0o755)
            if out.exists():
                shutil.rmtree(out)
            os.replace(beside, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as exc:
        raise InputError(f"{out} cannot be written ({exc.strerror or exc}); name another folder") from exc
