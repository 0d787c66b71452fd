"""A shop under a model folder, and under another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.graph.facts import GOES_WITH
from encoders.text import DummyTextEncoder
from index.model import ModelFolder
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.ranking import RankingSettings
from streaming.records import Item
from streaming.sessions import KINDS, Step
from tests.index.small_tables import ITEMS
from tests.streaming.small_past import (
    DUMMY,
    PAST,
    Listening,
    facts_of,
    lesson,
    model_at,
    nearest,
    ranking_of,
    row,
    shop_of,
    stocked,
    support,
    told,
)

VIEW = KINDS.index("view")


def switched(shop: Shop, folder: Path) -> Shop:
    return shop.handed_over(Shop.open(folder, shop.texts))


def test_a_model_folder_is_served(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "model", *PAST, told=ranking_of(RankingSettings(text=0.3, repeat=True)))
    texts = Listening()
    shop = Shop.open(folder, texts)
    assert shop.dimension == shop.layout.session == 64 + 64 + 128
    assert support(shop, "tea", "mug") == 3
    assert shop.model == ModelFolder.load(folder).version
    assert RankingSettings.of(shop) == RankingSettings(text=0.3, repeat=True)
    assert not shop.items
    assert shop.snapshot == Shop.open(folder, texts).snapshot != Shop.open(None, texts).snapshot
    assert Shop.open(None, texts).model == "none"
    assert texts.calls == []


def test_items_that_are_as_the_model_knew_them_have_its_vectors_and_are_not_encoded(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "model", *PAST)
    texts, built = Listening(), stocked(*PAST)
    shop = Shop.open(folder, texts)
    known = list(items_of(ITEMS))
    shop.upsert([*known[1:], Item(item_id="tea", title="Black tea", brand="Alpine", category="Food > Tea")])
    assert texts.calls == [["Black tea, Alpine"]]
    for item in known[1:]:
        assert row(shop, item.item_id).tobytes() == row(built, item.item_id).tobytes()
    assert row(shop, "tea").tobytes() != row(built, "tea").tobytes()
    assert nearest(shop, "Stoneware pot, Kiln, Kitchen")[0] == "pot"


def test_a_model_that_contains_lessons_hears_none_of_them_again(tmp_path: Path) -> None:
    shop = Shop.open(model_at(tmp_path / "model", *PAST, learned={"browses/0": 5}), DUMMY)
    shop.learn(lesson(4, 5, 6))
    assert support(shop, "tea", "mug") == 3 + 1
    shop.learn(lesson(5, partition=1))
    assert support(shop, "tea", "mug") == 3 + 2


def test_a_switch_of_the_model_keeps_items_and_facts_and_learns_nothing_twice(tmp_path: Path) -> None:
    shop, texts = shop_of("tea pot", "mug")
    shop.upsert_facts(facts_of("tea", ("made_of", "clay")))
    shop.met(told("new", "copper pot"))
    shop.learn(lesson(5))
    other = switched(shop, model_at(tmp_path / "model", *PAST, text=texts.digest))
    assert other.items == shop.items
    assert ("tea", "made_of", "clay") in [tuple(fact) for fact in other.graph.facts("tea")]
    assert nearest(other, "pot")[0] == "tea"
    assert other.words_of([Step(1, 1, VIEW, "new")]) == ("copper pot",)
    assert other.snapshot != shop.snapshot
    assert other.learned == shop.learned == 1
    other.learn(lesson(5, 6))
    assert support(other, "tea", "mug") == 3 + 1
    assert support(shop, "tea", "mug") == 1


def test_a_switch_to_a_model_that_contains_more_than_was_heard_counts_nothing_twice(tmp_path: Path) -> None:
    shop, _ = shop_of("tea pot", "mug")
    shop.learn(lesson(3))
    shop.learn(lesson(9, partition=1))
    other = switched(shop, model_at(tmp_path / "model", *PAST, learned={"browses/0": 7, "browses/1": 2}))
    other.learn(lesson(4, 7, 8))
    other.learn(lesson(9, 10, partition=1))
    assert support(other, "tea", "mug") == 3 + 2


def test_facts_that_were_taken_back_do_not_come_back_with_another_model(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "model", *PAST)  # its table of facts says (mug, made_for, tea)
    shop = Shop.open(folder, DUMMY)
    shop.upsert(list(items_of(ITEMS)))
    assert ("mug", "made_for", "tea") in [tuple(fact) for fact in shop.graph.facts("mug")]
    shop.remove_facts("mug")
    for each in (shop, switched(shop, folder)):
        assert ("mug", "made_for", "tea") not in [tuple(fact) for fact in each.graph.facts("mug")]
        assert ("mug", GOES_WITH, "pot") in [tuple(fact) for fact in each.graph.facts("mug")]


def test_a_folder_that_cannot_be_used_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="build it anew"):
        Shop.open(model_at(tmp_path / "model", text="another"), DummyTextEncoder())
    with pytest.raises(InputError):
        Shop.open(tmp_path / "nothing", DummyTextEncoder())
