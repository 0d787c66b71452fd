"""Import: what is written, again and again the same, and what is refused."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from streaming.cleaning import Cleaning
from streaming.cli import application
from streaming.errors import InputError
from streaming.importing import import_shop
from streaming.shop import ShopFolder
from streaming.splits import Cut

T = 1_483_228_800_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "events.csv").write_text(
        f"kind,session_id,time,item_id\nview,s,{T + 1},tea\nview,s,{T},mug\npeek,s,{T},mug\n"
    )
    (folder / "items.jsonl").write_text('{"item_id": "tea", "title": "Tea"}\n{"item_id": "mug", "title": "Mug"}\n')
    (folder / "shop.toml").write_text('name = "Tea house"\n')
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_import_writes_a_shop_folder_and_reports(source: Path, tmp_path: Path) -> None:
    report = import_shop(source, tmp_path / "deep" / "out")
    shop = ShopFolder(tmp_path / "deep" / "out")
    assert shop.table("events")[0]["item_id"].to_list() == ["mug", "tea"]
    assert shop.table("items")[0]["title"].to_list() == ["Mug", "Tea"]
    assert shop.info.name == "Tea house"
    told = report.as_json()
    assert told["rows_bad"] == 1
    assert told["tables"]["events"]["bad"] == {"unknown_kind": 1}
    assert told["tables"]["events"]["first_bad"][0]["row"] == 3
    assert (told["tables"]["items"]["rows_read"], told["tables"]["items"]["rows_kept"]) == (2, 2)


def test_the_same_input_gives_the_same_bytes_and_replaces_the_import_before(source: Path, tmp_path: Path) -> None:
    import_shop(source, tmp_path / "out")
    first = contents(tmp_path / "out")
    import_shop(source, tmp_path / "out")
    assert contents(tmp_path / "out") == first
    assert sorted(first) == ["events.parquet", "items.parquet", "shop.toml"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_import_of_an_import_changes_nothing(source: Path, tmp_path: Path) -> None:
    import_shop(source, tmp_path / "once")
    report = import_shop(tmp_path / "once", tmp_path / "twice")
    assert report.bad == 0
    assert contents(tmp_path / "twice") == contents(tmp_path / "once")


def test_strict_stops_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--strict: events\.csv, row 3, kind: 'peek'"):
        import_shop(source, tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()


def test_what_no_import_wrote_is_not_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.doc"):
        import_shop(source, tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.doc": b"years of work"}
    with pytest.raises(InputError, match="is the source too"):
        import_shop(source, source)


def test_a_source_or_an_adapter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no SOURCE was given"):
        import_shop(None, tmp_path / "out")
    with pytest.raises(InputError, match="'amazon' is no adapter, expected one of beauty"):
        import_shop(None, tmp_path / "out", "amazon")


def test_the_command_tells_people_what_was_set_aside(source: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(application(["import"]), ["import", str(source), str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "unknown_kind 1" in result.stdout
    assert "events.csv, row 3, kind: 'peek', expected one of view" in result.stdout.replace("\n", " ")
    assert pl.read_parquet(tmp_path / "out" / "events.parquet").height == 2


def test_the_command_wants_two_folders_without_an_adapter(source: Path) -> None:
    result = CliRunner().invoke(application(["import"]), ["import", str(source)])
    assert isinstance(result.exception, InputError)


def split_of(report_folder: Path) -> list[str | None]:
    return ShopFolder(report_folder).table("events")[0]["split"].to_list()


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Five events, two of one time."""
    folder = tmp_path / "five"
    folder.mkdir()
    rows = "".join(f"view,s{number},{T + at},tea\n" for number, at in enumerate([40, 10, 20, 30, 30]))
    (folder / "events.csv").write_text("kind,session_id,time,item_id\n" + rows)
    return folder


