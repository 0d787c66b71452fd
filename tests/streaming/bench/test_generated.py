"""A shop that is made up follows its power laws, and is the same each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from index.model import ModelFolder
from streaming.bench.generated import ITEM_EXPONENT, GeneratedShop, PowerLaw
from streaming.errors import InputError


def test_shares_fall_with_the_rank_by_the_exponent() -> None:
    drawn = PowerLaw(1000, 2.5).draw(400_000, np.random.default_rng(1))
    counts = np.bincount(drawn, minlength=1000)
    assert drawn.max() < 1000
    for rank in (1, 7, 63):  # r-th over 1st: r^(-1/(a-1))
        assert counts[rank] / counts[0] == pytest.approx((rank + 1) ** (-1 / 1.5), rel=0.1)


def test_that_the_numbers_of_clicks_have_that_density() -> None:
    """Of items with a rank share of r^(-1/(a-1)) the share with more than x clicks falls as x^-(a-1)."""
    counts = np.sort(np.bincount(PowerLaw(2000, ITEM_EXPONENT).draw(4_000_000, np.random.default_rng(1))))
    tail = [(counts > x).mean() for x in (4000, 8000)]
    assert np.log2(tail[0] / tail[1]) == pytest.approx(ITEM_EXPONENT - 1, abs=0.4)


@pytest.mark.parametrize(("count", "exponent"), [(0, 2.5), (10, 1.0)])
def test_what_is_no_law_is_refused(count: int, exponent: float) -> None:
    with pytest.raises(InputError, match="expected at least 1, and above 1"):
        PowerLaw(count, exponent)


def test_a_shop_is_made_once_and_found_again(tmp_path: Path) -> None:
    shop = GeneratedShop.made(tmp_path, 400)
    first = ModelFolder.load(shop.folder)
    assert len(first.index) == len(list(shop.catalogue())) == 400
    assert first.tables.counts.to_frame()["after"].list.len().mean() > 5  # type: ignore[operator]
    written = (shop.folder / "manifest.json").stat().st_mtime_ns
    assert GeneratedShop.made(tmp_path, 400) == shop
    assert (shop.folder / "manifest.json").stat().st_mtime_ns == written
    (shop.folder / "manifest.json").write_text("{}")
    GeneratedShop.made(tmp_path, 400)
    assert ModelFolder.load(shop.folder).manifest.files == first.manifest.files


def test_visits_are_of_its_items_and_mostly_of_the_visitors_family(tmp_path: Path) -> None:
    shop = GeneratedShop(tmp_path, 400)
    visits = shop.visits(20_000, 50, seed=3)
    assert visits == shop.visits(20_000, 50, seed=3)
    assert visits != shop.visits(20_000, 50, seed=4)
    numbers = [(visitor, int(item.removeprefix("i"))) for visitor, item in visits]
    assert {item for _, item in numbers} <= set(range(400))
    at_home = Counter(visitor % 20 == item % 20 for visitor, item in numbers)
    assert at_home[True] / len(visits) == pytest.approx(0.8 + 0.2 / 20, abs=0.02)


def test_a_shop_of_next_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="99 items, expected at least 100"):
        GeneratedShop.made(tmp_path, 99)
