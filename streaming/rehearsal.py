"""The first events of a worker, before anybody waits for them."""

from __future__ import annotations

from itertools import islice

from index.cooccurrence import CoOccurrence
from index.lesson import Lesson
from index.session_knn import SessionKnn
from index.vocabulary import Vocabulary
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.sessions import SessionState
from streaming.settings import RuleSettings, Settings
from streaming.topics import BROWSES, SOURCES

KINDS = ("view", "view", "cart_add", "view")
_SECOND_MS = 1000


def rehearse(shop: Shop) -> None:
    """Goes the way of an event on some items of the shop, and leaves it as it was.

    Numba reads what it compiled from its cache at the first call, a second for all of it; where the package was not
    warmed (`streaming.warming`), it compiles, a quarter of a minute in which the event loop hardly gets a turn. Neither
    is for the first visitor to wait for.
    """
    items = list(islice(shop.items, len(KINDS)))
    if not items:
        return
    # The plainest settings, so that nothing is refused or remembered of what never was.
    engine = Engine(Settings(no_pseudonyms=True, rules=RuleSettings()), shop, shop.encoder, Pseudonyms(None))
    states: dict[str, SessionState] = {}
    for place, kind in enumerate(KINDS):
        at = place * _SECOND_MS + 1
        source = Source(SOURCES.index(BROWSES), 0, place, at)
        event = Event(source, "rehearsal", None, kind, at, item_id=items[place % len(items)])
        states.update(engine.step([event], states)[0])
    vocabulary = Vocabulary()
    counts, knn = CoOccurrence(vocabulary), SessionKnn(vocabulary)
    for place, item_id in enumerate(items):
        lesson = Lesson(item_id, items[:place][::-1], "view", place * _SECOND_MS, 1, 1)
        counts.observe(lesson)
        knn.observe(lesson)
