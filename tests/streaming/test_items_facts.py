"""What the shop knows of items beside their words: facts as they come and go, and what cold items borrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from index.cold_lane import LENDERS
from index.tables import TableSettings
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.records import Item, Learned, Transition
from tests.streaming.small_past import COLD, DUMMY, PAST, facts_of, model_at, row, shop_of, stocked, together


def test_facts_are_held_by_head_in_place_of_those_before() -> None:
    shop, _ = shop_of("tea pot")
    shop.upsert_facts(facts_of("tea", ("made_of", "clay")))
    shop.upsert_facts(facts_of("tea", ("made_of", "iron")))
    assert [tuple(fact) for fact in shop.graph.facts("tea")] == [("tea", "made_of", "iron")]
    shop.remove_facts("tea")
    shop.remove_facts("tea")
    assert shop.graph.facts("tea") == []


def test_facts_change_an_items_vector_and_its_links_at_once_and_taken_back_they_are_gone() -> None:
    shop = stocked(*PAST)
    before, version = row(shop, "rug"), shop.version
    graph = shop.layout.slices[1]
    assert not shop.graph.shared("rug", "mug", 1)
    shop.upsert_facts(facts_of("rug", ("colour", "blue"), ("brand", "Kiln")))
    told = row(shop, "rug")
    assert told[graph] @ row(shop, "mug")[graph] > before[graph] @ row(shop, "mug")[graph] + 0.1
    assert told[shop.layout.slices[0]].tobytes() == before[shop.layout.slices[0]].tobytes()
    assert [link.facts[0].relation for link in shop.graph.shared("rug", "mug", 2)] == ["brand", "colour"]
    assert shop.version > version
    query = np.zeros((1, shop.layout.dimension), np.float32)
    query[0, graph] = told[graph]
    assert shop.vocabulary.code("rug") in shop.index.search(query, 1)[0]
    version = shop.version
    shop.remove_facts("rug")
    assert row(shop, "rug").tobytes() == before.tobytes()
    assert not shop.graph.shared("rug", "mug", 1)
    assert shop.version > version


def test_what_the_catalogue_says_of_an_item_changes_its_vector_too() -> None:
    shop = stocked(*PAST)
    graph = shop.layout.slices[1]
    before = row(shop, "rug")
    shop.upsert([Item(item_id="rug", title="Wool rug", category="Floor", attributes={"colour": "blue"})])
    assert row(shop, "rug")[graph].tobytes() != before[graph].tobytes()
    assert shop.graph.shared("rug", "mug", 1)[0].facts[0].relation == "colour"
    shop.upsert([Item(item_id="rug", title="Wool rug", category="Floor")])
    assert row(shop, "rug").tobytes() == before.tobytes()


def test_facts_that_come_before_their_item_wait_for_it() -> None:
    shop = stocked(*PAST)
    shop.upsert_facts(facts_of("bowl", ("brand", "Kiln")))
    assert shop.row_of("bowl") is None
    shop.upsert([Item(item_id="bowl", title="Wooden bowl")])
    graph = shop.layout.slices[1]
    assert row(shop, "bowl")[graph] @ row(shop, "mug")[graph] > 0.3


def test_a_removed_item_is_no_way_and_what_was_told_of_it_waits() -> None:
    shop = stocked(*PAST)
    shop.upsert_facts(facts_of("rug", ("brand", "Kiln")))
    shop.remove(["rug"])
    assert shop.row_of("rug") is None
    shop.upsert([Item(item_id="rug", title="Wool rug")])
    assert shop.graph.shared("rug", "mug", 1)


def test_a_shop_without_vectors_of_facts_has_its_reasons_all_the_same() -> None:
    shop = stocked(*PAST, settings=TableSettings(graph="none"))
    assert not row(shop, "mug")[shop.layout.slices[1]].any()
    assert shop.graph.shared("mug", "pot", 1)


# ----------------------------------------------------------------------------------------------------------- cold items
NEW = pl.DataFrame(
    {
        "item_id": ["mug", "cup", "hat", "new"],
        "title": ["stoneware mug", "stoneware cup", "felt hat", "stoneware mug large"],
    }
)
"""`new` is like `mug` and `cup`; nothing is like `hat`."""


def lent(shop: Shop, item_id: str) -> list[str]:
    return shop.vocabulary.ids([warm for warm, _ in shop.lenders(shop.vocabulary.code(item_id))])


def test_an_item_that_nobody_saw_borrows_from_the_warm_ones_that_are_most_like_it() -> None:
    shop = stocked(*["hat mug"] * 6, *["cup hat"] * 5, items=NEW, settings=COLD)
    assert lent(shop, "new")[:2] == ["mug", "cup"]
    (_, most), (_, less), *_ = shop.lenders(shop.vocabulary.code("new"))
    assert most > less > 0
    assert lent(shop, "mug") == []
    found = together(shop, "hat")
    assert found["mug"] > found["new"] > 0
    assert len(shop.lenders(shop.vocabulary.code("new"))) <= LENDERS


def test_an_item_that_comes_while_running_borrows_too() -> None:
    shop = stocked(*["hat mug"] * 6, items=NEW.filter(pl.col("item_id") != "new"), settings=COLD)
    assert "new" not in together(shop, "hat")
    shop.upsert([Item(item_id="new", title="stoneware mug large")])
    assert together(shop, "hat")["new"] > 0


def test_an_item_that_was_seen_often_enough_borrows_no_more() -> None:
    shop = stocked(*["hat mug"] * 6, items=NEW, settings=COLD)
    for offset in range(5):
        assert lent(shop, "new")[:1] == ["mug"]
        taught = Transition(offset, "", "new", "view", time=1, session=offset, visitor=offset)
        shop.learn(Learned(topic="browses", partition=0, transitions=[taught]))
    assert lent(shop, "new") == []
    assert "new" not in together(shop, "hat")


def test_a_session_is_compared_with_cold_items_until_they_are_seen_often_enough_or_sold_no_more() -> None:
    shop = stocked(*["hat mug"] * 6, *["cup hat"] * 5, items=NEW, settings=COLD)
    shop.upsert([Item(item_id="newer", title="stoneware"), Item(item_id="other", title="linen")])
    session = row(shop, "mug")[:-1]

    def nearest(n: int) -> list[str]:
        return shop.vocabulary.ids(shop.lane.nearest(session[None], n)[0])

    assert nearest(2) == ["new", "newer"]
    assert not {"mug", "cup", "hat"} & set(nearest(10))
    assert nearest(0) == []
    several = shop.lane.nearest(np.stack([np.zeros_like(session), session, row(shop, "hat")[:-1]]), 10)
    assert [shop.vocabulary.ids(found) for found in several[:2]] == [[], nearest(10)]
    shop.remove(["newer"])
    assert "newer" not in nearest(10)
    for offset in range(5):
        taught = Transition(offset, "", "new", "view", time=1, session=offset, visitor=offset)
        shop.learn(Learned(topic="browses", partition=0, transitions=[taught]))
    assert "new" not in nearest(10)


def test_nothing_is_said_to_be_like_an_item_that_is_no_longer_sold() -> None:
    shop = stocked(*["hat mug"] * 6, *["cup hat"] * 5, items=NEW, settings=COLD)
    shop.remove(["mug"])
    assert lent(shop, "new")[0] == "cup"


def test_items_of_a_model_folder_borrow_as_when_it_was_built(tmp_path: Path) -> None:
    past = [*["hat mug"] * 6, *["cup hat"] * 5]
    built = stocked(*past, items=NEW, settings=COLD)
    served = Shop.open(model_at(tmp_path / "model", *past, items=NEW, settings=COLD), DUMMY)
    served.upsert(list(items_of(NEW)))
    assert lent(served, "new") == lent(built, "new")
    assert together(served, "hat") == pytest.approx(together(built, "hat"))
    assert together(served, "hat")["new"] > 0
