"""Import: what is written, again and again the same, and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from streaming.cli import application
from streaming.errors import InputError
from streaming.importing import import_shop
from streaming.shop import ShopFolder

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
    with pytest.raises(InputError, match="'amazon' is no adapter, expected one of completejourney"):
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
