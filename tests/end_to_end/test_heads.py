"""Heads on the stream: what they say of each event arrives on `labels`, once an event, through worker and broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from encoders.heads.head import Head
from streaming import topics
from streaming.labels import Label
from streaming.privacy import pseudonym
from streaming.records import EventRecord, Item
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess, metric
from tests.conftest import SECRET
from tests.encoders.heads.table import save_thing
from tests.stage import Stage, eventually, now_ms

LAMPS = [Item(item_id=f"lamp{n}", title=f"red lamp {n}") for n in range(6)]
BOOTS = [Item(item_id=f"boot{n}", title=f"black boot {n}") for n in range(6)]


@pytest.fixture(scope="module")
def thing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Head]:
    """A head that tells lamps, boots and saws apart by any text."""
    folder = tmp_path_factory.mktemp("heads") / "thing"
    return folder, save_thing(folder)


def view(session: str, item_id: str, event_id: str | None = None, title: str | None = None) -> EventRecord:
    return EventRecord(kind="view", session_id=session, time=now_ms(), item_id=item_id, event_id=event_id, title=title)


def test_each_event_with_a_text_has_one_label_a_head_and_a_killed_worker_makes_no_second(
    stage: Stage, settings: Settings, worker: Callable[..., WorkerProcess], thing: tuple[Path, Head]
) -> None:
    folder, head = thing
    stage.put_items([*LAMPS, *BOOTS])
    served = settings.model_copy(update={"heads": (f"thing={folder}",)})
    process = worker(served)
    stage.send_events(
        [
            view("ann", "lamp1"),
            view("ann", "boot2", "e1"),
            view("ann", "boot2", "e1"),  # sent twice by the site
            EventRecord(kind="cart_add", session_id="bob", time=now_ms(), item_id="boot2"),
            EventRecord(kind="search", session_id="bob", time=now_ms(), query="green saw 3"),
            view("bob", "unknown"),  # no words for it
            view("bob", "new", title="blue lamp 9"),  # not in the catalogue, but told
            EventRecord(kind="exit", session_id="ann", time=now_ms()),
        ]
    )
    labels = eventually(lambda: stage.read(topics.LABELS, Label), lambda found: len(found) >= 5)
    said = {(each.session_id, each.subject, each.item_id, each.label) for each in labels}
    ann, bob = pseudonym("ann", SECRET), pseudonym("bob", SECRET)
    assert said == {
        (ann, "item", "lamp1", "lamp"),
        (ann, "item", "boot2", "boot"),
        (bob, "item", "boot2", "boot"),
        (bob, "query", None, "saw"),
        (bob, "item", "new", "lamp"),
    }
    assert {each.head for each in labels} == {"thing"}
    assert {each.model for each in labels} == {head.version}
    assert all(row.key == each.session_id.encode() for row, each in zip(stage.raw(topics.LABELS), labels, strict=True))
    assert all(abs(sum(each.probabilities.values()) - 1) < 1e-6 for each in labels)
    sources = {(row.partition, row.offset) for row in stage.raw(topics.BROWSES)}
    assert {(each.partition, each.offset) for each in labels if each.topic == "browses"} <= sources
    assert metric(process.page("/metrics"), "beforehand_labels_total", {"head": "thing"}) == 5

    process.kill()
    worker(served)
    stage.send_events([view("ann", "lamp3")])
    eventually(lambda: [each.item_id for each in stage.read(topics.LABELS, Label)], lambda found: "lamp3" in found)
    labels = stage.read(topics.LABELS, Label)
    assert len({each.label_id for each in labels}) == 6  # a repeat on the wire has the id of the first
    assert len({(each.topic, each.partition, each.offset) for each in labels}) == 6


def test_without_heads_nothing_is_said_of_texts(stage: Stage, worker: Callable[..., WorkerProcess]) -> None:
    stage.put_items(LAMPS)
    worker()
    stage.send_events([view("ann", "lamp1")])
    eventually(stage.predictions, lambda found: len(found) == 1)
    assert stage.raw(topics.LABELS) == []


def test_a_worker_does_not_start_with_a_head_that_is_not_there(
    settings: Settings, worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    folder = tmp_path / "nothing"
    process = worker(settings.model_copy(update={"heads": (f"mood={folder}",)}), ready=False)
    assert eventually(process.reap, lambda code: code is not None) == 2
    assert f"BEFOREHAND_HEADS, mood: {folder}: no manifest.json there" in process.tail()