@pytest.mark.parametrize(
    ("cuts", "expected"),
    [
        ([], [None] * 5),
        ([Cut(time=T + 30)], ["train", "train", "test", "test", "test"]),
        ([Cut(time=T + 20), Cut(time=T + 40)], ["train", "valid", "valid", "valid", "test"]),
        ([Cut(share=0.4), Cut(share=0.8)], ["train", "train", "valid", "valid", "test"]),
        ([Cut(share=0.6)], ["train", "train", "test", "test", "test"]),  # what happened at once stays together
        ([Cut(share=0)], ["test"] * 5),
        ([Cut(share=1)], ["train"] * 5),
    ],
)
def test_events_are_split_by_time_or_share(
    five: Path, tmp_path: Path, cuts: list[Cut], expected: list[str | None]
) -> None:
    report = import_shop(five, tmp_path / "out", split=cuts)
    assert split_of(tmp_path / "out") == expected
    assert report.splits == {name: expected.count(name) for name in sorted({part for part in expected if part})}


def test_a_split_that_events_have_stays_until_another_is_made(five: Path, tmp_path: Path) -> None:
    import_shop(five, tmp_path / "once", split=[Cut(time=T + 30)])
    import_shop(tmp_path / "once", tmp_path / "twice")
    assert split_of(tmp_path / "twice") == ["train", "train", "test", "test", "test"]
    import_shop(tmp_path / "twice", tmp_path / "thrice", split=[Cut(time=T + 40)])
    assert split_of(tmp_path / "thrice") == ["train"] * 4 + ["test"]


def test_a_part_that_is_none_is_told(five: Path, tmp_path: Path) -> None:
    (five / "events.csv").write_text(f"kind,session_id,time,item_id,split\nview,s,{T},tea,dev\nview,s,{T},tea,\n")
    report = import_shop(five, tmp_path / "out")
    assert report.tables[0].bad == {"unknown_split": 1}
    assert "one of train, valid, test" in str(report.tables[0].first_bad[0])


