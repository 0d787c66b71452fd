"""Table files of a shop folder: which there are, and their rows as they stand, as text with row numbers.

Columns of Parquet keep their types; those of the text formats are text, so that a wrong value can be shown.
A row that cannot be taken apart has `BROKEN` set to the reason. Rows are numbered from 1, without the header.
Rows are streamed: none of this holds a table in memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

import polars as pl
from polars.io.plugins import register_io_source

from streaming.errors import InputError

ROW = "_row"
BROKEN = "_broken"
ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz")
_CHUNK_ROWS = 100_000
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Row = tuple[dict[str, str | None], str | None]


@dataclass(frozen=True, slots=True)
class _Style:
    """How the lines of a CSV or TSV file are taken apart."""

    separator: str
    quote: str | None
    names: tuple[str, ...] | None
    """Of the columns, where no first line says them."""


class Scan(Protocol):
    """Opens a file's rows: `scan`, or `scan_damaged` once that failed."""

    def __call__(self, path: Path, separator: str | None = None, names: Sequence[str] | None = None) -> pl.LazyFrame:
        """Rows of the file with their numbers."""


def find(folder: Path, table: str) -> Path | None:
    """The one file of a table, or None where there is none.

    Raises:
        InputError: there are two, or one with an ending that is not read.
    """
    found = sorted(path for path in folder.glob(f"{table}.*") if path.name[len(table) :].lower() in ENDINGS)
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(f"{folder} has {names}, expected one file for the table {table!r}; move the other away")
    if found:
        return found[0]
    others = [path.name for path in sorted(folder.glob(f"{table}.*"))]
    if others:
        raise InputError(f"{folder / others[0]} has an ending that is not read, expected one of {', '.join(ENDINGS)}")
    return None


