"""A table's rows checked: the good ones in their types and order, and a report of the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from streaming.columns import DTYPES, TABLES, Rule, parsed, readable, rules
from streaming.errors import InputError
from streaming.tables import BROKEN, ROW

FIRST_BAD_ROWS = 10
"""Bad rows of a rule that are told one by one; all are counted."""
BATCH_ROWS = 200_000
"""Rows of a table in memory at a time, while it is read."""
_RULE = "_rule"
_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class Source:
    """One file's rows for one table."""

    file: Path
    """For reports; a name that is made up where the rows come from several files."""
    rows: pl.LazyFrame
    """With columns as in a shop folder, and with `ROW` where they stand in the file's order."""
    rules: tuple[Rule, ...] = ()
    """Asked before those of the table: what is no event or no item here, though it looks like one."""


class DamagedError(InputError):
    """A file cannot be read to its end as it was being read; another `Scan` may do."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that was set aside, and why."""

    file: str
    row: int
    """From 1, without the header."""
    column: str
    value: str | None
    """As it stands there, shortened."""
    rule: str
    expectation: str
    remedy: str

    def __str__(self) -> str:
        """For people.

        >>> print(BadRow("events.csv", 7, "price", "-1", "out_of_bounds", "0 to 1,000", "correct it"))
        events.csv, row 7, price: '-1', expected 0 to 1,000; correct it
        """
        value = "nothing" if self.value is None else repr(self.value)
        column = "the line" if self.column == BROKEN else self.column
        return f"{self.file}, row {self.row}, {column}: {value}, expected {self.expectation}; {self.remedy}"


@dataclass(slots=True)
class TableReport:
    """What reading one table found."""

    table: str
    file: str
    read: int = 0
    """Rows read."""
    kept: int = 0
    """Rows that passed."""
    bad: dict[str, int] = field(default_factory=dict)
    """Rows set aside, by rule: wrong ones, then those that cleaning set aside."""
    first_bad: list[BadRow] = field(default_factory=list)
    """The first wrong rows of each rule, in the order of the file."""
    cleaned: list[BadRow] = field(default_factory=list)
    """The first rows that are not wrong by themselves but that cleaning set aside, by rule."""
    notes: list[str] = field(default_factory=list)
    """What was ignored, and what was kept though it looks odd."""

    def count(self, rule: str, rows: int) -> None:
        """Counts rows that a rule set aside."""
        if rows:
            self.bad[rule] = self.bad.get(rule, 0) + rows


def check(table: str, sources: Iterable[Source]) -> tuple[pl.DataFrame, TableReport]:
    """Good rows and report of a table's sources, in memory: all columns in their types and in a fixed order.

    Events are in time order, ties in the order of the sources and their rows. Of items with one id the last row
    counts; a fact counts once.

    Raises:
        InputError: a required column is missing.
        DamagedError: a file cannot be read so.
    """
    report = TableReport(table, "none")
    found = [batch for source in sources for batch in checked(table, source, report)]
    good = pl.concat(found) if found else empty(table)
    good = _arranged(table, good, report).drop(ROW)
    report.kept = len(good)
    return good, report


def empty(table: str) -> pl.DataFrame:
    """No rows of a table, numbered."""
    return pl.DataFrame(schema={ROW: pl.UInt32} | {column.name: DTYPES[column.type] for column in TABLES[table]})


