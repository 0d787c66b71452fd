"""Table files of a shop folder: which there are, and their rows as they stand, as text with row numbers.

Columns of Parquet keep their types; those of the text formats are text, so that a wrong value can be shown.
A row that cannot be taken apart has `BROKEN` set to the reason. Rows are numbered from 1, without the header.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import polars as pl

from streaming.errors import InputError

ROW = "_row"
BROKEN = "_broken"
ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz")
_CHUNK_ROWS = 100_000
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Row = tuple[dict[str, str | None], str | None]


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


def scan(path: Path) -> pl.LazyFrame:
    """A table's rows, streamed where the format allows; JSON Lines are read whole.

    Reading it may raise `pl.exceptions.ComputeError` where a text file is damaged; see `scan_damaged`.

    Raises:
        InputError: the file is empty, no table, or not UTF-8 at all.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        try:
            frame = pl.scan_parquet(path, row_index_name=ROW, row_index_offset=1)
            frame.collect_schema()
            return frame
        except (pl.exceptions.ComputeError, OSError) as exc:
            raise InputError(f"{path} cannot be read as Parquet ({_first_line(exc)}); write it anew") from exc
    if ".jsonl" in name:
        return scan_damaged(path)
    header = _header(path)
    separator, quote = _style(path)
    frame = pl.scan_csv(
        path,
        separator=separator,
        quote_char=quote,
        infer_schema=False,
        encoding="utf8-lossy",
        row_index_name=ROW,
        row_index_offset=1,
        with_column_names=lambda names: _unique([name.strip() for name in names]),
    )
    return frame.filter(~pl.all_horizontal(pl.col(name).is_null() for name in header))


def scan_damaged(path: Path) -> pl.LazyFrame:
    """The same rows read one by one: slower, but a row that is damaged harms no other."""
    rows = _json_rows(path) if ".jsonl" in path.name.lower() else _csv_rows(path)
    frames = []
    try:
        numbered = ((number, row) for number, row in enumerate(rows, start=1) if row is not None)
        while chunk := list(islice(numbered, _CHUNK_ROWS)):
            names = dict.fromkeys(name for _, (values, _) in chunk for name in values)
            columns = {name: [values.get(name) for _, (values, _) in chunk] for name in names}
            fixed = {ROW: [number for number, _ in chunk], BROKEN: [broken for _, (_, broken) in chunk]}
            schema = {ROW: pl.UInt32, BROKEN: pl.String} | dict.fromkeys(names, pl.String)
            frames.append(pl.DataFrame(fixed | columns, schema=schema))
    except (OSError, EOFError) as exc:
        raise InputError(f"{path} cannot be read to its end ({_first_line(exc)}); copy or pack it anew") from exc
    if not frames:
        if ".jsonl" in path.name.lower():
            return pl.LazyFrame(schema={ROW: pl.UInt32, BROKEN: pl.String})
        return pl.LazyFrame(schema={ROW: pl.UInt32} | dict.fromkeys(_header(path), pl.String))
    return pl.concat(frames, how="diagonal").lazy()


def _header(path: Path) -> list[str]:
    """Column names of a CSV or TSV file."""
    separator, quote = _style(path)
    try:
        with _opened(path) as file:
            start = file.read(2)
        if start in _UTF16:
            raise InputError(f"{path} is UTF-16, expected UTF-8; save it as UTF-8")
        with _text(path) as text:
            names = next(_reader(text, separator, quote), None)
    except (OSError, EOFError, csv.Error) as exc:
        raise InputError(f"{path} cannot be read ({_first_line(exc)}); copy or pack it anew") from exc
    if not names:
        raise InputError(f"{path} is empty, expected a first line with the names of the columns; add it")
    return _unique([name.strip() for name in names])


def _csv_rows(path: Path) -> Iterator[Row | None]:
    header = _header(path)
    separator, quote = _style(path)
    with _text(path) as text:
        reader = _reader(text, separator, quote)
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


def _style(path: Path) -> tuple[str, str | None]:
    """Separator and quote character: TSV has no quotes, since its texts hold no tabs."""
    return ("\t", None) if ".tsv" in path.name.lower() else (",", '"')


def _reader(text: IO[str], separator: str, quote: str | None) -> Iterator[list[str]]:
    if quote is None:
        return csv.reader(text, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(text, delimiter=separator, quotechar=quote, strict=True)


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
