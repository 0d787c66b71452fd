"""Heads on the stream: each event with a text that a head reads gets what the head says of it, on topic `labels`.

What a head reads follows from the column that it was trained on (`Manifest.text`): `query` the words of a search;
`title`, `brand`, `category` and `description` that field of the event's item; any other column both, the words of a
search and an item's title. An item's fields are the catalogue's; of an item that is not there yet, the title that the
event brings.

A text is encoded once and remembered, so that an event on an item that was met costs no forward pass.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from encoders.cache import CachedTextEncoder
from encoders.errors import EncoderError
from encoders.heads.head import ENCODER, Answer, Head
from encoders.text import TextEncoder, load_text_encoder
from streaming import cores
from streaming.decisions import Decision
from streaming.errors import InputError
from streaming.intake import Event
from streaming.items import Shop
from streaming.labels import Label, Subject
from streaming.settings import Settings
from streaming.topics import SOURCES

ITEM_FIELDS = ("title", "brand", "category", "description")
"""Columns that are a field of items."""
QUERY = "query"
ANSWERS_KEPT = 65_536
"""Of each head, by text, least recently used dropped first."""
CLASSES_TOLD = 10
"""Most probabilities in a record."""


@dataclass(frozen=True, slots=True)
class ServedHead:
    """A head under its name, with the encoder that it belongs to."""

    name: str
    head: Head
    texts: TextEncoder
    known: OrderedDict[str, Answer] = field(default_factory=OrderedDict)

    def read(self, event: Event, shop: Shop) -> tuple[Subject, str] | None:
        """What the head reads of an event, and the text; None: nothing."""
        column = self.head.manifest.text
        if event.kind == "search":
            return None if column in ITEM_FIELDS or event.query is None else ("query", event.query)
        if column == QUERY or event.item_id is None:
            return None
        wanted = column if column in ITEM_FIELDS else "title"
        item = shop.items.get(event.item_id)
        text = getattr(item, wanted) if item is not None else event.title if wanted == "title" else None
        return ("item", text.strip()) if text and text.strip() else None

    def answers(self, texts: Iterable[str]) -> dict[str, Answer]:
        """By text; those that are new are encoded in one call."""
        asked = list(dict.fromkeys(texts))
        new = [text for text in asked if text not in self.known]
        if new:
            self.known.update(zip(new, self.head.answers(new, self.texts.encode(new)), strict=True))
        for text in asked:
            self.known.move_to_end(text)
        found = {text: self.known[text] for text in asked}
        while len(self.known) > ANSWERS_KEPT:
            self.known.popitem(last=False)
        return found


class Heads:
    """All heads that a worker serves. Pure but for what it remembers: equal events and items give equal labels."""

    def __init__(self, served: Sequence[ServedHead]) -> None:
        self._served = tuple(served)

    @classmethod
    def open(cls, settings: Settings, texts: TextEncoder) -> Heads | None:
        """The heads that BEFOREHAND_HEADS names; None where it names none.

        Args:
            texts: the encoder that is served; a head that has its own loads that beside it.

        Raises:
            InputError: a folder is no head, is damaged, or belongs to another text encoder.
        """
        served = [_opened(name, folder, settings, texts) for name, folder in settings.head_folders().items()]
        return cls(served) if served else None

    def label(self, decisions: Sequence[Decision], shop: Shop, now: int | None) -> list[Decision]:
        """The decisions with what the heads say of their events. An event that was applied before, or that its site
        sent twice, is not spoken of again.

        Args:
            now: as `Engine.step` takes it.
        """
        events = [_new(decision) for decision in decisions]
        labels: list[list[Label]] = [[] for _ in decisions]
        for served in self._served:
            read = [None if event is None else served.read(event, shop) for event in events]
            answers = served.answers(each[1] for each in read if each is not None)
            for event, each, told in zip(events, read, labels, strict=True):
                if event is not None and each is not None:
                    told.append(_record(served, event, each[0], answers[each[1]], now))
        return [
            replace(decision, labels=tuple(told)) if told else decision
            for decision, told in zip(decisions, labels, strict=True)
        ]


def label_id(event: Event, head: str) -> str:
    """128 bits as 32 hex characters: the same for the same event and head, whenever it is decided.

    BLAKE2b of the parts, joined by zero bytes: `label`, the head, and what the site called the event, else its place on
    Kafka, as of a prediction's id.
    """
    source = event.source
    place = ["offset", SOURCES[source.topic].name, str(source.partition), str(source.offset)]
    parts = ["label", head, *(["event", event.event_id] if event.event_id is not None else place)]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _new(decision: Decision) -> Event | None:
    """The decision's event, where it is one that was not met before."""
    told = decision.silent in ("applied", "repeat")
    return decision.event if isinstance(decision.event, Event) and not told else None


def _record(served: ServedHead, event: Event, subject: Subject, answer: Answer, now: int | None) -> Label:
    source = event.source
    return Label(
        label_id=label_id(event, served.name),
        head=served.name,
        model=served.head.version,
        session_id=event.session,
        user_id=event.user,
        subject=subject,
        item_id=event.item_id if subject == "item" else None,
        kind=event.kind,
        event_id=event.event_id,
        topic=SOURCES[source.topic].name,
        partition=source.partition,
        offset=source.offset,
        label=answer.label,
        probabilities=dict(list(answer.probabilities.items())[:CLASSES_TOLD]),
        value=answer.value,
        event_time=event.time,
        made_at=event.time if now is None else now,
    )


def _opened(name: str, folder: Path, settings: Settings, texts: TextEncoder) -> ServedHead:
    try:
        head = Head.load(folder)
        if head.manifest.own_encoder:
            wanted = settings.encoder
            own = load_text_encoder(str(folder / ENCODER), wanted.device, wanted.batch, cores.at_most(wanted.threads))
            texts = CachedTextEncoder(own, wanted.cache_dir or settings.worker.data_dir / "vectors")
    except EncoderError as exc:
        raise InputError(f"BEFOREHAND_HEADS, {name}: {exc}") from exc
    if head.manifest.encoder != texts.digest or head.dimension != texts.dimension:
        raise InputError(
            f"BEFOREHAND_HEADS, {name}: {folder} was trained on text encoder {head.manifest.encoder}, expected "
            f"{texts.digest}, which is served; set BEFOREHAND_ENCODER__MODEL to the one it was trained on, or train it "
            "anew"
        )
    return ServedHead(name, head, texts)
