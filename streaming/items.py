"""The shop: what is known now of items, words, facts and what goes with what. The one thing a step of the engine reads.

Everything is called from one thread, the model's, so that a step never sees half a change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.catalogue import item_text
from encoders.errors import EncoderError
from encoders.text import TextEncoder
from encoders.whitening import Whitening
from index.counts import Counts
from index.errors import IndexingError
from index.item_index import ItemIndex
from index.model import ModelFolder
from streaming.errors import InputError
from streaming.intake import Event
from streaming.records import Facts, Item, Learned
from streaming.sessions import Step

Vector = NDArray[np.float32]
Words = tuple[str | None, ...]
"""What stands for the steps of a history that have no vector from the catalogue."""

TEXTS_KEPT = 16_384
"""Vectors of queries and of titles of unknown items that are kept, least recently used dropped first."""
TITLES_KEPT = 16_384
"""Titles of items that the catalogue does not have, as events told them."""
POPULAR_KEPT = 200
"""Items that have a popularity at all; that of the others is too small to matter."""


class Shop:
    """What the shop knows now: catalogue, vectors, counts, facts.

    `version` grows whenever a vector of the catalogue becomes another; what was folded from a history is good for one
    version and for the same words (`words_of`).
    """

    def __init__(
        self,
        texts: TextEncoder,
        whitening: Whitening | None = None,
        counts: Counts | None = None,
        *,
        model: str = "none",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            texts: with a cache, since a new model folder asks for all items again.
            whitening: of the texts' vectors; None: they stay as they are.
            counts: what was learned before; None: nothing.
            model: what predictions call the model.
            weights: of the ranking, as the model folder has them; none: those of `RankingSettings`.
        """
        self._texts = texts
        self._whitening = whitening or Whitening.identity(texts.dimension)
        self.counts = counts or Counts()
        self.model = model
        self.weights = dict(weights or {})
        self.snapshot = f"{texts.digest}-{self._whitening.digest}"
        """Names the vector space: equal snapshots, equal vectors."""
        self.dimension = self._whitening.dimension
        self.items: dict[str, Item] = {}
        self.index = ItemIndex(self.dimension)
        self.facts: dict[str, Facts] = {}
        self.learned = 0
        """Records of `learned` that were applied."""
        self.version = 0
        self._marks: dict[tuple[str, int], int] = {}
        self._read: OrderedDict[str, Vector] = OrderedDict()  # text -> (dimension,)
        self._titles: OrderedDict[str, str] = OrderedDict()  # item id -> text
        self._popular: dict[str, float] | None = None

    @classmethod
    def open(cls, folder: Path | None, texts: TextEncoder) -> Shop:
        """A shop without items, with the model of a folder that `beforehand build` wrote; None: without a model.

        Raises:
            InputError: the folder cannot be read, or was built with another text encoder.
        """
        if folder is None:
            return cls(texts)
        try:
            model = ModelFolder.load(folder)
        except (IndexingError, EncoderError) as exc:
            raise InputError(str(exc)) from exc
        if model.manifest.text != texts.digest:
            raise InputError(
                f"{folder}: built with text encoder {model.manifest.text}, expected {texts.digest}, which is served; "
                "set BEFOREHAND_ENCODER__MODEL to the one it was built with, or build it anew"
            )
        weights = model.manifest.settings.get("ranking")
        return cls(texts, model.whitening, model.counts, model=model.version, weights=weights)

    def with_model(self, folder: Path) -> Shop:
        """A shop that knows the same items and facts, under another model. What was learned live since this one was
        opened is left behind, unless the folder has it.

        Raises:
            InputError: as `open`; this shop is unchanged, as it is in any case.
        """
        other = Shop.open(folder, self._texts)
        other.upsert(list(self.items.values()))
        other.facts = dict(self.facts)
        other.learned, other._marks = self.learned, dict(self._marks)
        other._titles = OrderedDict(self._titles)
        return other

    # ---------------------------------------------------------------------------------------------- what is brought in
    def upsert(self, items: Sequence[Item]) -> None:
        """Items as they now are. Texts that are new are encoded, all in one call; a new price costs nothing."""
        latest = {item.item_id: item for item in items}
        changed = [item for item in latest.values() if self._text_of(item.item_id) != _text(item)]
        if changed:
            self.index.upsert([item.item_id for item in changed], self._vectors([_text(item) for item in changed]))
            self.version += 1
        self.items.update(latest)

    def remove(self, item_ids: Iterable[str]) -> None:
        """Items that are no longer sold; one that is not there is passed over."""
        leaving = [item_id for item_id in item_ids if self.items.pop(item_id, None) is not None]
        if leaving:
            self.index.remove(leaving)
            self.version += 1

    def upsert_facts(self, facts: Facts) -> None:
        """All facts of one head, in place of those before."""
        self.facts[facts.head] = facts

    def remove_facts(self, head: str) -> None:
        """No facts of this head any more."""
        self.facts.pop(head, None)

    def learn(self, lesson: Learned) -> None:
        """What a batch taught; a source offset that was applied is passed over. Offsets of one source partition come
        in rising order, repeats of whole records aside."""
        source = (lesson.topic, lesson.partition)
        mark = self._marks.get(source, -1)
        for taught in lesson.transitions:
            if taught.offset > mark:
                self.counts.observe(taught.before, taught.after, taught.kind)
                mark = taught.offset
        self._marks[source] = mark
        self.learned += 1
        self._popular = None

    def met(self, event: Event) -> None:
        """An event told the title of an item; of use while the catalogue does not have it."""
        text, item_id = self.told(event), event.item_id
        if text is None or item_id is None:
            return
        if self._titles.get(item_id) != text:
            self._titles[item_id] = text
        self._titles.move_to_end(item_id)
        while len(self._titles) > TITLES_KEPT:
            self._titles.popitem(last=False)

    def read(self, texts: Iterable[str]) -> None:
        """Have the vectors of these texts at hand; those that are new are encoded in one call."""
        new = list(dict.fromkeys(text for text in texts if text not in self._read))
        if new:
            self._read.update(zip(new, self._vectors(new), strict=True))
        while len(self._read) > TEXTS_KEPT:
            self._read.popitem(last=False)

    # -------------------------------------------------------------------------------------------------- what is known
    def told(self, event: Event) -> str | None:
        """The words for an unknown item that an event brings; None of an item that the catalogue has."""
        if event.title is None or event.item_id is None or event.item_id in self.items:
            return None
        return item_text(event.title)

    def words_of(self, history: Iterable[Step]) -> Words:
        """The words that stand for each step: a query, the title of an item that the catalogue has not. None of an
        item that has its vector from the catalogue, or of which nothing is known."""
        return tuple(self._words_of(step) for step in history)

    def vector_of(self, step: Step, words: str | None) -> Vector | None:
        """(dimension,) of a step, given its words; None where nothing is known of it."""
        if words is None:
            return self.index.vector(step.subject)
        if words not in self._read:
            self.read([words])
        self._read.move_to_end(words)
        return self._read[words]

    def popular(self) -> dict[str, float]:
        """The most popular items with their popularity from 0 to 1, best first."""
        if self._popular is None:
            self._popular = {item: prior for item, prior in self.counts.popular(POPULAR_KEPT) if prior > 0}
        return self._popular

    def _words_of(self, step: Step) -> str | None:
        item_id = step.item_id
        if item_id is None:
            return step.subject
        return None if item_id in self.items else self._titles.get(item_id)

    def _vectors(self, texts: Sequence[str]) -> Vector:
        """(n, dimension), each row to the bit as if it had come alone: a matrix product would not grant that."""
        return np.concatenate([self._whitening.apply(row[None, :]) for row in self._texts.encode(texts)])

    def _text_of(self, item_id: str) -> str | None:
        item = self.items.get(item_id)
        return None if item is None else _text(item)


def sellable(item: Item) -> bool:
    """Whether it may be offered: available, and not out of stock where a stock is told."""
    return item.available and item.stock != 0


def _text(item: Item) -> str:
    return item_text(item.title, item.brand, item.category)