@pytest.mark.parametrize("name", ["with space", "ümläut 店", "a*b?[c]", "a=b", "%20", "-x"])
def test_any_path_will_do(source: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / name
    here.mkdir()
    source.rename(here / name)
    (here / name / "events.csv").rename(here / name / "events.csv.gz")
    plain = (here / name / "events.csv.gz").read_bytes()
    (here / name / "events.csv.gz").write_bytes(gzip.compress(plain))
    monkeypatch.chdir(here)
    report = import_shop(Path(name), Path("out") / name)
    assert (len(report.table("events")), len(report.table("items"))) == (2, 2)
    again = import_shop(Path("out") / name, Path("again"))
    assert contents(here / "again") == contents(here / "out" / name)
    assert again.bad == 0


def test_json_lines_are_streamed_with_all_their_columns(tmp_path: Path) -> None:
    folder = tmp_path / "lines"
    folder.mkdir()
    lines = [{"kind": "view", "session_id": f"s{n}", "time": T + n, "item_id": "tea"} for n in range(3)]
    lines[2]["price"] = 2.5
    text = "\n".join([json.dumps(lines[0]), "oops", json.dumps(lines[1]), "", json.dumps(lines[2])])
    (folder / "events.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    report = import_shop(folder, tmp_path / "out")
    assert report.table("events").select("session_id", "price").rows() == [("s0", None), ("s1", None), ("s2", 2.5)]
    assert [(row.rule, row.row) for row in report.tables[0].first_bad] == [("broken_row", 2)]


def test_a_rule_does_not_hide_the_rows_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    rows = [f"peek,s,{T},a"] * 500 + [f"view,s,{T // 1000},a", f"view,,{T},a"]
    (folder / "events.csv").write_text("kind,session_id,time,item_id\n" + "\n".join(rows) + "\n")
    told = import_shop(folder, tmp_path / "out").tables[0]
    assert told.bad == {"unknown_kind": 500, "seconds": 1, "missing": 1}
    assert [row.row for row in told.first_bad if row.rule != "unknown_kind"] == [501, 502]


def test_a_column_whose_type_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    frame = pl.DataFrame({"kind": ["view"], "session_id": ["s"], "time": [T], "item_id": [["tea"]]})
    frame.write_parquet(folder / "events.parquet")
    with pytest.raises(InputError, match=r"events\.parquet has List\(String\) in its column item_id"):
        import_shop(folder, tmp_path / "out")


cell = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["", "view", "purchase", "search", "s", "NaN", "inf", "-0", "1e400", "9" * 25, str(T), f"{T}.0"]),
    st.integers().map(str),
    st.floats().map(str),
)
NAMES = [
    "kind",
    "session_id",
    "time",
    "item_id",
    "query",
    "quantity",
    "price",
    "currency",
    "consent",
    "event_id",
    "split",
]


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.lists(cell, min_size=len(NAMES), max_size=len(NAMES)), max_size=8), tail=st.binary(max_size=40))
def test_whatever_a_file_holds_rows_are_kept_or_counted(
    rows: list[list[str]], tail: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "in").mkdir()
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in row) for row in rows]
    good = f"view,good,{T},tea,,,,,,,"
    text = "\n".join([",".join(NAMES), good, *quoted]) + "\n"
    (folder / "in" / "events.csv").write_bytes(text.encode() + tail)
    report = import_shop(folder / "in", folder / "out", cleaning=Cleaning(0, 0))
    told, events = report.tables[0], report.table("events")
    assert told.read == told.kept + sum(told.bad.values())
    assert told.kept == len(events)
    assert "good" in events["session_id"].to_list()
    for row in events.iter_rows(named=True):
        assert row["kind"] in ("view", "click", "search", "cart_add", "cart_remove", "purchase", "impression", "exit")
        assert 946_684_800_000 <= row["time"] < 253_402_300_800_000
        assert row["price"] is None or (math.isfinite(row["price"]) and row["price"] >= 0)
        assert row["quantity"] is None or 1 <= row["quantity"] <= 1_000_000
        assert row["split"] in (None, "train", "valid", "test")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--split", "40%,80%"], ["train", "train", "valid", "valid", "test"]),
        (["--split", f"{T + 30}"], ["train", "train", "test", "test", "test"]),
    ],
)
def test_the_command_splits(five: Path, tmp_path: Path, options: list[str], expected: list[str]) -> None:
    result = CliRunner().invoke(application(["import"]), ["import", str(five), str(tmp_path / "out"), *options])
    assert result.exit_code == 0
    assert split_of(tmp_path / "out") == expected
    assert f"test {expected.count('test')}" in result.stdout


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--split", "80%,60%"], "goes backwards"),
        (["--split", "2017-02-01,2017-01-01"], "goes backwards"),
        (["--split", "1%,2%,3%"], "has 3 places"),
        (["--split", "130%"], "from 0% to 100%"),
        (["--split", "soon"], "expected a time"),
        (["--unknown-items", "burn"], "expected keep or drop"),
    ],
)
def test_a_wrong_option_is_told(five: Path, tmp_path: Path, options: list[str], hint: str) -> None:
    result = CliRunner().invoke(application(["import"]), ["import", str(five), str(tmp_path / "out"), *options])
    assert isinstance(result.exception, InputError)
    assert hint in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_command_sets_bots_and_unknown_items_aside(five: Path, tmp_path: Path) -> None:
    (five / "items.csv").write_text("item_id,title\nmug,Mug\n")
    options = ["--unknown-items", "drop", "--bots-per-minute", "1", "--bots-per-day", "0", "--json"]
    (five / "events.csv").write_text(
        "kind,session_id,time,item_id\n"
        + "".join(f"view,fast,{T + number},mug\n" for number in range(2))
        + f"view,slow,{T},mug\nview,slow,{T + 90_000},tea\n"
    )
    result = CliRunner().invoke(application(["import"]), ["import", str(five), str(tmp_path / "out"), *options])
    told = json.loads(result.stdout)
    assert told["tables"]["events"]["bad"] == {"bot": 2, "unknown_item": 1}
    assert [row["rule"] for row in told["tables"]["events"]["first_bad"]] == ["bot", "bot", "unknown_item"]
    assert told["rows_bad"] == 3
