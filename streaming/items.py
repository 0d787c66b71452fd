"""The shop: what is known now of items, words, facts and what goes with what. The one thing a step of the engine reads.

Everything is called from one thread, the model's, so that a step never sees half a change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.catalogue import item_text
from encoders.errors import EncoderError
from encoders.graph.facts import Fact
from encoders.session import SessionEncoder
from encoders.text import TextEncoder
from index import fusion
from index.attributes import Attributes
from index.calibration import Calibration
from index.cold_lane import ColdLane
from index.cooccurrence import CoOccurrence
from index.errors import IndexingError
from index.forest import Forest
from index.gate import Gate
from index.lesson import Lesson
from index.links import Links
from index.logistic import Logistic
from index.model import ModelFolder
from index.nearest import kind_for
from index.session_knn import SessionKnn
from index.tables import Tables
from index.vector_index import VectorIndex
from index.vocabulary import Codes
from streaming import gating, intent
from streaming.errors import InputError
from streaming.intake import Event
from streaming.item_rows import description, items_of, text_of
from streaming.records import Facts, Item, Learned
from streaming.sessions import Step
from streaming.shelf import Shelf
from streaming.text_encoder import check_texts
from streaming.topics import source_of

Vector = NDArray[np.float32]
Words = tuple[str | None, ...]
"""What stands for the steps of a history that have no vector from the catalogue."""

STOCKED_AT_ONCE = 65_536
"""Items whose vectors are made at once."""
TEXTS_KEPT = 16_384
"""Vectors of queries and of titles of unknown items that are kept, least recently used dropped first."""
TITLES_KEPT = 16_384
"""Titles of items that the catalogue does not have, as events told them."""


class Shop:
    """What the shop knows now: catalogue, vectors, counts, facts.

    `version` grows whenever a vector of the catalogue becomes another; what was folded from a history is good for one
    version and for the same words (`words_of`).
    """

    def __init__(
        self,
        texts: TextEncoder,
        tables: Tables | None = None,
        *,
        model: str = "none",
        ranking: Mapping[str, float] | None = None,
        calibration: Calibration | None = None,
        forest: Forest | None = None,
        index: VectorIndex | None = None,
        described: Mapping[str, str] | None = None,
        marks: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        """
        Args:
            texts: with a cache, since a new model folder may ask for all items again.
            tables: what was learned before; None: nothing, and text vectors stay as they are.
            model: what predictions call the model.
            ranking: settings, as the model folder has them; none: those of `RankingSettings`.
            calibration: of scores; None: they are no probabilities.
            forest: ranks the best once more; None: nothing does.
            index: vectors of items, in the layout of `tables`; None: none yet.
            described: what the vectors in it were made of, by item.
            marks: last offset of each source (topic, partition) that is in `tables`.
        """
        self.texts = texts
        self.tables = tables or Tables.empty(texts.dimension)
        self.vocabulary = self.tables.vocabulary
        self.counts, self.knn, self.graph = self.tables.counts, self.tables.knn, self.tables.graph
        self.layout = self.tables.layout
        self.dimension = self.layout.session
        """Of an item's vector as the session encoder takes it: all but the prior."""
        self.model = model
        self.ranking = dict(ranking or {})
        self.calibration = calibration or Calibration.none("the model brings no calibration")
        self.forest = forest
        self.gate = Gate.none("the model brings no gate")
        self.intents: dict[str, Logistic] = {}
        self.snapshot = f"{texts.digest}-{self.tables.digest}"
        """Names the vector space: equal snapshots, equal vectors."""
        self.items: dict[str, Item] = {}
        self.shelf = Shelf()
        self.index = index or VectorIndex(self.vocabulary, self.layout.dimension)
        self.lane = ColdLane(self.counts, self.index, self.layout, self.tables.met)
        self.attributes = Attributes()
        self.links = Links(self.graph, self.vocabulary)
        self.learned = 0
        """Records of `learned` that were applied."""
        self.version = 0
        self._described = dict(described or {})
        self.marks = dict(marks or {})
        """By source (topic, partition): the last offset that was learned."""
        self.positions: dict[int, int] = {}
        """By partition of `learned`: the offset to go on reading from."""
        self._told: dict[str, Facts | None] = {}  # by head, as `knowledge` has them; None: taken back
        self._read: OrderedDict[str, Vector] = OrderedDict()  # text -> (text dimension,)
        self._titles: OrderedDict[str, str] = OrderedDict()  # item id -> text
        self._popular: Codes | None = None

    @classmethod
    def open(cls, folder: Path | None, texts: TextEncoder, model: ModelFolder | None = None) -> Shop:
        """A shop without items, with the model of a folder that `beforehand build` wrote; None: without a model.

        Args:
            model: what is in the folder, where it is read already.

        Raises:
            InputError: the folder cannot be read, brings what are no settings, or was built with another text encoder.
        """
        if folder is None:
            return cls(texts)
        try:
            model = model or ModelFolder.load(folder)
            check_texts(folder, model, texts)
            return cls.of(model, texts)
        except (IndexingError, EncoderError) as exc:
            raise InputError(str(exc)) from exc
        except (KeyError, TypeError, ValueError) as exc:
            raise InputError(f"{folder}: the manifest brings settings that are none ({exc}); build it anew") from exc

    @classmethod
    def of(cls, model: ModelFolder, texts: TextEncoder) -> Shop:
        """A shop without items, with a model. The vectors of the items that the model knows are those of the model, as
        long as the catalogue describes the items alike."""
        calibration, gate = (model.manifest.settings.get(name) for name in ("calibration", "gate"))
        shop = cls(
            texts,
            model.tables,
            model=model.version,
            ranking=model.manifest.settings.get("ranking"),
            calibration=Calibration.from_dict(calibration) if calibration else None,
            forest=model.forest,
            index=model.index,
            described={item.item_id: description(item) for item in items_of(model.items)},
            marks={source_of(name): mark for name, mark in model.manifest.learned.items()},
        )
        shop.gate = Gate.from_dict(gate, gating.FEATURES) if gate else shop.gate
        shop.intents = intent.heads_of(model.manifest.settings.get("intent", {}))
        codes = shop.vocabulary.codes(model.items["item_id"].to_list())
        shop.lane.meet(codes)
        return shop

    @cached_property
    def encoder(self) -> SessionEncoder:
        """Of sessions over these items' vectors; where it reads their words, with this shop's text encoder."""
        return self.tables.session_encoder(self.texts)

    def unmet(self, items: Iterable[Item]) -> list[str]:
        """The texts that these items would be encoded by, were they upserted."""
        return [text_of(item) for item in items if self._described.get(item.item_id) != description(item)]

    def words_met(self, most: int) -> list[str]:
        """The newest queries and titles that a vector is at hand of, at most so many, oldest first."""
        return list(self._read)[-most:]

    def handed_over(self, other: Shop) -> Shop:
        """`other`, which was opened and has served nobody yet, with all items and facts that this shop knows. What was
        learned live since this one was opened is left behind, unless the other's model has it."""
        other.upsert(list(self.items.values()))
        for head, facts in self._told.items():
            if facts is None:
                other.remove_facts(head)
            else:
                other.upsert_facts(facts)
        other.learned, other.positions = self.learned, dict(self.positions)
        for source, mark in self.marks.items():
            other.marks[source] = max(mark, other.marks.get(source, -1))
        other._titles = OrderedDict(self._titles)
        return other

    # ---------------------------------------------------------------------------------------------- what is brought in
    def upsert(self, items: Sequence[Item]) -> None:
        """Items as they now are. Texts that are new are encoded, all in one call; a new price costs nothing."""
        latest = {item.item_id: item for item in items}
        changed = [item for item in latest.values() if self._described.get(item.item_id) != description(item)]
        self.items.update(latest)
        self._shelve(list(latest.values()))
        for item in changed:
            self.graph.upsert_item(item.item_id, item.brand, item.category, item.attributes)
            self._described[item.item_id] = description(item)
        if changed:
            vectors = self._text_vectors([text_of(item) for item in changed])
            self.lane.meet(self._place([item.item_id for item in changed], vectors))

    def stock(self, items: Sequence[Item], texts: Vector) -> None:
        """Many items at once, with the vectors of their texts, (n, text encoder's dimension), at hand."""
        self.items.update((item.item_id, item) for item in items)
        self._described.update((item.item_id, description(item)) for item in items)
        self._shelve(items)
        for item in items:
            self.graph.upsert_item(item.item_id, item.brand, item.category, item.attributes)
        codes = [np.empty(0, np.int32)]
        for begin in range(0, len(items), STOCKED_AT_ONCE):
            part = slice(begin, begin + STOCKED_AT_ONCE)
            codes.append(self._place([item.item_id for item in items[part]], self._whitened(texts[part])))
        self.index.swap(self.index.rebuild(kind_for(len(self.index))))
        self.lane.meet(np.concatenate(codes))
        if self.index.drift:  # of items that the network never met
            self.index.swap(self.index.rebuild(kind_for(len(self.index))))

    def remove(self, item_ids: Iterable[str]) -> None:
        """Items that are no longer sold; one that is not there is passed over."""
        leaving = [item_id for item_id in item_ids if self.items.pop(item_id, None) is not None]
        if leaving:
            codes = self.vocabulary.codes(leaving)
            self.index.remove(codes)
            self.lane.forget(codes)
            self.shelf.drop(codes)
            for item_id in leaving:
                self._described.pop(item_id, None)
                self.graph.remove_item(item_id)
            self.version += 1

    def upsert_facts(self, facts: Facts) -> None:
        """All facts of one head, in place of those before. An item's vector follows at once."""
        self._told[facts.head] = facts
        self.graph.update(facts.head, [Fact(facts.head, fact.relation, fact.tail) for fact in facts.facts])
        self._facts_changed(facts.head)

    def remove_facts(self, head: str) -> None:
        """No facts of this head any more."""
        self._told[head] = None
        self.graph.remove(head)
        self._facts_changed(head)

    def learn(self, lesson: Learned) -> None:
        """What a batch taught; a source offset that was applied is passed over. Offsets of one source partition come
        in rising order, repeats of whole records aside."""
        source = (lesson.topic, lesson.partition)
        before = self.marks.get(source, -1)
        new = [each for each in lesson.transitions if each.offset > before]
        self.observe(
            *[Lesson(each.after, each.context, each.kind, each.time, each.session, each.visitor) for each in new]
        )
        self.marks[source] = max([before, *[each.offset for each in new]])
        self.learned += bool(new)

    def observe(self, *lessons: Lesson) -> None:
        """Events more, that nobody has taught yet."""
        self.counts.observe(*lessons)
        self.knn.observe(*lessons)
        self._popular = None

    def go_on_from(
        self,
        counts: CoOccurrence,
        knn: SessionKnn,
        *,
        records: int,
        marks: Mapping[tuple[str, int], int],
        positions: Mapping[int, int],
    ) -> None:
        """Tables that were learned on this shop's model before, in place of its own; over its vocabulary."""
        self.tables = replace(self.tables, counts=counts, knn=knn)
        self.counts, self.knn, self._popular = counts, knn, None
        self.learned, self.marks, self.positions = records, dict(marks), dict(positions)
        self.lane.follow(counts)

    def met(self, event: Event) -> None:
        """An event told the title of an item; of use while the catalogue does not have it."""
        text, item_id = self.told(event), event.item_id
        if text is None or item_id is None:
            return
        self._titles[item_id] = text
        self._titles.move_to_end(item_id)
        while len(self._titles) > TITLES_KEPT:
            self._titles.popitem(last=False)

    def read(self, texts: Iterable[str]) -> None:
        """Have the vectors of these texts at hand; those that are new are encoded in one call."""
        new = list(dict.fromkeys(text for text in texts if text not in self._read))
        if new:
            self._read.update(zip(new, self._text_vectors(new), strict=True))
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
        return tuple([self._words_of(step) for step in history])

    def at_hand(self, words: Words) -> Words:
        """The same, but empty text in place of words that no vector is at hand of."""
        return tuple([text if text is None or text in self._read else "" for text in words])

    def vectors_of(self, steps: Sequence[Step], words: Words) -> tuple[list[int], Vector]:
        """The vectors of those steps of which something is known, given their words: their places, (n,), and (n,
        dimension). One look into the index. Of a step whose words are empty nothing is known."""
        codes = self.vocabulary.codes([step.subject for step, text in zip(steps, words, strict=True) if text is None])
        found, has = self.index.vectors(codes, self.dimension), self.index.has(codes)
        if len(codes) == len(words) and has.all():  # as nearly always
            return list(range(len(words))), found
        rows, there, places, vectors = iter(found), iter(has.tolist()), [], []
        for place, text in enumerate(words):
            vector = next(rows) if text is None else self._text_vector(text) if text else None
            if vector is not None and (text is not None or next(there)):
                places.append(place)
                vectors.append(vector)
        return places, np.array(vectors, np.float32).reshape(-1, self.dimension)

    def row_of(self, item_id: str) -> Vector | None:
        """The vector of an item, (layout.dimension,); None where it has none."""
        codes = self.vocabulary.codes([item_id])
        return self.index.vectors(codes)[0] if self.index.has(codes)[0] else None

    def title_of(self, item_id: str) -> str | None:
        """As the catalogue has it."""
        item = self.items.get(item_id)
        return None if item is None else item.title

    def popular(self, n: int) -> Codes:
        """The most popular items, best first."""
        if self._popular is None or len(self._popular) < n:
            self._popular = self.counts.popular(n)
        return self._popular[:n]

    def _words_of(self, step: Step) -> str | None:
        if step.item_id is None:
            return step.subject
        return None if step.item_id in self.items else self._titles.get(step.item_id)

    # -------------------------------------------------------------------------------------------------------- vectors
    def _place(self, item_ids: Sequence[str], texts: Vector) -> Codes:
        """Puts items into the index as they now are, given their texts' vectors (n, text dimension); their codes."""
        codes = self.vocabulary.add_all(item_ids)
        spaces = self.tables.spaces(item_ids, texts)
        rows = fusion.assemble(texts, *spaces, self.counts.prior(codes), layout=self.layout)
        self.index.upsert(codes, rows)
        self.version += 1
        return codes

    def _shelve(self, items: Sequence[Item]) -> None:
        codes = self.vocabulary.add_all([item.item_id for item in items])
        self.shelf.put(codes, items)
        self.attributes.put(codes, [(item.brand, item.category) for item in items])

    def _facts_changed(self, head: str) -> None:
        if (row := self.row_of(head)) is not None:
            self.lane.meet(self._place([head], row[None, : self.layout.text]))

    def lenders(self, code: int) -> list[tuple[int, float]]:
        """The items that a cold one borrows from, as `ColdLane.lenders`; none that is no longer sold."""
        return [(warm, alike) for warm, alike in self.lane.lenders(code) if self.vocabulary.id(warm) in self.items]

    def _text_vector(self, text: str) -> Vector:
        """(dimension,) of a text; of the other spaces only that of sequences knows something of it."""
        if text not in self._read:
            self.read([text])
        self._read.move_to_end(text)
        vector = np.zeros(self.dimension, np.float32)
        vector[: self.layout.text] = self._read[text]
        if (sequence := self.tables.sequence) is not None:
            vector[-sequence.dimension :] = sequence.vectors([""], vector[None, : self.layout.text])[0]
        return vector

    def _text_vectors(self, texts: Sequence[str]) -> Vector:
        """(n, text dimension) of texts."""
        return self._whitened(self.texts.encode(texts))

    def _whitened(self, vectors: Vector) -> Vector:
        """(n, text dimension), each row to the bit as if it had come alone: a matrix product would not grant that."""
        whitening = self.tables.whitening
        return np.concatenate(
            [whitening.apply(row[None, :]) for row in vectors] or [np.empty((0, self.layout.text), np.float32)]
        )
