"""Cleaning: events that are right one by one, and what becomes of them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streaming.checking import FIRST_BAD_ROWS, TableReport
from streaming.cleaning import Cleaning
from streaming.errors import InputError
from streaming.importing import ImportReport, import_shop

T = 1_483_228_800_000
MINUTE = 60_000
HEADER = "kind,session_id,time,item_id,user_id,event_id,quantity,query\n"


def row(at: int = T, item: str = "a", session: str = "s", **other: Any) -> str:
    given = {"kind": "view", "user_id": "", "event_id": "", "quantity": "", "query": ""} | other
    return ",".join(
        str(value)
        for value in (
            given["kind"], session, at, item, given["user_id"], given["event_id"], given["quantity"], given["query"]
        )
    )  # fmt: skip


def imported(folder: Path, rows: list[str], cleaning: Cleaning | None = None, items: str = "") -> ImportReport:
    source = folder / "source"
    source.mkdir()
    (source / "events.csv").write_text(HEADER + "\n".join(rows) + "\n")
    if items:
        (source / "items.csv").write_text(items)
    return import_shop(source, folder / "out", cleaning=cleaning)


def events_told(report: ImportReport) -> TableReport:
    return report.tables[0]


def test_an_event_that_stands_twice_counts_once_and_the_first_stays(tmp_path: Path) -> None:
    rows = [row(), row(T + 1), row(), row(item="b"), row(session="other"), row(kind="click"), row()]
    report = imported(tmp_path, rows)
    told = events_told(report)
    assert (told.read, told.kept, told.bad) == (7, 5, {"duplicate": 2})
    assert [(bad.file, bad.row, bad.rule) for bad in told.cleaned] == [
        ("events.csv", 3, "duplicate"),
        ("events.csv", 7, "duplicate"),
    ]
    assert "stand there before" in str(told.cleaned[0])


def test_two_lines_of_a_basket_that_differ_in_quantity_are_no_duplicates(tmp_path: Path) -> None:
    rows = [row(kind="purchase", quantity=1), row(kind="purchase", quantity=2), row(kind="purchase", quantity=2)]
    report = imported(tmp_path, rows)
    assert report.table("events")["quantity"].to_list() == [1, 2]
    assert events_told(report).bad == {"duplicate": 1}


def test_searches_for_other_words_at_one_time_are_no_duplicates(tmp_path: Path) -> None:
    rows = [row(kind="search", item="", query=words) for words in ("tea", "mug", "tea")]
    assert imported(tmp_path, rows).table("events")["query"].to_list() == ["tea", "mug"]


def test_an_event_id_counts_once_in_its_session(tmp_path: Path) -> None:
    rows = [row(event_id="e1"), row(T + 5, event_id="e1"), row(session="other", event_id="e1"), row(T + 9)]
    told = events_told(imported(tmp_path, rows))
    assert (told.kept, told.bad) == (3, {"duplicate_id": 1})
    assert (told.cleaned[0].row, told.cleaned[0].value) == (2, "e1")


def test_who_views_faster_than_a_person_is_set_aside_with_all_events(tmp_path: Path) -> None:
    bot = [row(T + 10 * n, item=str(n), session="bot") for n in range(101)]
    later = row(T + 50 * MINUTE, session="bot", kind="purchase")
    person = [row(T + 10 * n, item=str(n), session="person") for n in range(100)]
    report = imported(tmp_path, [*bot, *person, later])
    told = events_told(report)
    assert (told.kept, told.bad) == (100, {"bot": 102})
    assert set(report.table("events")["session_id"]) == {"person"}
    assert len(told.cleaned) == FIRST_BAD_ROWS
    assert told.cleaned[0].value == "bot"
    assert "at most 100 views, clicks and searches a minute" in str(told.cleaned[0])
    assert "1 visitors are taken for bots" in told.notes


def test_a_bot_that_changes_its_session_is_known_by_its_user(tmp_path: Path) -> None:
    bot = [row(T + 10 * n, item=str(n), session=f"s{n}", user_id="crawler") for n in range(101)]
    assert events_told(imported(tmp_path, [*bot, row()])).bad == {"bot": 101}


def test_duplicates_do_not_make_a_bot(tmp_path: Path) -> None:
    told = events_told(imported(tmp_path, [row()] * 500))
    assert (told.kept, told.bad) == (1, {"duplicate": 499})


def test_a_basket_of_many_lines_is_no_bot(tmp_path: Path) -> None:
    rows = [row(kind="purchase", item=str(n)) for n in range(600)]
    assert events_told(imported(tmp_path, rows)).kept == 600


def test_a_slow_bot_is_found_by_the_day(tmp_path: Path) -> None:
    rows = [row(T + n * MINUTE, item=str(n)) for n in range(30)] + [row(session="person")]
    told = events_told(imported(tmp_path, rows, Cleaning(per_minute=2, per_day=29)))
    assert (told.kept, told.bad) == (1, {"bot": 30})


def test_without_limits_nobody_is_a_bot(tmp_path: Path) -> None:
    rows = [row(T + n, item=str(n)) for n in range(6000)]
    assert events_told(imported(tmp_path, rows, Cleaning(per_minute=0, per_day=0))).kept == 6000


ITEMS = "item_id,title\na,Tea\n"


def test_events_of_unknown_items_are_kept_and_told(tmp_path: Path) -> None:
    report = imported(tmp_path, [row(), row(item="ghost"), row(kind="search", item="", query="tea")], items=ITEMS)
    told = events_told(report)
    assert (told.kept, told.bad) == (3, {})
    assert told.notes == [
        "1 events are about items that are not in items; they are kept, --unknown-items drop sets them aside"
    ]


def test_events_of_unknown_items_are_set_aside_where_that_is_wanted(tmp_path: Path) -> None:
    rows = [row(), row(item="ghost"), row(kind="search", item="", query="tea")]
    report = imported(tmp_path, rows, Cleaning(keep_unknown_items=False), ITEMS)
    told = events_told(report)
    assert (told.kept, told.bad, told.notes) == (2, {"unknown_item": 1}, [])
    assert (told.cleaned[0].row, told.cleaned[0].value) == (2, "ghost")


def test_without_a_table_of_items_none_is_unknown(tmp_path: Path) -> None:
    told = events_told(imported(tmp_path, [row(item="ghost")], Cleaning(keep_unknown_items=False)))
    assert (told.kept, told.notes) == (1, [])


def test_what_cleaning_sets_aside_is_not_wrong_by_strict(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "events.csv").write_text(HEADER + row() + "\n" + row() + "\n")
    assert import_shop(source, tmp_path / "out", strict=True).bad == 1
    (source / "events.csv").write_text(HEADER + row() + "\n" + row(0) + "\n")
    with pytest.raises(InputError, match=r"--strict: events\.csv, row 2, time: '0'"):
        import_shop(source, tmp_path / "out", strict=True)
