"""A table's rows checked: the good ones in their types and order, and a report of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from streaming.columns import DTYPES, TABLES, Rule, parsed, rules
from streaming.errors import InputError
from streaming.tables import BROKEN, ROW

FIRST_BAD_ROWS = 20
"""Bad rows told one by one; all are counted."""
_RULE, _VALUE = "_rule", "_value"
_SHOWN_CHARS = 80


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
    """Rows set aside, by rule."""
    first_bad: list[BadRow] = field(default_factory=list)
    """The first of them, in the order of the file."""
    notes: list[str] = field(default_factory=list)
    """What was ignored."""


def check(table: str, rows: pl.LazyFrame, file: Path) -> tuple[pl.DataFrame, TableReport]:
    """Good rows and report of raw rows, which carry their number (`streaming.tables`).

    Raises:
        InputError: a required column is missing.
    """
    report = TableReport(table, file.name)
    schema = rows.collect_schema()
    known = {column.name for column in TABLES[table]}
    given = [name for name in schema if name not in (ROW, BROKEN)]
    missing = [column.name for column in TABLES[table] if column.required and column.name not in given]
    if given and missing:
        raise InputError(
            f"{file} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)};"
            f" it has {', '.join(given)}; give the right ones these names"
        )
    if unknown := [name for name in given if name not in known]:
        report.notes.append("ignored columns without a meaning here: " + ", ".join(unknown))
    asked = rules(table, schema)
    broken = [pl.when(rule.bad).then(pl.lit(number, pl.UInt16)) for number, rule in enumerate(asked)]
    verdict = pl.coalesce(*broken) if broken else pl.lit(None, pl.UInt16)
    checked = rows.with_columns(verdict.alias(_RULE))
    values = [
        (parsed(column, schema[column.name]) if column.name in schema else pl.lit(None))
        .cast(DTYPES[column.type])
        .alias(column.name)
        for column in TABLES[table]
    ]
    counts, worst, good = pl.collect_all(
        [
            checked.group_by(_RULE).agg(pl.len()),
            _first_bad(checked, asked, schema),
            checked.filter(pl.col(_RULE).is_null()).select(ROW, *values),
        ],
        engine="streaming",
    )
    report.read = int(counts["len"].sum())
    for number, count in counts.drop_nulls(_RULE).sort(_RULE).iter_rows():
        report.bad[asked[number].name] = report.bad.get(asked[number].name, 0) + count
    report.first_bad = [
        BadRow(file.name, row, rule.column, value, rule.name, rule.expectation, rule.remedy)
        for row, rule, value in ((row, asked[number], value) for row, number, value in worst.iter_rows())
    ]
    good = _arranged(table, good, report).drop(ROW)
    report.kept = len(good)
    return good, report


def _first_bad(checked: pl.LazyFrame, asked: list[Rule], schema: pl.Schema) -> pl.LazyFrame:
    """Row number, number of the rule, value, of the first rows that broke one."""
    value = pl.lit(None, pl.String)
    for number, rule in enumerate(asked):
        if rule.column in schema:
            raw = pl.col(rule.column)
            text = (
                raw.struct.json_encode()
                if isinstance(schema[rule.column], pl.Struct)
                else raw.cast(pl.String, strict=False)
            )
            value = pl.when(pl.col(_RULE) == number).then(text.str.slice(0, _SHOWN_CHARS)).otherwise(value)
    bad = checked.filter(pl.col(_RULE).is_not_null()).select(ROW, _RULE, value.alias(_VALUE))
    return bad.bottom_k(FIRST_BAD_ROWS, by=ROW).sort(ROW)


def _arranged(table: str, good: pl.DataFrame, report: TableReport) -> pl.DataFrame:
    """In the table's fixed order, without repeats."""
    if table == "events":
        return good.sort("time", ROW)
    key = ["item_id"] if table == "items" else ["head", "relation", "tail"]
    once = good.sort(ROW).unique(key, keep="last", maintain_order=True)
    if repeats := len(good) - len(once):
        report.bad["repeated"] = repeats
        what = (
            "items whose id stands again further down: the last counts"
            if table == "items"
            else "facts that stand twice"
        )
        report.notes.append(f"set aside {repeats:,} {what}")
    return once.sort(key)
