"""Items that did not exist a moment ago are offered, far-off ones are not, and removed ones no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread

import pytest

from streaming.records import EventRecord, Item
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess
from tests.stage import Stage, eventually, now_ms

VIEWED = Item(item_id="viewed", title="stainless steel electric kettle, 1.7 litres")
OTHERS = [
    Item(item_id=f"other{n}", title=title)
    for n, title in enumerate(
        (
            "non-stick frying pan",
            "ceramic coffee mug",
            "bread toaster with two slots",
            "wooden cutting board",
            "set of kitchen knives",
            "glass mixing bowl",
            "cast iron casserole",
            "espresso machine",
            "hand blender",
            "measuring spoons",
            "dish rack",
            "oven glove",
        )
    )
]
PARAPHRASES = [
    Item(item_id=f"new{n}", title=title)
    for n, title in enumerate(
        (
            "electric kettle made of stainless steel",
            "1.7 l kettle, brushed steel, electric",
            "cordless electric water kettle of steel",
            "steel kettle with electric heating, 1.7 litres",
            "stainless electric kettle for tea",
            "fast boiling electric kettle, stainless",
            "water kettle, electric, steel body, 1.7 L",
            "electric tea kettle in stainless steel",
            "stainless steel water boiler kettle, electric",
            "kettle, electric, 1.7 litre, steel",
        )
    )
]
FAR_OFF = Item(item_id="far-off", title="annual subscription to a magazine about chess openings")
LIMIT_MS = 2000


class Visitors(Thread):
    """A new visitor every 100 ms looks at the kettle."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage = stage
        self._gone = Event()

    def run(self) -> None:
        number = 0
        while not self._gone.wait(0.1):
            number += 1
            event = EventRecord(kind="view", session_id=f"v{number}", time=now_ms(), item_id=VIEWED.item_id)
            self._stage.send_events([event])

    def leave(self) -> None:
        """Ends it."""
        self._gone.set()
        self.join()


@pytest.mark.parametrize("back_end", ["local"], indirect=True)
def test_new_items_are_offered_within_two_seconds_and_removed_ones_no_more(
    stage: Stage, settings: Settings, worker: Callable[..., WorkerProcess]
) -> None:
    """With the BERT that is the default: the titles share a meaning, and only some of their words."""
    stage.put_items([VIEWED, *OTHERS])
    worker(settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"model": "all-MiniLM-L6-v2"})}))
    visitors = Visitors(stage)
    visitors.start()
    eventually(stage.predictions, lambda found: len(found) >= 5)

    put_at = now_ms()
    stage.put_items([*PARAPHRASES, FAR_OFF])
    time.sleep(LIMIT_MS / 1000 + 1)
    removed_at = now_ms()
    stage.remove_items([item.item_id for item in PARAPHRASES])
    time.sleep(LIMIT_MS / 1000 + 1.5)
    visitors.leave()
    last = now_ms()
    predictions = eventually(
        stage.predictions, lambda found: max(p.event_time for p in found) > last - 1000, what="events decided"
    )

    new = {item.item_id for item in PARAPHRASES}
    in_time = [p for p in predictions if put_at <= p.made_at <= put_at + LIMIT_MS]
    assert {offer.item_id for p in in_time for offer in p.items} >= new
    assert not any(offer.item_id == FAR_OFF.item_id for p in predictions for offer in p.items if p.made_at < removed_at)
    assert not any(offer.item_id in new for p in predictions if p.made_at < put_at for offer in p.items)
    after = [p for p in predictions if p.event_time >= removed_at + LIMIT_MS]
    assert len(after) >= 5
    assert not any(offer.item_id in new for p in after for offer in p.items)