def checked(table: str, source: Source, report: TableReport) -> Iterator[pl.DataFrame]:
    """A source's good rows in batches, in their order and types, with `ROW`; the report learns of the others.

    Raises:
        InputError: a required column is missing.
        DamagedError: the file cannot be read so.
    """
    report.file = source.file.name if report.file == "none" else f"{report.file}, {source.file.name}"
    rows = source.rows
    try:
        schema = rows.collect_schema()
        if ROW not in schema:
            rows = rows.with_row_index(ROW, offset=1)
    except pl.exceptions.ColumnNotFoundError as exc:
        name = str(exc).splitlines()[0]
        raise InputError(
            f"{source.file} lacks a column ({name}), expected those of the data it is named after"
        ) from exc
    _check_columns(table, schema, source.file, report)
    asked = [*source.rules, *rules(table, schema)]
    broken = [pl.when(rule.bad).then(pl.lit(number, pl.UInt16)) for number, rule in enumerate(asked)]
    verdict = pl.coalesce(*broken) if broken else pl.lit(None, pl.UInt16)
    values = [
        (parsed(column, schema[column.name]) if column.name in schema else pl.lit(None))
        .cast(DTYPES[column.type])
        .alias(column.name)
        for column in TABLES[table]
    ]
    told = [0] * len(asked)
    first: list[BadRow] = []
    for batch in _batches(rows.with_columns(verdict.alias(_RULE)), source.file):
        report.read += len(batch)
        bad = batch.filter(pl.col(_RULE).is_not_null())
        for number, count in bad[_RULE].value_counts().sort(_RULE).iter_rows():
            rule = asked[number]
            report.count(rule.name, count)
            worst = bad.filter(pl.col(_RULE) == number).head(FIRST_BAD_ROWS - told[number])
            told[number] += len(worst)
            first += _told(worst, rule, source.file.name)
        good = batch if bad.is_empty() else batch.filter(pl.col(_RULE).is_null())
        yield good.select(pl.col(ROW).cast(pl.UInt32), *values)
    report.first_bad += sorted(first, key=lambda row: row.row)


def _batches(rows: pl.LazyFrame, file: Path) -> Iterator[pl.DataFrame]:
    try:
        yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming")
    except (pl.exceptions.ComputeError, OSError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise DamagedError(f"{file} cannot be read to its end ({reason}); copy it or write it anew") from exc


def _check_columns(table: str, schema: pl.Schema, file: Path, report: TableReport) -> None:
    known = {column.name for column in TABLES[table]}
    given = [name for name in schema if name not in (ROW, BROKEN)]
    missing = [column.name for column in TABLES[table] if column.required and column.name not in given]
    if given and missing:
        raise InputError(
            f"{file} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)};"
            f" it has {', '.join(given)}; give the right ones these names"
        )
    for column in TABLES[table]:
        if column.name in given and not readable(column, schema[column.name]):
            raise InputError(
                f"{file} has {schema[column.name]} in its column {column.name}, expected texts, numbers or times;"
                " write it as one of them"
            )
    if unknown := [name for name in given if name not in known]:
        report.notes.append("ignored columns without a meaning here: " + ", ".join(unknown))


def _told(bad: pl.DataFrame, rule: Rule, file: str) -> list[BadRow]:
    """Rows that broke this rule, for people."""
    if rule.column in bad.columns:
        raw = pl.col(rule.column)
        shown = (
            raw.struct.json_encode()
            if isinstance(bad.schema[rule.column], pl.Struct)
            else raw.cast(pl.String, strict=False)
        )
    else:
        shown = pl.lit(None, pl.String)
    rows = bad.select(ROW, shown.str.slice(0, _SHOWN_CHARS).alias(_RULE)).iter_rows()
    return [BadRow(file, row, rule.column, value, rule.name, rule.expectation, rule.remedy) for row, value in rows]


def _arranged(table: str, good: pl.DataFrame, report: TableReport) -> pl.DataFrame:
    """In the table's fixed order, without repeats."""
    if table == "events":
        return good.sort("time", maintain_order=True)
    key = ["item_id"] if table == "items" else ["head", "relation", "tail"]
    once = good.unique(key, keep="last", maintain_order=True)
    if repeats := len(good) - len(once):
        report.bad["repeated"] = repeats
        what = (
            "items whose id stands again further down: the last counts"
            if table == "items"
            else "facts that stand twice"
        )
        report.notes.append(f"set aside {repeats:,} {what}")
    return once.sort(key)
