"""Tables of texts and labels from files: what is read, how it is cut, and what is refused by name."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from streaming.errors import InputError
from streaming.labelled import Columns, Labelled, read_labelled, with_split

TITLES = Columns("title", "kind")
ROWS = [(f"red lamp {n}", "lamp") for n in range(60)] + [(f"brown boot {n}", "boot") for n in range(60)]


def frame(rows: list[tuple[str, str]] | None = None) -> pl.DataFrame:
    return pl.DataFrame(rows or ROWS, schema=["title", "kind"], orient="row")


def written(folder: Path, text: bytes, name: str = "table.csv") -> Path:
    (folder / name).write_bytes(text)
    return folder / name


def read(file: Path, columns: Columns = TITLES, task: str = "classification", **more: int) -> Labelled:
    return read_labelled(file, columns, task=task, **more)


WRITERS: dict[str, Callable[[Path], object]] = {
    "parquet": lambda path: frame().write_parquet(path),
    "csv": lambda path: frame().write_csv(path),
    "tsv": lambda path: frame().write_csv(path, separator="\t"),
    "jsonl": lambda path: frame().write_ndjson(path),
    "csv.gz": lambda path: path.write_bytes(gzip.compress(frame().write_csv().encode())),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_each_kind_of_file_is_cut_alike(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table.{ending}"
    WRITERS[ending](path)
    found = read(path)
    assert sum(found.parts.counts().values()) == 120
    assert 80 < len(found.parts.train) < 110
    assert found.parts == read(written(tmp_path, frame().write_csv().encode(), "same.csv")).parts
    assert set(found.parts.train.labels) == {"lamp", "boot"}


def test_equal_texts_stand_in_one_part_whatever_their_case(tmp_path: Path) -> None:
    forms = ("Red  {}", "red {}", "RED {}")
    rows = [(form.format(n), "lamp" if n % 2 else "boot") for n in range(80) for form in forms]
    found = read(written(tmp_path, frame(rows).write_csv().encode()))
    parts = [{" ".join(text.casefold().split()) for text in part.texts} for _, part in found.parts.each()]
    assert sum(map(len, parts)) == 80
    assert found.shared_texts == 0
    assert found.parts != read(written(tmp_path, frame(rows).write_csv().encode()), seed=1).parts


def test_groups_stand_in_one_part(tmp_path: Path) -> None:
    rows = [f"text {n},{n % 3},g{n // 4}" for n in range(200)]
    file = written(tmp_path, "\n".join(["title,kind,group", *rows]).encode())
    found = read(file, Columns("title", "kind", group="group"), task="ranking")
    parts = [set(part.groups) for _, part in found.parts.each()]
    assert all(parts)
    assert sum(map(len, parts)) == 50
    assert found.cut == "hash of group, seed 0"


def test_a_column_may_say_the_parts_and_a_tenth_of_the_training_part_is_looked_at(tmp_path: Path) -> None:
    rows = [f"{text},{label},{'test' if n % 5 == 0 else 'train'}" for n, (text, label) in enumerate(ROWS)]
    file = written(tmp_path, "\n".join(["title,kind,split", *rows, "brown boot 1,boot,test"]).encode())
    columns = with_split(file, TITLES)
    assert columns.split == "split"
    found = read(file, columns)
    assert len(found.parts.test) == 25
    assert 0 < len(found.parts.valid) < 30
    assert found.shared_texts == 1
    assert with_split(written(tmp_path, frame().write_csv().encode(), "without.csv"), TITLES) == TITLES


def test_rows_without_text_or_label_are_set_aside_and_counted(tmp_path: Path) -> None:
    rows = ["title,kind", *(f"{text},{label}" for text, label in ROWS), ",lamp", "  ,boot", "saw,", "saw 1,saw"]
    found = read(written(tmp_path, "\n".join(rows).encode()), rare=2)
    assert found.set_aside == {"no_text": 2, "no_label": 1, "rare_class": 1}
    assert sum(found.parts.counts().values()) == 120


def test_numbers_and_flags_of_parquet_are_read(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    frame().with_columns(kind=pl.int_range(120) * 0.5).write_parquet(file)
    assert "59.5" in {label for _, part in read(file, task="regression").parts.each() for label in part.labels}
    frame().with_columns(kind=pl.int_range(120) % 2 == 0).write_parquet(file)
    assert set(read(file).parts.train.labels) == {"true", "false"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "is empty, expected a first line"),
        (b"title,kind\n", "has no row to learn from .no rows at all.*fill them in"),
        (b"title,kind\n,\n,lamp\n", "has no row to learn from .1 no_text"),
        (b"name,kind\nred,lamp\n", "has no column 'title', expected one of name, kind; name it by --text"),
        (b"title,sort\nred,lamp\n", "has no column 'kind', expected one of title, sort; name it by --label"),
        (b"title,kind\nred,lamp\nblu\xe9,boot\n", r"row 2, column title: 'blu.' is not UTF-8; save the file as UTF-8"),
        (b"title,kind\nred,l\xffmp\n", r"row 1, column kind: 'l.mp' is not UTF-8"),
        (b"title,kind\n" + b"x" * 20_001 + b",lamp\n", "row 1, column title: 20001 characters, expected at most 20000"),
        (b"title,kind\nred," + b"k" * 257 + b"\n", "row 1, column kind: 'kkk.*is no name of a class"),
        (b"title,kind\nred,lamp,more\n", "row 1 has 3 fields for 2 columns.*repair the line"),
        (b"\xff\xfet\0", "is UTF-16, expected UTF-8"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_by_row_and_column(tmp_path: Path, text: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(written(tmp_path, text))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file, expected a table of texts and labels"):
        read(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="is no file"):
        read(tmp_path)
    with pytest.raises(InputError, match="has an ending that is not read, expected one of .parquet, .csv"):
        read(written(tmp_path, b"title,kind\n", "table.xlsx"))
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read(written(tmp_path, b"PAR1 and nothing", "table.parquet"))
    with pytest.raises(InputError, match="is no JSON"):
        read(written(tmp_path, b'{"title": "red", "kind": "lamp"}\n{"title": \n', "table.jsonl"))


def test_columns_that_hold_no_text(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    frame().with_columns(title=pl.concat_list("title")).write_parquet(file)
    with pytest.raises(InputError, match=r"column title: values of type List\(String\), expected text or numbers"):
        read(file)


def test_a_part_that_is_none(tmp_path: Path) -> None:
    file = written(tmp_path, b"title,kind,split\nred,lamp,train\nblue,boot,tset\n")
    with pytest.raises(InputError, match="row 2, column split: 'tset', expected one of train, valid, test"):
        read(file, Columns("title", "kind", split="split"))
