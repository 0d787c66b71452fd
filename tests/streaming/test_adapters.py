"""Each adapter on a few lines in the format of its data, from the files to the shop folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from streaming.adapters import ADAPTERS
from streaming.errors import InputError
from streaming.importing import ImportReport, import_shop

CLOTHING = (
    "year;month;day;order;country;session ID;page 1 (main category);page 2 (clothing model);colour;location;"
    "model photography;price;price 2;page\n"
)
REES46 = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
CLICKS = "SessionId\tItemId\tTime\n"


def put(folder: Path, name: str, text: str) -> None:
    """Writes a file, packed where its name says so."""
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def brought(folder: Path, adapter: str) -> ImportReport:
    return import_shop(folder, folder.parent / f"{folder.name}-out", adapter)


def columns(report: ImportReport, table: str, *names: str) -> Sequence[tuple[object, ...]]:
    return report.table(table).select(names).rows()


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def beauty(tmp_path: Path) -> Path:
    lines = ["u\ta\t1318896000\t0", "u\tb\t1318896000\t1", "v\tb\t1023840000\t0", "u\tc\t1328140800\t2"]
    put(tmp_path, "interactions.tsv.gz", "user_id\titem_id\ttimestamp\tposition\n" + "\n".join(lines) + "\n")
    rows = ['a\tTea "Earl"\tKettle\tFood > Tea', "b\t\tUnknown\tFood > Jam", "c\tMug\t\tHome"]
    put(tmp_path, "items.tsv.gz", "item_id\ttitle\tbrand\tcategories\n" + "\n".join(rows) + "\n")
    facts = ["a\talso_bought\tb", "a\tbrand\tbrand:Kettle", "b\tbrand\tbrand:Unknown"]
    put(tmp_path, "knowledge.tsv.gz", "head\trelation\ttail\n" + "\n".join(facts) + "\n")
    return tmp_path


def test_beauty_is_left_by_one_out_and_ties_keep_their_order(beauty: Path) -> None:
    report = brought(beauty, "beauty")
    assert columns(report, "events", "kind", "session_id", "user_id", "item_id", "time", "split") == [
        ("purchase", "v", "v", "b", 1023840000000, "test"),
        ("purchase", "u", "u", "a", 1318896000000, "train"),
        ("purchase", "u", "u", "b", 1318896000000, "valid"),
        ("purchase", "u", "u", "c", 1328140800000, "test"),
    ]
    assert report.splits == {"test": 2, "train": 1, "valid": 1}
    assert (report.info.session_idle_ms, report.info.repeats_allowed, report.info.titles) == (0, False, True)


def test_beautys_products_without_a_title_or_brand(beauty: Path) -> None:
    report = brought(beauty, "beauty")
    assert columns(report, "items", "item_id", "title", "brand", "category") == [
        ("a", 'Tea "Earl"', "Kettle", "Food > Tea"),
        ("b", "Jam", None, "Food > Jam"),
        ("c", "Mug", None, "Home"),
    ]
    assert columns(report, "facts", "head", "tail") == [("a", "b"), ("a", "brand:Kettle")]
    assert report.tables[2].bad == {"no_brand": 1}
    assert report.tables[2].first_bad[0].row == 3


def test_a_set_of_reviews_without_knowledge_has_no_facts(beauty: Path) -> None:
    (beauty / "knowledge.tsv.gz").unlink()
    assert [told.table for told in brought(beauty, "beauty").tables] == ["events", "items"]


def test_serenades_sessions_that_run_backwards_are_turned(tmp_path: Path) -> None:
    put(tmp_path, "train.tsv.gz", CLICKS + "7\t1\t1592337718.0\n7\t2\t1592337765.0\n7\t1\t1592337766.0\n")
    put(tmp_path, "valid.tsv.gz", CLICKS + "8\t3\t1593516343.0\n8\t2\t1593516272.0\n")
    put(tmp_path, "test.tsv.gz", CLICKS + "9\t4\t1593536687.0\n9\t1\t1593536656.0\n")
    report = brought(tmp_path, "serenade")
    assert columns(report, "events", "kind", "session_id", "item_id", "time", "split") == [
        ("view", "7", "1", 1592337718000, "train"),
        ("view", "7", "2", 1592337765000, "train"),
        ("view", "7", "1", 1592337766000, "train"),
        ("view", "8", "2", 1593516272000, "valid"),
        ("view", "8", "3", 1593516343000, "valid"),
        ("view", "9", "1", 1593536656000, "test"),
        ("view", "9", "4", 1593536687000, "test"),
    ]
    assert columns(report, "items", "item_id", "title")[:2] == [("1", "item 1"), ("2", "item 2")]
    assert (report.info.repeats_allowed, report.info.titles, report.info.evaluate_last_only) == (True, False, False)
    assert report.info.session_idle_ms > 5_365_000  # the longest pause within a session of these sets


def test_yoochooses_times_are_to_the_millisecond(tmp_path: Path) -> None:
    put(tmp_path, "train.tsv.gz", CLICKS + "1\t214536502\t1396860669.277\n1\t214536502\t1396860669.277\n")
    put(tmp_path, "test.tsv", CLICKS + "2\t214662742\t1396871797.614\n2\t214662742\tsoon\n")
    report = brought(tmp_path, "yoochoose")
    assert columns(report, "events", "item_id", "time", "split") == [
        ("214536502", 1396860669277, "train"),
        ("214662742", 1396871797614, "test"),
    ]
    assert report.tables[0].bad == {"not_a_number": 1, "duplicate": 1}
    (wrong,), (twice,) = report.tables[0].first_bad, report.tables[0].cleaned
    assert (wrong.file, wrong.row, wrong.value) == ("test.tsv", 2, "soon")
    assert (twice.file, twice.row) == ("train.tsv.gz", 2)


def test_a_line_of_diginetica_is_a_session_and_a_question_ends_with_its_answer(tmp_path: Path) -> None:
    put(tmp_path, "train.txt.gz", "1 2\n3 1 3\n")
    put(tmp_path, "test.tsv.gz", "3 2\t1\n3\t2\n")
    report = brought(tmp_path, "diginetica")
    begin = at("2016-01-01")
    assert columns(report, "events", "session_id", "item_id", "time", "split") == [
        ("train-1", "1", begin + 60_000, "train"),
        ("train-1", "2", begin + 61_000, "train"),
        ("train-2", "3", begin + 120_000, "train"),
        ("train-2", "1", begin + 121_000, "train"),
        ("train-2", "3", begin + 122_000, "train"),
        ("test-1", "3", begin + 180_000, "test"),
        ("test-1", "2", begin + 181_000, "test"),
        ("test-1", "1", begin + 182_000, "test"),
        ("test-2", "3", begin + 240_000, "test"),
        ("test-2", "2", begin + 241_000, "test"),
    ]
    assert report.info.evaluate_last_only
    assert report.table("items").height == 3


def test_a_damaged_file_of_diginetica_is_read_line_by_line_or_named(tmp_path: Path) -> None:
    put(tmp_path, "train.txt", "1 2\n3\t4\n5 6\n")
    put(tmp_path, "test.tsv", "1\t2\n")
    report = brought(tmp_path, "diginetica")
    assert report.table("events")["session_id"].unique(maintain_order=True).to_list() == [
        "train-1",
        "train-3",
        "test-1",
    ]
    put(tmp_path, "train.txt", "")
    with pytest.raises(InputError, match=r"train\.txt is empty"):
        brought(tmp_path, "diginetica")


def test_no_session_of_diginetica_is_taken_for_a_bot(tmp_path: Path) -> None:
    put(tmp_path, "train.txt", " ".join(str(number) for number in range(1000)) + "\n")
    put(tmp_path, "test.tsv", "1\t2\n")
    report = brought(tmp_path, "diginetica")
    assert (report.tables[0].kept, report.bad) == (1002, 0)


def test_rees46_has_carts_prices_and_paths(tmp_path: Path) -> None:
    rows = [
        "2019-10-01 00:00:00 UTC,view,7,99,appliances.kitchen.water_heater,aqua,33.20,5,s1",
        "2019-10-01 00:00:01 UTC,cart,7,99,appliances.kitchen.water_heater,aqua,31.00,5,s1",
        "2019-10-01 00:00:02 UTC,remove_from_cart,7,99,appliances.kitchen.water_heater,aqua,31.00,5,s1",
        "2019-10-01 00:00:03 UTC,purchase,8,98,,,0.00,5,s1",
        "2019-10-01 00:00:04 UTC,view,8,98,,,0.00,6,",
        "01.10.2019,view,8,98,,,1.00,6,s2",
    ]
    put(tmp_path, "events.csv.gz", REES46 + "\n".join(rows) + "\n")
    report = brought(tmp_path, "rees46")
    begin = at("2019-10-01")
    assert columns(report, "events", "kind", "session_id", "user_id", "item_id", "time", "price") == [
        ("view", "s1", "5", "7", begin, 33.2),
        ("cart_add", "s1", "5", "7", begin + 1000, 31.0),
        ("cart_remove", "s1", "5", "7", begin + 2000, 31.0),
        ("purchase", "s1", "5", "8", begin + 3000, None),
    ]
    assert columns(report, "items", "item_id", "title", "brand", "category", "price", "attributes") == [
        ("7", "Aqua water heater", "aqua", "Appliances > Kitchen > Water Heater", 31.0, '{"category_id":"99"}'),
        ("8", "item 8", None, None, 1.0, '{"category_id":"98"}'),
    ]
    assert [(row.rule, row.row, row.value) for row in report.tables[0].first_bad] == [
        ("missing", 5, None),
        ("not_a_number", 6, "01.10.2019"),
    ]


def test_rees46_takes_a_file_as_well_as_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "2019-Nov.csv", REES46 + "2019-11-01 00:00:00 UTC,view,7,99,,,3,5,s1\n")
    report = import_shop(tmp_path / "2019-Nov.csv", tmp_path / "out", "rees46")
    assert columns(report, "events", "item_id", "price") == [("7", 3.0)]


def test_clothings_clicks_get_times_in_their_order(tmp_path: Path) -> None:
    rows = [
        "2008;4;1;1;29;1;1;A13;1;5;1;28;2;1",
        "2008;4;1;2;29;1;4;P9;9;6;2;33;1;2",
        "2008;4;1;1;9;2;1;A13;1;5;1;28;2;1",
    ]
    put(tmp_path, "clicks.csv.gz", CLOTHING + "\n".join(rows) + "\n")
    report = brought(tmp_path, "clothing")
    begin = at("2008-04-01")
    assert columns(report, "events", "kind", "session_id", "item_id", "time", "price", "currency") == [
        ("view", "1", "A13", begin, 28.0, "USD"),
        ("view", "1", "P9", begin + 10_000, 33.0, "USD"),
        ("view", "2", "A13", begin + 23 * 1_800_000, 28.0, "USD"),
    ]
    assert columns(report, "items", "item_id", "title", "category", "price") == [
        ("A13", "Trousers A13, beige, photographed en face", "Trousers", 28.0),
        ("P9", "Sale P9, of many colours, photographed in profile", "Sale", 33.0),
    ]
    assert json.loads(report.table("items")["attributes"][0]) == {
        "colour": "beige",
        "photo": "en face",
        "page": "1",
        "place": "bottom in the middle",
        "dearer": False,
    }


def test_a_product_of_clothing_has_the_category_of_most_clicks(tmp_path: Path) -> None:
    rows = [f"2008;4;1;{order};29;1;{category};A1;1;5;1;28;2;1" for order, category in enumerate([1, 1, 2], 1)]
    put(tmp_path, "clicks.csv", CLOTHING + "\n".join(rows) + "\n")
    assert columns(brought(tmp_path, "clothing"), "items", "category") == [("Trousers",)]


def test_retails_cancellations_fees_and_corrections_are_no_purchases(tmp_path: Path) -> None:
    lines = [
        ("489434", "85048", " CHRISTMAS  BALL ", 12, "2010-07-01 07:45:00", 6.95, 13085.0),
        ("489434", "85048", "CHRISTMAS BALL", 12, "2010-07-01 07:45:00", 6.95, 13085.0),
        ("489434", "85048", "CHRISTMAS BALL", 1, "2010-07-01 07:45:00", 6.95, 13085.0),
        ("C489449", "85048", "CHRISTMAS BALL", -12, "2010-12-01 08:00:00", 6.95, 13085.0),
        ("489435", "POST", "POSTAGE", 1, "2010-12-01 08:00:00", 18.0, None),
        ("489436", "84873a", "smashed", -3, "2010-12-01 08:00:00", 0.0, None),
        ("489437", "84873a", "MUG", -3, "2010-12-01 08:00:00", 2.0, None),
        ("489438", "84873A", None, 2, "2010-12-01 08:00:00", 2.5, None),
    ]
    names = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID"]
    pl.DataFrame(lines, schema=names, orient="row").write_parquet(tmp_path / "online_retail_year1.parquet")
    report = brought(tmp_path, "retail")
    assert columns(report, "events", "kind", "session_id", "user_id", "item_id", "time", "quantity", "price") == [
        ("purchase", "489434", "13085", "85048", at("2010-07-01T06:45"), 12, 6.95),  # summer time
        ("purchase", "489434", "13085", "85048", at("2010-07-01T06:45"), 1, 6.95),
        ("purchase", "489438", None, "84873A", at("2010-12-01T08:00"), 2, 2.5),
    ]
    told = report.tables[0]
    assert told.bad == {"cancelled": 1, "no_product": 1, "no_price": 1, "out_of_bounds": 1, "duplicate": 1}
    assert [row.row for row in told.first_bad] == [4, 5, 6, 7]
    assert columns(report, "items", "item_id", "title", "price", "currency") == [
        ("84873A", "item 84873A", 2.5, "GBP"),
        ("85048", "Christmas ball", 6.95, "GBP"),
    ]
    assert report.info.ordered is False


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"completejourney"}))
def test_an_adapter_says_what_it_needs(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no SOURCE was given, expected the folder with"):
        import_shop(None, tmp_path / "out", name)
    with pytest.raises(InputError, match="lacks .* expected the folder with"):
        import_shop(tmp_path, tmp_path / "out", name)


@pytest.mark.parametrize(("name", "file"), [("rees46", "events.csv"), ("clothing", "clicks.csv")])
def test_a_file_of_something_else_is_told(name: str, file: str, tmp_path: Path) -> None:
    put(tmp_path, file, "a,b\n1,2\n")
    with pytest.raises(InputError, match=f"{file} lacks a column"):
        import_shop(tmp_path, tmp_path / "out", name)


def test_a_damaged_line_harms_no_other_of_an_adapters(tmp_path: Path) -> None:
    good = "2019-10-01 00:00:00 UTC,view,7,99,,,33.20,5,s1\n"
    put(tmp_path, "events.csv", REES46 + good + good.replace("s1", "s2,more,and more") + good.replace("s1", "s3"))
    report = brought(tmp_path, "rees46")
    assert columns(report, "events", "session_id") == [("s1",), ("s3",)]
    assert report.tables[0].bad == {"broken_row": 1}
    assert report.tables[0].first_bad[0].row == 2
