"""A shop folder of good and bad rows: what is kept, and how each wrong row is told."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from streaming.checking import FIRST_BAD_ROWS
from streaming.errors import InputError
from streaming.shop import ShopFolder, ShopInfo, read_info

NEW_YEAR = 1_483_228_800_000
GOOD = f"view,s1,{NEW_YEAR},i1\n"
HEADER = "kind,session_id,time,item_id\n"


def events_in(folder: Path, text: str | bytes, name: str = "events.csv") -> ShopFolder:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return ShopFolder(folder)


def test_events_are_typed_and_in_time_order_with_ties_as_in_the_file(tmp_path: Path) -> None:
    rows = f"view,b,{NEW_YEAR + 5},i1\nview,z,{NEW_YEAR},i2\nview,a,{NEW_YEAR},i3\n"
    events, report = events_in(tmp_path, HEADER + rows).table("events")
    assert events["session_id"].to_list() == ["z", "a", "b"]
    assert events.schema["time"] == pl.Int64
    assert events.columns[:4] == ["kind", "session_id", "time", "user_id"]
    assert (report.read, report.kept, report.bad, report.notes) == (3, 3, {}, [])


@pytest.mark.parametrize(
    "name", ["events.csv", "events.csv.gz", "events.tsv", "events.tsv.gz", "events.jsonl", "events.jsonl.gz"]
)
def test_every_text_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    row = {"kind": "view", "session_id": "s, 1", "time": NEW_YEAR, "item_id": "i1", "price": 2.5, "consent": True}
    separator = "\t" if ".tsv" in name else ","
    cells = [f'"{value}"' if "," in str(value) and separator == "," else str(value) for value in row.values()]
    text = separator.join(row) + "\n" + separator.join(cells) + "\n"
    content = (json.dumps(row) + "\n\n" if ".jsonl" in name else text).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    events, report = ShopFolder(tmp_path).table("events")
    assert report.bad == {}
    assert events.row(0, named=True) == dict.fromkeys(events.columns) | row


def test_parquet_keeps_its_types_and_times_may_be_datetimes(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "kind": ["view", "purchase"],
            "session_id": [7, 8],
            "time": [datetime(2017, 1, 1, tzinfo=UTC), datetime(2017, 1, 1, 0, 0, 1, tzinfo=UTC)],
            "item_id": [11, 12],
            "price": [1, 2],
        }
    )
    rows.write_parquet(tmp_path / "events.parquet")
    events, report = ShopFolder(tmp_path).table("events")
    assert report.bad == {}
    assert events["time"].to_list() == [NEW_YEAR, NEW_YEAR + 1000]
    assert events["session_id"].to_list() == ["7", "8"]
    assert events["price"].to_list() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("row", "rule", "column", "hint"),
    [
        (f"look,s,{NEW_YEAR},i", "unknown_kind", "kind", "one of view, click"),
        (f"view,,{NEW_YEAR},i", "missing", "session_id", "fill it in"),
        (f"view,{'s' * 257},{NEW_YEAR},i", "bad_id", "session_id", "256 bytes"),
        (f"view,{'é' * 129},{NEW_YEAR},i", "bad_id", "session_id", "256 bytes"),
        (f"view,a\x07b,{NEW_YEAR},i", "bad_id", "session_id", "control characters"),
        (f"view,s,{NEW_YEAR // 1000},i", "seconds", "time", "times 1000"),
        (f"view,s,{NEW_YEAR * 1000},i", "time_out_of_range", "time", "micro"),
        ("view,s,0,i", "time_out_of_range", "time", "2000-01-01"),
        ("view,s,yesterday,i", "not_a_number", "time", "ms since the epoch"),
        (f"view,s,{NEW_YEAR}.5,i", "not_a_number", "time", "ms since the epoch"),
        (f"view,s,{NEW_YEAR},", "missing_item_id", "item_id", "an item"),
        (f"search,s,{NEW_YEAR},", "missing_query", "query", "the words"),
    ],
)
def test_a_wrong_event_is_told_and_set_aside(tmp_path: Path, row: str, rule: str, column: str, hint: str) -> None:
    events, report = events_in(tmp_path, HEADER + GOOD + row + "\n" + GOOD).table("events")
    assert len(events) == 2
    assert (report.read, report.kept, report.bad) == (3, 2, {rule: 1})
    (bad,) = report.first_bad
    assert (bad.file, bad.row, bad.column, bad.rule) == ("events.csv", 2, column, rule)
    assert hint in str(bad)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("price", "NaN", "not_finite"),
        ("price", "inf", "not_finite"),
        ("price", "-1", "out_of_bounds"),
        ("price", "cheap", "not_a_number"),
        ("quantity", "0", "out_of_bounds"),
        ("quantity", "1.5", "not_a_number"),
        ("currency", "EURO", "bad_currency"),
        ("consent", "perhaps", "not_a_flag"),
        ("utc_offset_min", "900", "out_of_bounds"),
        ("dwell_ms", "86400001", "out_of_bounds"),
    ],
)
def test_a_wrong_optional_value_sets_its_row_aside(tmp_path: Path, column: str, value: str, rule: str) -> None:
    text = f"kind,session_id,time,item_id,{column}\nview,s,{NEW_YEAR},i,{value}\nview,s,{NEW_YEAR},i,\n"
    events, report = events_in(tmp_path, text).table("events")
    assert len(events) == 1
    assert report.bad == {rule: 1}
    assert report.first_bad[0].value == value


def test_numbers_that_pandas_wrote_as_floats_are_whole(tmp_path: Path) -> None:
    text = f"kind,session_id,time,item_id,quantity\nview,s, {NEW_YEAR}.0 ,i,3.0\n"
    events, report = events_in(tmp_path, text).table("events")
    assert report.bad == {}
    assert (events["time"][0], events["quantity"][0]) == (NEW_YEAR, 3)


def test_a_byte_order_mark_and_blank_lines_do_no_harm_and_row_numbers_count_them(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + (HEADER + GOOD + "\n" + f"oops,s,{NEW_YEAR},i\n").encode()
    events, report = events_in(tmp_path, text).table("events")
    assert len(events) == 1
    assert (report.read, report.first_bad[0].row) == (2, 3)


def test_a_row_in_another_encoding_is_told(tmp_path: Path) -> None:
    text = (HEADER + GOOD).encode() + f"view,caf\xe9,{NEW_YEAR},i\n".encode("latin-1")
    events, report = events_in(tmp_path, text).table("events")
    assert len(events) == 1
    assert report.bad == {"wrong_encoding": 1}
    assert "save the file as UTF-8" in str(report.first_bad[0])


def test_a_damaged_row_harms_no_other(tmp_path: Path) -> None:
    events, report = events_in(tmp_path, HEADER + GOOD + f"view,s,{NEW_YEAR},i,more,and more\n" + GOOD).table("events")
    assert len(events) == 2
    assert report.bad == {"broken_row": 1}
    assert "row 2, the line: 'has 6 fields for 4 columns" in str(report.first_bad[0])


def test_lines_that_are_no_json_objects_are_told(tmp_path: Path) -> None:
    good = json.dumps({"kind": "view", "session_id": "s", "time": NEW_YEAR, "item_id": "i"})
    lines = [good, "nonsense", "[1, 2]", "[" * 100_000, good]
    events, report = events_in(tmp_path, "\n".join(lines), "events.jsonl").table("events")
    assert len(events) == 2
    assert report.bad == {"broken_row": 3}
    assert [bad.row for bad in report.first_bad] == [2, 3, 4]


def test_many_bad_rows_are_all_counted_and_the_first_are_told(tmp_path: Path) -> None:
    _, report = events_in(tmp_path, HEADER + f"oops,s,{NEW_YEAR},i\n" * 300).table("events")
    assert report.bad == {"unknown_kind": 300}
    assert [bad.row for bad in report.first_bad] == list(range(1, FIRST_BAD_ROWS + 1))


def test_of_items_with_one_id_the_last_counts(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,price\nb,Tea,1\na,Mug,2\nb,Green tea,3\n")
    items, report = ShopFolder(tmp_path).table("items")
    assert items.select("item_id", "title", "price").rows() == [("a", "Mug", 2.0), ("b", "Green tea", 3.0)]
    assert (report.read, report.kept, report.bad) == (3, 2, {"repeated": 1})
    assert "the last counts" in report.notes[0]


@pytest.mark.parametrize(
    ("attributes", "good"),
    [
        ({"colour": "red", "size": 3, "new": True, "old": None}, True),
        ({"sizes": [1, 2]}, False),
        ([1], False),
        ({"weight": float("nan")}, False),
    ],
)
def test_attributes_are_a_flat_object(tmp_path: Path, attributes: object, good: bool) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"item_id": "a", "title": "A", "attributes": attributes}))
    items, report = ShopFolder(tmp_path).table("items")
    assert report.bad == ({} if good else {"not_attributes": 1})
    assert not good or json.loads(items["attributes"][0]) == attributes


def test_a_fact_counts_once(tmp_path: Path) -> None:
    (tmp_path / "facts.tsv").write_text('head\trelation\ttail\na\tgoes "with"\tb\na\tgoes "with"\tb\n')
    facts, report = ShopFolder(tmp_path).table("facts")
    assert facts.rows() == [("a", 'goes "with"', "b")]
    assert report.bad == {"repeated": 1}


def test_unknown_columns_are_ignored_with_a_note(tmp_path: Path) -> None:
    events, report = events_in(tmp_path, f"kind,session_id,time,item_id,mood\nview,s,{NEW_YEAR},i,fine\n").table(
        "events"
    )
    assert "mood" not in events.columns
    assert report.notes == ["ignored columns without a meaning here: mood"]


def test_a_missing_required_column_names_file_and_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"events\.csv lacks the columns session_id, time; it has kind, session"):
        events_in(tmp_path, "kind,session\nview,s\n").table("events")


def test_a_table_without_rows_or_without_file_is_empty(tmp_path: Path) -> None:
    shop = events_in(tmp_path, HEADER)
    events, report = shop.table("events")
    facts, none = shop.table("facts")
    assert (len(events), report.read, len(facts), none.file) == (0, 0, 0, "none")
    assert facts.columns == ["head", "relation", "tail"]


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("events.csv", b"", "is empty"),
        ("events.csv", HEADER.encode("utf-16"), "UTF-16"),
        ("events.parquet", b"kind,session_id\n", "cannot be read as Parquet"),
        ("events.csv.gz", b"kind,session_id,time\n", "cannot be read"),
        ("events.csv.gz", gzip.compress((HEADER + GOOD * 9999).encode())[:-300], "cannot be read to its end"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        events_in(tmp_path, content, name).table("events")


def test_a_folder_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        ShopFolder(tmp_path / "none")
    with pytest.raises(InputError, match="holds no table"):
        ShopFolder(tmp_path)
    (tmp_path / "events.xlsx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"events\.xlsx has an ending that is not read"):
        ShopFolder(tmp_path)
    (tmp_path / "events.csv").write_text(HEADER)
    (tmp_path / "events.tsv").write_text(HEADER)
    with pytest.raises(InputError, match=r"events\.csv and events\.tsv"):
        ShopFolder(tmp_path)


def test_shop_toml_goes_out_as_it_came_in(tmp_path: Path) -> None:
    assert read_info(tmp_path / "shop.toml") == ShopInfo()
    info = ShopInfo(name='Tea "& more" ü', currency="EUR", session_idle_ms=0, repeats_allowed=True, ordered=False)
    (tmp_path / "shop.toml").write_text(info.to_toml(), encoding="utf-8")
    assert read_info(tmp_path / "shop.toml") == info


def test_a_price_without_a_currency_is_in_the_shops(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,price,currency\na,Tea,3,\nb,Mug,4,USD\nc,Jam,,\n")
    (tmp_path / "shop.toml").write_text('currency = "EUR"')
    items = ShopFolder(tmp_path).table("items")[0]
    assert items["currency"].to_list() == ["EUR", "USD", None]


@pytest.mark.parametrize("text", ["name = ", "session_idle_ms = -1", 'currency = "EURO"'])
def test_a_wrong_shop_toml_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "shop.toml").write_text(text)
    with pytest.raises(InputError, match="correct it"):
        read_info(tmp_path / "shop.toml")
