"""Events in the order of their times: the same whether they fit into memory or go by the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.arranging import arrange
from streaming.checking import Source
from streaming.cleaning import Cleaning
from streaming.partitions import Partitions

T = 1_483_228_800_000


def sources(count: int, seed: int = 1, span: int = 10_000_000) -> list[Source]:
    """Two files of events in no order, with wrong rows, duplicates and a bot among them."""
    chance = np.random.default_rng(seed)
    visitor = np.where(chance.random(count) < 0.1, 0, chance.integers(1, count // 4 + 2, count))
    frame = pl.DataFrame(
        {
            "kind": np.array(["view", "view", "click", "purchase", "peek"])[chance.integers(0, 5, count)],
            "session_id": visitor.astype(str),
            "time": T + chance.integers(0, span, count),
            "item_id": chance.integers(0, 50, count).astype(str),
        }
    )
    frame = pl.concat([frame, frame.head(count // 10)])
    cut = len(frame) // 3
    return [
        Source(Path("one.parquet"), frame.head(cut).lazy()),
        Source(Path("two.parquet"), frame.tail(len(frame) - cut).lazy()),
    ]


CLEANING = Cleaning(per_minute=2, per_day=20)


def test_the_disk_changes_neither_events_nor_report(tmp_path: Path) -> None:
    catalogue = pl.Series([str(number) for number in range(45)])
    few, few_told = arrange(sources(5000), CLEANING, catalogue, tmp_path / "a")
    many, many_told = arrange(sources(5000), CLEANING, catalogue, tmp_path / "b", rows_in_memory=200)
    assert len(few) == 1
    assert len(many) > 10
    one = pl.concat(few).collect()
    assert pl.concat(many).collect().equals(one)
    assert many_told == few_told
    assert set(few_told.bad) == {"unknown_kind", "duplicate", "bot"}
    assert few_told.read == few_told.kept + sum(few_told.bad.values())
    assert few_told.kept == len(one)
    assert one["time"].is_sorted()


def test_no_stretch_of_time_is_much_longer_than_memory_allows(tmp_path: Path) -> None:
    frames, told = arrange(sources(40_000), Cleaning(0, 0), None, tmp_path, rows_in_memory=2000)
    lengths = [frame.select(pl.len()).collect().item() for frame in frames]
    assert sum(lengths) == told.kept
    assert max(lengths) < 4000


def test_ties_stand_in_the_order_of_sources_and_rows(tmp_path: Path) -> None:
    rows = [("view", f"s{number}", T, str(number)) for number in range(300)]
    frame = pl.DataFrame(rows, schema=["kind", "session_id", "time", "item_id"], orient="row")
    given_in = [Source(Path("one"), frame.head(150).lazy()), Source(Path("two"), frame.tail(150).lazy())]
    frames, _ = arrange(given_in, Cleaning(), None, tmp_path, rows_in_memory=20)
    assert pl.concat(frames).collect()["item_id"].to_list() == [str(number) for number in range(300)]


def test_no_events_are_an_empty_table(tmp_path: Path) -> None:
    frames, told = arrange([], Cleaning(), None, tmp_path)
    empty = pl.concat(frames).collect()
    assert (len(empty), told.read, empty.columns[:3]) == (0, 0, ["kind", "session_id", "time"])


@settings(deadline=None, max_examples=25)
@given(
    events=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 200), st.sampled_from(["view", "purchase"]), st.integers(0, 2)),
        max_size=60,
    ),
    memory=st.integers(1, 40),
)
def test_any_events_come_out_once_and_in_order(
    events: list[tuple[int, int, str, int]], memory: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    columns = {
        "kind": [kind for _, _, kind, _ in events],
        "session_id": [f"s{session}" for session, *_ in events],
        "time": [T + time for _, time, _, _ in events],
        "item_id": [f"i{item}" for *_, item in events],
    }
    schema = {"kind": pl.String, "session_id": pl.String, "time": pl.Int64, "item_id": pl.String}
    source = Source(Path("events"), pl.DataFrame(columns, schema=schema).lazy())
    frames, _ = arrange([source], Cleaning(), None, tmp_path_factory.mktemp("scratch"), rows_in_memory=memory)
    got = pl.concat(frames).select("session_id", "time", "kind", "item_id").collect().rows()
    once = dict.fromkeys((f"s{session}", T + time, kind, f"i{item}") for session, time, kind, item in events)
    assert got == sorted(once, key=lambda event: event[1])


def test_partitions_hold_no_more_than_they_may(tmp_path: Path) -> None:
    parts = Partitions(tmp_path / "parts", 3, rows_in_memory=10)
    for begin in range(0, 100, 5):
        parts.add(pl.DataFrame({"n": range(begin, begin + 5)}), pl.col("n") % 3)
        assert parts.held <= 10
    assert (parts.rows, parts.on_disk) == (100, True)
    assert [part["n"].to_list() for part in parts] == [list(range(start, 100, 3)) for start in range(3)]
    assert list((tmp_path / "parts").rglob("*.arrow")) == []


def test_partitions_of_few_rows_are_one(tmp_path: Path) -> None:
    parts = Partitions(tmp_path / "parts", 3)
    parts.add(pl.DataFrame({"n": [4, 5, 6]}), pl.col("n") % 3)
    assert [part["n"].to_list() for part in parts] == [[4, 5, 6]]
    assert not (tmp_path / "parts").exists()
