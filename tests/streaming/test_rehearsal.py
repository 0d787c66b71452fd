"""A worker has gone the way of an event before the first one comes: `streaming.rehearsal`."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.text import DummyTextEncoder
from streaming.items import Shop
from streaming.rehearsal import rehearse
from tests.compiling import counts_of
from tests.stories.small_shop import Visitor, engine_for, fitted

FIRST = """
from streaming.rehearsal import rehearse
from tests.compiling import compiled
from tests.stories.small_shop import Visitor, engine_for, fitted, observe


def answer():
    visitor = Visitor(engine_for(shop))
    for second, item_id in enumerate(("mug-1", "mug-2", "hat-1")):
        visitor.does(second * 1000, "view", item_id)
    observe(shop, "mug-1>mug-3>pot-1")


shop = fitted()
print(compiled(lambda: rehearse(shop)), compiled(answer))
"""


def test_it_leaves_the_shop_as_it_was() -> None:
    shop, same = fitted(), fitted()
    before = (shop.version, shop.learned, shop.counts.to_frame(), shop.knn.to_frame())
    rehearse(shop)
    after = (shop.version, shop.learned, shop.counts.to_frame(), shop.knn.to_frame())
    assert before[:2] == after[:2]
    assert all(one.equals(other) for one, other in zip(before[2:], after[2:], strict=True))
    said, expected = (Visitor(engine_for(each)).does(0, "view", "mug-1") for each in (shop, same))
    assert said == expected


def test_a_shop_without_items_has_nothing_to_rehearse() -> None:
    rehearse(Shop(DummyTextEncoder()))


@pytest.mark.timeout(280)
def test_after_it_nothing_is_left_to_compile(tmp_path: Path) -> None:
    """Where nothing was ever compiled."""
    rehearsed, left = counts_of(FIRST, tmp_path)
    assert rehearsed > 10
    assert left == 0
