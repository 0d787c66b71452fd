from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index.tables import Tables
from streaming import items
from streaming.items import Shop
from streaming.records import Item, Learned, Transition
from streaming.sessions import KINDS, Step
from streaming.shelf import sellable
from tests.streaming.small_past import DUMMY, lesson, nearest, row, shop_of, support, tables_of, together, told

SEARCH, VIEW = KINDS.index("search"), KINDS.index("view")


def test_new_items_are_encoded_in_one_call_and_found() -> None:
    shop, texts = shop_of("tea pot", "mug", "saw")
    assert texts.calls == [["tea pot", "mug", "saw"]]
    assert nearest(shop, "pot")[0] == "tea"


def test_a_new_price_costs_no_encoding_and_a_new_title_does() -> None:
    shop, texts = shop_of("tea pot", "mug")
    version = shop.version
    shop.upsert([Item(item_id="mug", title="mug", price=5.0, stock=0)])
    assert (len(texts.calls), shop.version) == (1, version)
    assert shop.items["mug"].price == 5.0
    shop.upsert([Item(item_id="mug", title="hand saw")])
    assert texts.calls[1:] == [["hand saw"]]
    assert shop.version > version
    assert nearest(shop, "saw")[0] == "mug"


def test_of_an_item_given_twice_the_last_holds() -> None:
    shop = Shop(DummyTextEncoder())
    shop.upsert([Item(item_id="a", title="one"), Item(item_id="a", title="two")])
    assert shop.items["a"].title == "two"
    assert len(shop.index) == 1


def test_what_is_removed_is_found_no_more() -> None:
    shop, _ = shop_of("tea pot", "mug")
    version = shop.version
    shop.remove(["tea", "never there"])
    assert "tea" not in shop.items
    assert nearest(shop, "pot") == ["mug"]
    assert shop.version == version + 1
    shop.remove(["tea"])
    assert shop.version == version + 1


def test_a_vector_does_not_depend_on_what_was_encoded_beside_it() -> None:
    draw = np.random.default_rng(1)
    whitening = Whitening(draw.normal(size=64).astype(np.float32), draw.normal(size=(64, 32)).astype(np.float32))
    titles = [f"thing {n} of {n % 7}" for n in range(200)]
    catalogue = [Item(item_id=title, title=title, brand=f"brand {n % 5}") for n, title in enumerate(titles)]
    frame = pl.DataFrame({"item_id": titles, "brand": [item.brand for item in catalogue]})
    together, alone, at_once = (Shop(DUMMY, tables_of(items=frame, whitening=whitening)) for _ in range(3))
    together.upsert(catalogue)
    for item in catalogue:
        alone.upsert([item])
    at_once.stock(catalogue, DUMMY.encode([f"{item.title}, {item.brand}" for item in catalogue]))
    for title in titles:
        assert row(together, title).any()
        assert row(together, title).tobytes() == row(alone, title).tobytes() == row(at_once, title).tobytes()


def test_an_unknown_item_has_the_vector_of_the_title_an_event_told() -> None:
    shop, texts = shop_of("tea pot")
    step = Step(1, 1, VIEW, "new")
    assert shop.words_of([step]) == (None,)
    assert shop.vectors_of([step], (None,))[0] == []
    shop.met(told("new", "copper pot"))
    assert shop.words_of([step, Step(2, 2, SEARCH, "hat"), Step(3, 3, VIEW, "tea")]) == ("copper pot", "hat", None)
    steps = [step, Step(2, 2, VIEW, "tea"), step]
    places, (vector, known) = shop.vectors_of(steps, ("copper pot", None, None))
    assert places == [0, 1]
    assert vector.any()
    assert known.tobytes() == row(shop, "tea")[: shop.dimension].tobytes()
    assert np.allclose(vector[:64], DummyTextEncoder().encode(["copper pot"])[0])
    assert vector.shape == (shop.dimension,)
    assert not vector[64:].any()
    shop.upsert([Item(item_id="new", title="copper kettle")])
    assert shop.words_of([step]) == (None,)
    calls, version = len(texts.calls), shop.version
    shop.met(told("new", "something else"))
    assert (len(texts.calls), shop.version) == (calls, version)


def test_the_version_is_that_of_the_catalogue_alone() -> None:
    shop, _ = shop_of("tea pot")
    version = shop.version
    shop.met(told("new", "copper pot"))
    shop.read(["a query"])
    assert shop.version == version
    shop.upsert([Item(item_id="new", title="copper pot")])
    assert shop.version == version + 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "TITLES_KEPT", 3)
    monkeypatch.setattr(items, "TEXTS_KEPT", 2)
    shop, texts = shop_of("tea pot")
    for n in range(5):
        shop.met(told(f"new {n}", f"title {n}"))
    steps = [Step(n, n, VIEW, f"new {n}") for n in range(5)]
    assert shop.words_of(steps) == (None, None, "title 2", "title 3", "title 4")
    for n in range(5):
        _, (vector,) = shop.vectors_of([Step(1, 1, SEARCH, f"words {n}")], (f"words {n}",))
        assert vector.any()
    asked = len(texts.calls)
    shop.read(["words 4", "words 3"])
    assert len(texts.calls) == asked
    shop.read(["words 0"])
    assert texts.calls[-1] == ["words 0"]


def test_an_offset_teaches_once() -> None:
    shop, _ = shop_of("tea pot", "mug")
    shop.learn(lesson(1, 2))
    shop.learn(lesson(1, 2))
    shop.learn(lesson(2, 3))
    assert support(shop, "tea", "mug") == 3
    shop.learn(lesson(1, partition=1))
    shop.learn(lesson(1, topic="clicks"))
    assert support(shop, "tea", "mug") == 5
    assert shop.learned == 4  # the second record was a repeat of the first


def test_a_lesson_reaches_counts_and_neighbours() -> None:
    shop, _ = shop_of("tea pot", "mug")
    for n, item_id in enumerate(("tea", "mug")):
        taught = Transition(n, "", item_id, "view", time=n, session=7, visitor=7, context=["tea"][:n])
        shop.learn(Learned(topic="browses", partition=0, transitions=[taught]))
    alike = shop.knn.scores(shop.vocabulary.codes(["tea"]), 10)
    assert "mug" in shop.vocabulary.ids(alike.codes)
    assert together(shop, "tea").keys() == {"mug"}


def test_popularity_follows_what_was_learned() -> None:
    shop, _ = shop_of("tea pot", "mug")
    assert shop.popular(5).tolist() == []
    shop.learn(lesson(1))
    assert shop.vocabulary.ids(shop.popular(5)) == ["mug"]
    for _ in range(2):
        shop.learn(Learned(topic="clicks", partition=0, transitions=[Transition(_, "", "tea", "view")]))
    assert shop.vocabulary.ids(shop.popular(5)) == ["tea", "mug"]
    assert shop.vocabulary.ids(shop.popular(1)) == ["tea"]


@pytest.mark.parametrize(
    ("available", "stock", "expected"), [(True, None, True), (True, 3, True), (True, 0, False), (False, 3, False)]
)
def test_what_may_be_sold(available: bool, stock: int | None, expected: bool) -> None:
    assert sellable(Item(item_id="a", title="a", available=available, stock=stock)) is expected


def test_a_shop_that_knows_nothing_has_texts_as_they_are() -> None:
    shop = Shop(DUMMY, Tables.empty(DUMMY.dimension))
    shop.upsert([Item(item_id="a", title="blue mug")])
    assert row(shop, "a")[:64] == pytest.approx(DUMMY.encode(["blue mug"])[0])
    assert not row(shop, "a")[64:].any()
