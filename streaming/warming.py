"""Compiles what numba compiles, once, when the package is installed: `python -m streaming.warming`.

Else the first build, the first worker and the first event wait for it, half a minute and more. It goes the whole way on
a shop of a few items, as whatever is compiled is compiled for the types that it meets; what was compiled before is read
from numba's cache in no time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import polars as pl

from encoders.cache import CachedTextEncoder
from encoders.text import DummyTextEncoder
from streaming.building import build_model
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.past import past_of, table_settings
from streaming.privacy import Pseudonyms
from streaming.records import Learned
from streaming.sessions import SessionState
from streaming.settings import RuleSettings, Settings
from streaming.shop import ShopInfo
from streaming.topics import BROWSES, SOURCES

ITEMS, SESSIONS, EVENTS = 30, 60, 6
_HOUR_MS = 3_600_000


def warm() -> None:
    """Goes the whole way once: a model built, read back, and asked about events that teach it."""
    items = pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(ITEMS)],
            "title": [f"kind {n % 5} number {n}" for n in range(ITEMS)],
            "brand": [f"brand {n % 4}" for n in range(ITEMS)],
        }
    )
    steps = [(session, place) for session in range(SESSIONS) for place in range(EVENTS)]
    events = pl.DataFrame(
        {
            "kind": ["view"] * len(steps),
            "session_id": [f"s{session}" for session, _ in steps],
            "time": [_HOUR_MS * session + 1000 * place for session, place in steps],
            "item_id": [f"i{(session + place * place) % ITEMS}" for session, place in steps],
        }
    )
    facts = pl.DataFrame({"head": ["i1"], "relation": ["goes_with"], "tail": ["i2"]})
    with tempfile.TemporaryDirectory() as folder:
        texts = CachedTextEncoder(DummyTextEncoder(), Path(folder) / "vectors")
        info = ShopInfo(session_idle_ms=_HOUR_MS // 2)
        past = past_of(events, items, facts, info, texts)
        build_model(past, Path(folder) / "model", texts, settings=table_settings(info))
        shop = Shop.open(Path(folder) / "model", texts)
        # One item is worded anew, so that vectors beside the snapshot are met too.
        shop.upsert([*items_of(items.with_columns(title=pl.col("title").replace("kind 0 number 0", "another kind")))])
        settings = Settings(no_pseudonyms=True, rules=RuleSettings())  # whatever an operator asks of other models
        engine = Engine(settings, shop, shop.encoder, Pseudonyms(None))
        states: dict[str, SessionState] = {}
        for place in range(EVENTS):
            at = _HOUR_MS * (SESSIONS + 1) + 1000 * place
            source = Source(SOURCES.index(BROWSES), 0, place, at)
            changed, decided = engine.step([Event(source, "s", None, "view", at, item_id=f"i{place * place}")], states)
            states.update(changed)
            taught = [decision.taught for decision in decided if decision.taught is not None]
            shop.learn(Learned(topic=BROWSES.name, partition=0, transitions=taught))


if __name__ == "__main__":
    begun = time.perf_counter()
    warm()
    print(f"compiled in {time.perf_counter() - begun:.0f} s")