def scan(path: Path, separator: str | None = None, names: Sequence[str] | None = None) -> pl.LazyFrame:
    """A table's rows.

    Reading it may raise `pl.exceptions.ComputeError` where a text file is damaged; see `scan_damaged`.

    Args:
        path: the file; its ending says what it is, and any other than those of `ENDINGS` is read like CSV.
        separator: between the fields of a text file, where the ending does not say it.
        names: of the columns of a text file whose first line does not say them.

    Raises:
        InputError: the file is empty, no table, or not UTF-8 at all.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        try:
            frame = pl.scan_parquet(path, glob=False, row_index_name=ROW, row_index_offset=1)
            frame.collect_schema()
            return frame
        except (pl.exceptions.ComputeError, OSError) as exc:
            raise InputError(f"{path} cannot be read as Parquet ({_first_line(exc)}); write it anew") from exc
    if ".jsonl" in name:
        return scan_damaged(path)
    style = _style(path, separator, names)
    header = _header(path, style)
    frame = pl.scan_csv(
        path,
        glob=False,
        has_header=names is None,
        separator=style.separator,
        quote_char=style.quote,
        infer_schema=False,
        encoding="utf8-lossy",
        row_index_name=ROW,
        row_index_offset=1,
        with_column_names=lambda given: _unique([name.strip() for name in given]) if names is None else header,
    )
    return frame.filter(~pl.all_horizontal(pl.col(name).is_null() for name in header))


def scan_damaged(path: Path, separator: str | None = None, names: Sequence[str] | None = None) -> pl.LazyFrame:
    """The same rows read one by one: slower, but a row that is damaged harms no other.

    The file is read once to its end at once, for the names of the columns, and again as rows are asked for.

    Raises:
        InputError: the file is empty, or cannot be read to its end, as a Parquet file that is damaged.
    """
    if path.name.lower().endswith(".parquet"):
        raise InputError(f"{path} cannot be read to its end; copy it or write it anew")
    style = _style(path, separator, names)

    def rows() -> Iterator[Row | None]:
        return _json_rows(path) if ".jsonl" in path.name.lower() else _csv_rows(path, style)

    found: dict[str, None] = {} if ".jsonl" in path.name.lower() else dict.fromkeys(_header(path, style))
    try:
        for row in rows():
            found.update(dict.fromkeys(row[0] if row is not None else ()))
    except (OSError, EOFError) as exc:
        raise InputError(f"{path} cannot be read to its end ({_first_line(exc)}); copy or pack it anew") from exc
    schema = pl.Schema({ROW: pl.UInt32(), BROKEN: pl.String()} | dict.fromkeys(found, pl.String()))

    def chunks(
        columns: list[str] | None, predicate: pl.Expr | None, rows_at_most: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        numbered = ((number, row) for number, row in enumerate(rows(), start=1) if row is not None)
        while rows_at_most != 0 and (chunk := list(islice(numbered, min(_CHUNK_ROWS, rows_at_most or _CHUNK_ROWS)))):
            rows_at_most = None if rows_at_most is None else rows_at_most - len(chunk)
            fixed = {ROW: [number for number, _ in chunk], BROKEN: [broken for _, (_, broken) in chunk]}
            frame = pl.DataFrame(
                fixed | {name: [values.get(name) for _, (values, _) in chunk] for name in found}, schema=schema
            )
            frame = frame if columns is None else frame.select(columns)
            yield frame if predicate is None else frame.filter(predicate)

    return register_io_source(chunks, schema=schema)


def _header(path: Path, style: _Style) -> list[str]:
    """Column names of a CSV or TSV file."""
    try:
        with _opened(path) as file:
            start = file.read(2)
        if start in _UTF16:
            raise InputError(f"{path} is UTF-16, expected UTF-8; save it as UTF-8")
        with _text(path) as text:
            first = next(_reader(text, style), None)
    except (OSError, EOFError, csv.Error) as exc:
        raise InputError(f"{path} cannot be read ({_first_line(exc)}); copy or pack it anew") from exc
    if not first:
        what = "rows" if style.names is not None else "a first line with the names of the columns"
        raise InputError(f"{path} is empty, expected {what}; add it")
    return list(style.names) if style.names is not None else _unique([name.strip() for name in first])


def _csv_rows(path: Path, style: _Style) -> Iterator[Row | None]:
    header = _header(path, style)
    with _text(path) as text:
        reader = _reader(text, style)
        if style.names is None:
            next(reader)
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as exc:
                yield {}, f"cannot be taken apart: {exc}"
                continue
            if fields is None:
                return
            if not any(fields):
                yield None
            elif len(fields) > len(header):
                yield {}, f"has {len(fields)} fields for {len(header)} columns (a separator in a text?)"
            else:
                yield {name: value or None for name, value in zip(header, fields, strict=False)}, None


def _json_rows(path: Path) -> Iterator[Row | None]:
    with _text(path) as text:
        for line in text:
            if not line.strip():
                yield None
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as exc:
                yield {}, f"is no JSON: {exc}"
                continue
            if isinstance(values, dict):
                yield {name.strip(): _as_text(value) for name, value in values.items()}, None
            else:
                yield {}, f"is a JSON {type(values).__name__}, expected an object"


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value, ensure_ascii=False)


def _style(path: Path, separator: str | None, names: Sequence[str] | None) -> _Style:
    """TSV has no quotes, since its texts hold no tabs."""
    separator = separator or ("\t" if ".tsv" in path.name.lower() else ",")
    return _Style(separator, None if separator == "\t" else '"', None if names is None else tuple(names))


def _reader(text: IO[str], style: _Style) -> Iterator[list[str]]:
    if style.quote is None:
        return csv.reader(text, delimiter=style.separator, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(text, delimiter=style.separator, quotechar=style.quote, strict=True)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _text(path: Path) -> IO[str]:
    return io.TextIOWrapper(_opened(path), encoding="utf-8-sig", errors="replace", newline="")


def _unique(names: list[str]) -> list[str]:
    """Names that stand twice get their place appended, so that the first one counts."""
    seen: set[str] = set()
    unique = []
    for place, name in enumerate(names):
        unique.append(f"{name}_{place + 1}" if name in seen else name)
        seen.add(name)
    return unique


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
