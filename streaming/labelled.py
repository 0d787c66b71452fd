"""A table of texts and labels, from a file: what a head is trained on. What cannot be learned from is refused whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from encoders.heads.examples import Examples, Parts
from streaming.columns import SPLITS
from streaming.errors import InputError
from streaming.records import MAX_ID_BYTES
from streaming.tables import BROKEN, ENDINGS, ROW, scan, scan_damaged

MOST_CHARACTERS = 20_000
"""Of a text, as of an item's description."""
VALID, TEST = 0.1, 0.1
"""Shares of the parts that a hash cuts off."""
_DAMAGED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column says what."""

    text: str
    label: str
    group: str | None = None
    """Of ranking: whose candidates rows are."""
    split: str | None = None
    """Each row's part; None: by the hash of the text, of ranking that of the group."""

    def needed(self) -> dict[str, str]:
        """Each column, by the option that names it."""
        named = {"--text": self.text, "--label": self.label, "--group": self.group, "--split": self.split}
        return {option: name for option, name in named.items() if name is not None}


@dataclass(frozen=True, slots=True)
class Labelled:
    """The rows that are used, and what became of the others."""

    parts: Parts
    set_aside: dict[str, int]
    """Rows that are not used, by reason: `no_text`, `no_label`, `no_group`, `no_split`, `rare_class`."""
    cut: str
    """What the parts were cut by: a column, or the hash."""
    shared_texts: int
    """Rows of the test part whose text stands in the part to learn from, too; 0 where a hash of texts cut them."""


def read_labelled(file: Path, columns: Columns, *, task: str, seed: int = 0, rare: int = 0) -> Labelled:
    """Read, check and cut a table. Rows without a text or a label are set aside and counted.

    Args:
        task: classification, regression or ranking.
        seed: of the hash that cuts.
        rare: of classification: rows of classes with fewer rows than that are set aside.

    Raises:
        InputError: no such file, a column is missing, no rows, or a cell that is not UTF-8, is too long, or cannot be
            taken apart; the text names the row.
    """
    rows = _rows(file, columns)
    counted = Counter[str]()
    for name in columns.needed().values():
        reason = f"no_{next(key for key, each in _roles(columns).items() if each == name)}"
        counted[reason] = rows[name].null_count()
        rows = rows.filter(pl.col(name).is_not_null())
    if task == "classification":
        _check_labels(file, rows, columns.label)
        if rare > 1:
            few = pl.len().over(columns.label) < rare
            counted["rare_class"] = rows.select(few.sum()).item() if len(rows) else 0
            rows = rows.filter(~few)
    if not len(rows):
        reasons = ", ".join(f"{count} {reason}" for reason, count in counted.items() if count)
        raise InputError(
            f"{file} has no row to learn from ({reasons or 'no rows at all'}), expected rows with a value in "
            f"{' and '.join(columns.needed().values())}; fill them in"
        )
    by_group = task == "ranking" and columns.group is not None
    key = columns.group if by_group and columns.group is not None else columns.text
    if columns.split is not None:
        part_of = _told(file, rows, columns.split, rows[key].to_list(), seed)
        cut = f"column {columns.split}"
    else:
        part_of = [_part(each, seed) for each in rows[key].to_list()]
        cut = f"hash of {key}, seed {seed}"
    parts = Parts(*(_examples(rows, columns, part_of, name) for name in SPLITS))
    known = set(parts.train.texts)
    shared = sum(text in known for text in parts.test.texts)
    return Labelled(parts, {reason: count for reason, count in counted.items() if count}, cut, shared)


def with_split(file: Path, columns: Columns) -> Columns:
    """The columns, with the file's own `split` where none was named and it has one.

    Raises:
        InputError: as `read_labelled`.
    """
    if columns.split is None and "split" in _opened(file).collect_schema().names():
        return Columns(columns.text, columns.label, columns.group, "split")
    return columns


# ----------------------------------------------------------------------------------------------------------- reading
def _opened(file: Path) -> pl.LazyFrame:
    if not file.is_file():
        raise InputError(f"{file} is no file, expected a table of texts and labels; name one")
    if not file.name.lower().endswith(ENDINGS):
        raise InputError(f"{file} has an ending that is not read, expected one of {', '.join(ENDINGS)}; rename it")
    return scan(file)


