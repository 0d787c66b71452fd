"""A small shop whose right answers are known, and a visitor whose events reach the engine with the times they carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from encoders.behaviour import BehaviourSettings
from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index.lesson import Lesson
from index.meetings import CONTEXT, lesson_context, visitor_tag
from index.table_fitting import fit_tables
from index.tables import Tables, TableSettings
from streaming.changes import ChangeFinder
from streaming.decisions import Decision, Due, Noticed, Work
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.ranking import RankingSettings
from streaming.records import CLICK_KINDS, Item
from streaming.sessions import SessionState
from streaming.settings import RuleSettings, Settings, TriggerSettings, WorkerSettings
from streaming.teaching import session_tag

START = 1_700_000_000_000
"""2023-11-14T22:13:20Z."""
SECOND = 1000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE

CATALOGUE = {
    "mug-1": "stoneware coffee mug",
    "mug-2": "stoneware tea mug",
    "mug-3": "stoneware coffee mug large",
    "pot-1": "stoneware coffee pot",
    "hat-1": "felt winter hat",
    "hat-2": "felt summer hat",
    "hat-3": "felt winter hat red",
    "saw-1": "steel hand saw",
    "saw-2": "steel pruning saw",
    "saw-3": "steel hand saw long",
}


def stocked(*past: str, titles: dict[str, str] | None = None, tables: Tables | None = None) -> Shop:
    """A shop with items whose titles share words within a kind of thing and none across.

    Args:
        past: sessions that it learned from before it had its items, as `observe` takes them.
        tables: what it knew before that; None: nothing.
    """
    shop = Shop(DummyTextEncoder(), tables, model="small")
    observe(shop, *past)
    shop.upsert([Item(item_id=item_id, title=title) for item_id, title in (titles or CATALOGUE).items()])
    return shop


def observe(shop: Shop, *sessions: str) -> None:
    """The shop learns from sessions written as `mug-1>hat-1`, each of a visitor of its own, an event a second, all a
    day before START. Sessions taught by earlier calls are others."""
    for session in sessions:
        name, items = f"past {len(shop.knn)} {session}", session.split(">")
        times = [START - DAY + n * SECOND for n in range(len(items))]
        for n, item_id in enumerate(items):
            context = lesson_context(items[: n + 1], times[: n + 1], CONTEXT)
            shop.observe(Lesson(item_id, context, "view", times[n], session_tag(name), visitor_tag(name)))


def fitted() -> Shop:
    """The small shop with all that a past teaches: 90 sessions, each of five views within a kind of thing and one
    outside; each kind has its category, each second item its brand. There are vectors of text, graph and behaviour."""
    shelves = [[item_id for item_id in CATALOGUE if item_id[0] in letters] for letters in ("mp", "h", "s")]
    rows = []
    for number in range(90):
        shelf, other = shelves[number % 3], shelves[(number + 1 + number // 45) % 3]
        seen = [shelf[(number // 3 + n * (1 + number % 2)) % len(shelf)] for n in range(5)]
        seen.insert(number % 6, other[number % len(other)])
        time = START - DAY + number * MINUTE
        rows += [("view", f"past {number}", time + n * SECOND, item_id, None) for n, item_id in enumerate(seen)]
    events = pl.DataFrame(rows, ["kind", "session_id", "time", "item_id", "user_id"], orient="row")
    items = [
        Item(item_id=item_id, title=title, category=f"Things > {title.split()[0]}", brand=("Ox", "Elm")[n % 2])
        for n, (item_id, title) in enumerate(CATALOGUE.items())
    ]
    described = pl.DataFrame([(item.item_id, item.brand, item.category) for item in items], orient="row")
    described.columns = ["item_id", "brand", "category"]
    facts = pl.DataFrame([("mug-1", "series", "Morning"), ("pot-1", "series", "Morning")], orient="row")
    facts.columns = ["head", "relation", "tail"]
    settings = TableSettings(behaviour=BehaviourSettings(dimension=8, shift=1.0))
    tables = fit_tables(events, described, facts, Whitening.identity(DummyTextEncoder.dimension), settings)
    shop = Shop(DummyTextEncoder(), tables, model="small")
    shop.upsert(items)
    return shop


def engine_for(
    shop: Shop | None = None,
    *,
    rules: dict[str, Any] | None = None,
    triggers: dict[str, Any] | None = None,
    worker: dict[str, Any] | None = None,
    ranking: RankingSettings | None = None,
) -> Engine:
    """An engine over the shop; what is not given is as shipped, but for two offers a prediction."""
    shop = shop or stocked()
    settings = Settings(
        rules=RuleSettings(**(rules or {})),
        triggers=TriggerSettings(**({"offers": 2} | (triggers or {}))),
        worker=WorkerSettings(**(worker or {})),
    )
    return Engine(settings, shop, shop.tables.session_encoder(), Pseudonyms(None), ranking)


class Visitor:
    """One session: gives its events their places on the topics and carries its state from step to step."""

    def __init__(self, engine: Engine, session: str = "visitor") -> None:
        self.engine = engine
        self.session = session
        self.state: SessionState | None = None
        self._offsets = [0, 0]

    def event(self, at: int, kind: str, item_id: str | None = None, **fields: Any) -> Event:
        """The next event, `at` ms after START."""
        topic = 0 if kind in CLICK_KINDS else 1
        offset = self._offsets[topic]
        self._offsets[topic] += 1
        user = fields.pop("user", None)
        return Event(Source(topic, 0, offset, START + at), self.session, user, kind, START + at, item_id, **fields)

    def does(self, at: int, kind: str, item_id: str | None = None, **fields: Any) -> Decision:
        """The event, and what the engine makes of it."""
        return self.meets([self.event(at, kind, item_id, **fields)])[0]

    def ticks(self, at: int) -> Decision:
        """A tick finds something of the session due."""
        return self.meets([Due(self.session, START + at)])[0]

    def hears(self, at: int, after: Item, offset: int = 0) -> list[Decision]:
        """The catalogue says this of an item; what the engine makes of it where it concerns visitors at all."""
        shop = self.engine.shop
        finder = ChangeFinder(self.engine.settings.triggers.price_drop_percent)
        change = finder.upserted(shop.items[after.item_id], after, partition=0, offset=offset, time=START + at)
        shop.upsert([after])
        return [] if change is None else self.meets([Noticed(self.session, START + at, change)])

    def meets(self, events: Sequence[Work]) -> list[Decision]:
        """A micro-batch."""
        states = {} if self.state is None else {self.session: self.state}
        changed, decisions = self.engine.step(events, states)
        self.state = changed.get(self.session, self.state)
        assert len(decisions) == len(events)
        for decision in decisions:
            outcomes = (decision.prediction, decision.suppressed, decision.silent)
            assert sum(outcome is not None for outcome in outcomes) == 1
        return decisions


def offers(decision: Decision) -> list[str]:
    """What a decision offers, best first; it must have sent something."""
    assert decision.prediction is not None, decision
    return [offer.item_id for offer in decision.prediction.items]


def rule(decision: Decision) -> str:
    """The rule that held a prediction back; one must have."""
    assert decision.suppressed is not None, decision
    return decision.suppressed.rule
