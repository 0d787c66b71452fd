from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index.counts import Counts
from index.model import Manifest, ModelFolder
from streaming import items
from streaming.errors import InputError
from streaming.intake import Event, Source
from streaming.items import Shop, sellable
from streaming.records import Fact, Facts, Item, Learned, Transition
from streaming.sessions import KINDS, Step

SEARCH, VIEW = KINDS.index("search"), KINDS.index("view")


class Listening(DummyTextEncoder):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        return super().encode(texts)


def shop_of(*titles: str) -> tuple[Shop, Listening]:
    texts = Listening()
    shop = Shop(texts)
    shop.upsert([Item(item_id=title[:3], title=title) for title in titles])
    return shop, texts


def told(item_id: str, title: str) -> Event:
    return Event(Source(1, 0, 0, 0), "s", None, "view", 1, item_id, title=title)


def nearest(shop: Shop, words: str) -> list[str]:
    shop.read([words])
    vector = shop.vector_of(Step(1, 1, SEARCH, words), words)
    assert vector is not None
    return [item_id for item_id, _ in shop.index.search(vector[None, :], 5)[0]]


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
    together, alone = Shop(DummyTextEncoder(), whitening), Shop(DummyTextEncoder(), whitening)
    together.upsert([Item(item_id=title, title=title) for title in titles])
    for title in titles:
        alone.upsert([Item(item_id=title, title=title)])
    for title in titles:
        one, other = together.index.vector(title), alone.index.vector(title)
        assert one is not None
        assert other is not None
        assert one.tobytes() == other.tobytes()


def test_an_unknown_item_has_the_vector_of_the_title_an_event_told() -> None:
    shop, texts = shop_of("tea pot")
    step = Step(1, 1, VIEW, "new")
    assert shop.words_of([step]) == (None,)
    assert shop.vector_of(step, None) is None
    shop.met(told("new", "copper pot"))
    assert shop.words_of([step, Step(2, 2, SEARCH, "hat"), Step(3, 3, VIEW, "tea")]) == ("copper pot", "hat", None)
    vector = shop.vector_of(step, "copper pot")
    assert vector is not None
    assert np.allclose(vector, DummyTextEncoder().encode(["copper pot"])[0])
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
        assert shop.vector_of(Step(1, 1, SEARCH, f"words {n}"), f"words {n}") is not None
    asked = len(texts.calls)
    shop.read(["words 4", "words 3"])
    assert len(texts.calls) == asked
    shop.read(["words 0"])
    assert texts.calls[-1] == ["words 0"]


def lesson(*offsets: int, partition: int = 0, topic: str = "browses") -> Learned:
    taught = [Transition(offset=offset, before="tea", after="mug", kind="view") for offset in offsets]
    return Learned(topic=topic, partition=partition, transitions=taught)


def test_an_offset_teaches_once() -> None:
    shop, _ = shop_of("tea pot", "mug")
    shop.learn(lesson(1, 2))
    shop.learn(lesson(1, 2))
    shop.learn(lesson(2, 3))
    assert shop.counts.support("tea", "mug") == 3
    shop.learn(lesson(1, partition=1))
    shop.learn(lesson(1, topic="clicks"))
    assert shop.counts.support("tea", "mug") == 5
    assert shop.learned == 5


def test_popularity_follows_what_was_learned() -> None:
    shop, _ = shop_of("tea pot", "mug")
    assert shop.popular() == {}
    shop.learn(lesson(1))
    assert shop.popular() == {"mug": 1.0}


def test_facts_are_held_by_head() -> None:
    shop, _ = shop_of("tea pot")
    facts = Facts(head="tea", facts=[Fact(relation="made_of", tail="clay")])
    shop.upsert_facts(facts)
    assert shop.facts == {"tea": facts}
    shop.remove_facts("tea")
    shop.remove_facts("tea")
    assert shop.facts == {}


@pytest.mark.parametrize(
    ("available", "stock", "expected"), [(True, None, True), (True, 3, True), (True, 0, False), (False, 3, False)]
)
def test_what_may_be_sold(available: bool, stock: int | None, expected: bool) -> None:
    assert sellable(Item(item_id="a", title="a", available=available, stock=stock)) is expected


def folder_at(path: Path, text: str) -> Path:
    half = Whitening(np.zeros(64, dtype=np.float32), np.eye(64, 32, dtype=np.float32))
    counts = Counts.fit(["x", "x", "y", "y"], ["tea", "mug", "tea", "mug"])
    frame = pl.DataFrame({"item_id": ["tea"]})
    ModelFolder(Manifest(data="0" * 16, text=text), counts, half, frame).save(path)
    return path


def test_a_model_folder_is_served(tmp_path: Path) -> None:
    texts = DummyTextEncoder()
    shop = Shop.open(folder_at(tmp_path / "model", texts.digest), texts)
    assert shop.dimension == 32
    assert shop.counts.support("tea", "mug") == 2
    assert shop.model == ModelFolder.load(tmp_path / "model").version
    assert Shop.open(None, texts).model == "none"


def test_a_switch_of_the_model_keeps_items_and_facts_and_learns_nothing_twice(tmp_path: Path) -> None:
    shop, texts = shop_of("tea pot", "mug")
    shop.upsert_facts(Facts(head="tea", facts=[]))
    shop.learn(lesson(5))
    other = shop.with_model(folder_at(tmp_path / "model", texts.digest))
    assert other.items == shop.items
    assert other.facts == shop.facts
    assert nearest(other, "pot")[0] == "tea"
    assert other.snapshot != shop.snapshot
    other.learn(lesson(5, 6))
    assert other.counts.support("tea", "mug") == 3
    assert shop.counts.support("tea", "mug") == 1


def test_a_folder_that_cannot_be_used_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="build it anew"):
        Shop.open(folder_at(tmp_path / "model", "another"), DummyTextEncoder())
    with pytest.raises(InputError):
        Shop.open(tmp_path / "nothing", DummyTextEncoder())
