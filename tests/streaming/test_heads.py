"""What heads say of events: which text they read, once an event, at one forward pass a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.heads.head import Answer, Head, Manifest
from encoders.text import DummyTextEncoder
from streaming.decisions import Decision, Due
from streaming.errors import InputError
from streaming.heads import CLASSES_TOLD, Heads, ServedHead, label_id
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.labels import Label
from streaming.records import Item
from streaming.settings import Settings
from tests.stories.small_shop import START, Visitor, engine_for, stocked

LABELS = tuple(f"kind{n}" for n in range(12))


class Counting(DummyTextEncoder):
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return super().encode(texts)


def head(column: str = "text", task: Any = "classification", encoder: str = DummyTextEncoder.digest) -> Head:
    outputs = len(LABELS) if task == "classification" else 1
    matrix = np.random.default_rng(0).normal(size=(64, outputs)).astype(np.float32)
    labels = LABELS if task == "classification" else ()
    manifest = Manifest(task=task, text=column, label="kind", encoder=encoder, labels=labels)
    return Head(manifest, matrix, np.zeros(outputs, np.float32))


def served(column: str = "text", name: str = "kind", **more: Any) -> ServedHead:
    return ServedHead(name, head(column, **more), Counting())


def event(offset: int = 0, kind: str = "view", **fields: Any) -> Event:
    return Event(Source(1, 0, offset, START), "s", None, kind, START + offset, **fields)


@pytest.fixture(scope="module")
def shop() -> Shop:
    shop = stocked()
    item = Item(item_id="mug-9", title=" tall mug ", brand="Acme", category="Home > Mugs", description="Holds much.")
    shop.upsert([item])
    return shop


def said(heads: Heads, shop: Shop, *events: Event, silent: str | None = "no_trigger") -> list[tuple[Label, ...]]:
    decisions = [Decision(each, silent=silent) for each in events]
    return [decision.labels for decision in heads.label(decisions, shop, None)]


@pytest.mark.parametrize(
    ("column", "item", "search"),
    [
        ("title", "tall mug", None),
        ("brand", "Acme", None),
        ("category", "Home > Mugs", None),
        ("description", "Holds much.", None),
        ("query", None, "a mug"),
        ("question", "tall mug", "a mug"),
    ],
)
def test_the_column_says_what_is_read(shop: Shop, column: str, item: str | None, search: str | None) -> None:
    reader = served(column)
    assert reader.read(event(item_id="mug-9"), shop) == (item and ("item", item))
    assert reader.read(event(kind="search", query="a mug"), shop) == (search and ("query", search))
    assert reader.read(event(kind="exit"), shop) is None


def test_an_item_that_is_not_in_the_catalogue_is_read_by_the_title_that_the_event_brings(shop: Shop) -> None:
    assert served("title").read(event(item_id="new", title="glass jar"), shop) == ("item", "glass jar")
    assert served("title").read(event(item_id="new"), shop) is None
    assert served("brand").read(event(item_id="new", title="glass jar"), shop) is None
    assert served("title").read(event(item_id="mug-9", title="told otherwise"), shop) == ("item", "tall mug")
    assert served("brand").read(event(item_id="mug-1"), shop) is None  # it has none


def test_each_head_says_one_thing_of_each_event(shop: Shop) -> None:
    kinds, price = served("title"), served("text", "price", task="regression")
    heads = Heads([kinds, price])
    labels = said(heads, shop, event(0, item_id="mug-1"), event(1, "search", query="mug"), event(2, "exit"))
    assert [[each.head for each in told] for told in labels] == [["kind", "price"], ["price"], []]
    first, value = labels[0]
    (answer,) = kinds.head.answers(["stoneware coffee mug"], DummyTextEncoder().encode(["stoneware coffee mug"]))
    assert (first.label, first.subject, first.item_id) == (answer.label, "item", "mug-1")
    assert first.probabilities == dict(list(answer.probabilities.items())[:CLASSES_TOLD])
    assert next(iter(first.probabilities)) == first.label
    assert (first.topic, first.partition, first.offset, first.kind) == ("browses", 0, 0, "view")
    assert (first.event_time, first.made_at, first.value) == (START, START, None)
    assert (value.label, value.probabilities, value.model) == (None, {}, price.head.version)
    assert (labels[1][0].subject, labels[1][0].item_id) == ("query", None)
    assert value.value != labels[1][0].value


def test_what_was_met_before_is_not_spoken_of_again(shop: Shop) -> None:
    heads = Heads([served()])
    for silent in ("applied", "repeat"):
        assert said(heads, shop, event(item_id="mug-1"), silent=silent) == [()]
    due = Decision(Due("s", START), silent="closed")
    assert heads.label([due], shop, None) == [due]


def test_a_text_is_encoded_once(shop: Shop) -> None:
    reader = served()
    heads = Heads([reader])
    together = said(heads, shop, event(0, item_id="mug-1"), event(1, item_id="mug-1"), event(2, item_id="hat-1"))
    again = said(heads, shop, event(3, item_id="hat-1"), event(4, item_id="mug-1"))
    assert reader.texts.asked == [["stoneware coffee mug", "felt winter hat"]]  # type: ignore[attr-defined]
    assert again[0][0].probabilities == together[2][0].probabilities
    alone = said(Heads([served()]), shop, event(2, item_id="hat-1"))
    assert alone[0][0] == together[2][0]


def test_what_is_remembered_is_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.heads.ANSWERS_KEPT", 2)
    reader = served()
    answers = reader.answers(["a", "b", "c"])
    assert list(answers) == ["a", "b", "c"]
    assert all(isinstance(each, Answer) for each in answers.values())
    assert list(reader.known) == ["b", "c"]


def test_a_label_has_one_id_by_event_and_head() -> None:
    named = event(7, event_id="e1")
    assert label_id(named, "a") == label_id(replace(named, source=Source(0, 1, 9, 0)), "a")
    assert label_id(named, "a") != label_id(named, "b")
    assert label_id(event(7), "a") == label_id(event(7), "a") != label_id(event(8), "a")
    assert len(label_id(named, "a")) == 32


def test_the_engine_gives_labels_with_its_decisions_and_the_same_without_heads() -> None:
    plain, speaking = engine_for(), engine_for()
    speaking.heads = Heads([served()])
    decisions = []
    for engine in (plain, speaking):
        visitor = Visitor(engine)
        decisions.append([visitor.does(0, "view", "mug-1"), visitor.does(1000, "view", "hat-1")])
    assert [[each.label for each in decision.labels] for decision in decisions[0]] == [[], []]
    assert [len(decision.labels) for decision in decisions[1]] == [1, 1]
    assert decisions[0] == [replace(decision, labels=()) for decision in decisions[1]]


# ------------------------------------------------------------------------------------------------------- settings
def test_heads_are_opened_by_name(tmp_path: Path, shop: Shop) -> None:
    head("title").save(tmp_path / "kind")
    settings = Settings(heads=f"kind={tmp_path / 'kind'}, ")  # type: ignore[arg-type]
    heads = Heads.open(settings, DummyTextEncoder())
    assert heads is not None
    assert said(heads, shop, event(item_id="mug-1"))[0][0].head == "kind"
    assert Heads.open(Settings(), DummyTextEncoder()) is None


def test_a_head_of_another_encoder_is_refused(tmp_path: Path) -> None:
    head(encoder="f" * 16).save(tmp_path / "kind")
    settings = Settings(heads=f"kind={tmp_path / 'kind'}")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="BEFOREHAND_HEADS, kind: .* was trained on text encoder ffffffffffffffff"):
        Heads.open(settings, DummyTextEncoder())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("mood", "'mood' is no head, expected name=folder"),
        ("mo od=/x", "is no head, expected name=folder"),
        ("mood=", "is no head, expected name=folder"),
        ("mood=/x,mood=/y", "the head 'mood' stands there twice"),
    ],
)
def test_a_list_of_heads_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str, told: str) -> None:
    monkeypatch.setenv("BEFOREHAND_HEADS", value)
    with pytest.raises(InputError, match=f"BEFOREHAND_HEADS: .*{told}"):
        Settings.from_environment()