def _rows(file: Path, columns: Columns) -> pl.DataFrame:
    """The columns that are needed, as text without blanks around it, null where there is nothing; every cell whole."""
    frame = _opened(file)
    try:
        rows = _chosen(file, frame, columns)
    except pl.exceptions.ComputeError:
        rows = _chosen(file, scan_damaged(file), columns)
    if BROKEN in rows.columns:
        for row, broken in rows.filter(pl.col(BROKEN).is_not_null()).select(ROW, BROKEN).head(1).iter_rows():
            raise InputError(f"{file} row {row} {broken}; expected a row that can be taken apart, repair the line")
    for name in columns.needed().values():
        for row, cell in rows.filter(pl.col(name).str.contains(_DAMAGED, literal=True)).select(ROW, name).iter_rows():
            raise InputError(
                f"{file} row {row}, column {name}: {_short(cell)} is not UTF-8; save the file as UTF-8, or correct "
                "the cell"
            )
        long = rows.filter(pl.col(name).str.len_chars() > MOST_CHARACTERS).select(ROW, pl.col(name).str.len_chars())
        for row, length in long.iter_rows():
            raise InputError(
                f"{file} row {row}, column {name}: {length} characters, expected at most {MOST_CHARACTERS}; shorten "
                "the cell (is a quote left open?)"
            )
    return rows


def _chosen(file: Path, frame: pl.LazyFrame, columns: Columns) -> pl.DataFrame:
    schema = frame.collect_schema()
    there = [name for name in schema.names() if name not in (ROW, BROKEN)]
    if not there:
        raise InputError(f"{file} is empty, expected rows with the columns {', '.join(columns.needed().values())}")
    for option, name in columns.needed().items():
        if name not in there:
            raise InputError(f"{file} has no column {name!r}, expected one of {', '.join(there)}; name it by {option}")
        if schema[name].is_nested() or isinstance(schema[name], pl.Binary | pl.Object | pl.Duration):
            raise InputError(f"{file}, column {name}: values of type {schema[name]}, expected text or numbers; cast it")
    needed = list(dict.fromkeys(columns.needed().values()))
    kept = [name for name in (ROW, BROKEN) if name in schema]
    text = [pl.col(name).cast(pl.String).str.strip_chars().replace("", None).alias(name) for name in needed]
    return frame.select(*kept, *text).collect()


def _check_labels(file: Path, rows: pl.DataFrame, label: str) -> None:
    """A class's name goes on the wire: it is an id."""
    bad = (pl.col(label).str.len_bytes() > MAX_ID_BYTES) | pl.col(label).str.contains(r"\p{Cc}")
    for row, cell in rows.filter(bad).select(ROW, label).iter_rows():
        raise InputError(
            f"{file} row {row}, column {label}: {_short(cell)} is no name of a class, expected 1 to {MAX_ID_BYTES} "
            "bytes without control characters; shorten it, or name another column by --label"
        )


# ----------------------------------------------------------------------------------------------------------- cutting
def _told(file: Path, rows: pl.DataFrame, split: str, keys: Sequence[str], seed: int) -> list[str]:
    """Each row's part as its column says; where nothing is `valid`, a tenth of `train` by hash is."""
    wrong = rows.filter(~pl.col(split).is_in(SPLITS))
    for row, cell in wrong.select(ROW, split).iter_rows():
        raise InputError(
            f"{file} row {row}, column {split}: {_short(cell)}, expected one of {', '.join(SPLITS)}; correct it, or "
            "name another column by --split"
        )
    told = [str(part) for part in rows[split].to_list()]
    if "valid" in told:
        return told
    return [
        "valid" if part == "train" and _share(key, seed) < VALID else part for part, key in zip(told, keys, strict=True)
    ]


def _part(key: str, seed: int) -> str:
    share = _share(key, seed)
    return "valid" if share < VALID else "test" if share < VALID + TEST else "train"


def _share(key: str, seed: int) -> float:
    """A number from 0 to 1 that stands for a text, the same for texts that differ in case or blanks only."""
    words = f"{seed}\0{' '.join(key.casefold().split())}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest()) / 2**64


def _examples(rows: pl.DataFrame, columns: Columns, part_of: Sequence[str], name: str) -> Examples:
    part = rows.filter(pl.Series([each == name for each in part_of], dtype=pl.Boolean))
    groups = tuple(part[columns.group].to_list()) if columns.group is not None else ()
    return Examples(tuple(part[columns.text].to_list()), tuple(part[columns.label].to_list()), groups)


def _roles(columns: Columns) -> dict[str, str | None]:
    return {"text": columns.text, "label": columns.label, "group": columns.group, "split": columns.split}


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 60 else cell[:60] + "...")
