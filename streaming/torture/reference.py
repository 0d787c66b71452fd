"""The plain sequential reference: every event of a session, one after the other, without harm.

Sessions know nothing of each other, so many of them are shared out to processes.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from multiprocessing import get_context
from typing import Any

from msgspec.structs import replace

from encoders.text import DummyTextEncoder
from streaming import codec, topics
from streaming.decisions import prediction_id
from streaming.engine import Engine
from streaming.intake import Event, Intake, Source
from streaming.items import Shop
from streaming.ladder import LEVELS
from streaming.moments import Due
from streaming.privacy import Pseudonyms
from streaming.records import Prediction
from streaming.said import TRIGGERS
from streaming.sessions import FRESH, INTEREST_KINDS, SessionState, advance
from streaming.settings import Settings
from streaming.tail import tail
from streaming.torture.plan import Profile
from streaming.torture.traffic import CURSE, Payloads, items, teach

REHEARSED = 300
"""Events: sessions of several each."""
PAYS = 50_000
"""Events for which another process pays: it takes seconds to start."""
Place = tuple[str, int, int]
"""Topic without prefix, partition and offset of a record."""
Told = Mapping[str, bytes]
"""What was told, where it may be of any level: ids to `mark_of`."""


def place_of(source: Source) -> Place:
    """Where a record stands.

    >>> place_of(Source(0, 3, 17, 0))
    ('clicks', 3, 17)
    """
    return topics.SOURCES[source.topic].name, source.partition, source.offset


@dataclass(slots=True)
class Reference:
    """What ought to have come of the events on the topics."""

    events: list[Event] = field(default_factory=list)
    """Accepted ones: by topic, partition and offset."""
    cursed: list[Event] = field(default_factory=list)
    """Those that the engine fails on: dead letters, and in no state."""
    refused: list[Place] = field(default_factory=list)
    """Records that the intake does not take: dead letters."""
    states: dict[str, SessionState] = field(default_factory=dict)
    """By pseudonym. Of sessions of one topic all of it; of the others without what the visitor was told."""
    answers: dict[str, bytes] = field(default_factory=dict)
    """What the sessions of one topic were told or would have been, by id: encoded, with `made_at` 0."""
    answered: dict[str, set[str]] = field(default_factory=dict)
    """Event id to the ids that its decision may have, of every event that must be answered."""
    silent: set[str] = field(default_factory=set)
    """Event ids of sessions of one topic of which no decision may be told."""
    excusable: set[str] = field(default_factory=set)
    """Event ids that need not be answered for this alone, that they may have waited for too long."""
    possible: dict[str, str] = field(default_factory=dict)
    """Every id that a decision may have, to the id of the event, or empty for an idle cart's."""


def reference(settings: Settings, profile: Profile, told: Told | None = None) -> Reference:
    """Reads `clicks`, then `browses`: an order in which no worker ever saw the events of both.

    Args:
        told: each event is decided at that level at which this comes of it, or as one that was too old to be answered;
            None: in full.
    """
    result, intake = Reference(), _intake(settings)
    for number, topic in enumerate((topics.CLICKS, topics.BROWSES)):
        rows = tail(settings, [settings.topics.prefix + topic.name])
        _accept(result, intake, number, sorted(rows, key=lambda row: (row.partition, row.offset)))
    processes = min(os.cpu_count() or 1, 1 + len(result.events) // PAYS)
    decide(result, settings, profile, told, processes=processes)
    return result


def rehearse(settings: Settings, profile: Profile) -> None:
    """Decides some events beforehand.

    Where the package was not warmed (`streaming.warming`), numba compiles at the first event, in each worker, a quarter
    of a minute in which its event loop hardly gets a turn: harm that nobody planned. Here it does so for all of them.
    """
    result, payloads, intake = Reference(), Payloads(profile), _intake(settings)
    now = time.time_ns() // 1_000_000
    for number in range(REHEARSED):
        payload = payloads.next(now)
        source = Source(topics.SOURCES.index(payload.topic), 0, number, now)
        event = intake.accept(source, payload.key, payload.value)
        if isinstance(event, Event):
            result.events.append(event)
    decide(result, settings, profile, {} if profile.varies else None)  # at one level, or at each


def _intake(settings: Settings) -> Intake:
    return Intake(Pseudonyms.from_settings(settings), settings.topics.prefix)


def decide(
    result: Reference, settings: Settings, profile: Profile, told: Told | None = None, *, processes: int = 1
) -> None:
    """Fills in, from `events`, what must come of them.

    Args:
        told: as `reference`.
        processes: to share the sessions out to; what comes of it is the same.
    """
    by_session: dict[str, list[Event]] = {}
    for event in result.events:
        by_session.setdefault(event.session, []).append(event)
    sessions = list(by_session.values())
    if processes == 1:
        parts = [_decided(sessions, settings, profile, told)]
    else:
        shares = [sessions[number::processes] for number in range(processes)]
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            parts = list(pool.map(_decided, shares, repeat(settings), repeat(profile), repeat(told)))
    for part in parts:
        result.states.update(part.states)
        result.answers.update(part.answers)
        result.answered.update(part.answered)
        result.silent |= part.silent
        result.excusable |= part.excusable
        result.possible.update(part.possible)


def _decided(sessions: Sequence[Sequence[Event]], settings: Settings, profile: Profile, told: Told | None) -> Reference:
    """What must come of the events of these sessions, each in its order."""
    result = Reference()
    texts = DummyTextEncoder()
    shop = Shop(texts)
    if settings.worker.latency_budget_ms:
        teach(shop)
    shop.upsert(items(profile))
    engine = Engine(settings, shop, shop.encoder, Pseudonyms.from_settings(settings))
    for events in sessions:
        session = events[0].session
        alone = len({event.source.topic for event in events}) == 1 and all(event.consent for event in events)
        if alone:
            result.states[session], answered = _answer_all(result, engine, events, told)
            result.silent |= {str(event.event_id) for event in events} - answered - result.excusable
        else:
            for event in events:
                result.states[session] = advance(result.states.get(session, FRESH), event)
            answered = {str(event.event_id) for event in events if event.kind in INTEREST_KINDS}
            if settings.worker.stale_ms:
                result.excusable |= answered
                answered = set()
        for event in events:
            _note_ids(result, event, settings, must=str(event.event_id) in answered)
    return result


def plain(prediction: Prediction) -> bytes:
    """A prediction's bytes, whenever it was made."""
    return codec.encode(replace(prediction, made_at=0))


def _accept(result: Reference, intake: Intake, topic: int, rows: Iterable[Any]) -> None:
    for row in rows:
        source = Source(topic, row.partition, row.offset, row.timestamp)
        event = intake.accept(source, row.key, row.value, row.headers)
        if not isinstance(event, Event):
            result.refused.append(place_of(source))
        elif str(event.event_id).startswith(CURSE):
            result.cursed.append(event)
        else:
            result.events.append(event)


def mark_of(prediction: Prediction) -> bytes:
    """16 bytes that stand for `plain`."""
    return hashlib.blake2b(plain(prediction), digest_size=16).digest()


def _answer_all(
    result: Reference, engine: Engine, events: Iterable[Event], told: Told | None
) -> tuple[SessionState, set[str]]:
    """The state after them all, and which of them were answered: what the site sends twice is passed over, and what
    comes late need not change the head."""
    states: Mapping[str, SessionState] = {}
    answered = set()
    for event in events:
        states, prediction, stale = _answer(engine, event, states, told)
        if stale:
            result.excusable.add(str(event.event_id))
        if prediction is None:
            continue
        answered.add(str(event.event_id))
        result.answers[prediction.prediction_id] = plain(prediction)
    return states[event.session], answered


def _answer(
    engine: Engine, event: Event, states: Mapping[str, SessionState], told: Told | None
) -> tuple[dict[str, SessionState], Prediction | None, bool]:
    """What comes of it in full; or, where something else was told, at the first level at which that comes of it, or
    else as of one that waited for too long, which is the third.

    Where nothing was told a level may say so too. What was said stands in the state: if it was said and is lost, the
    states differ.
    """
    was = None if told is None else next((told[id] for id in _ids(event) if id in told), None)
    worker, found = engine.settings.worker, []
    levels = LEVELS if worker.latency_budget_ms else LEVELS[:1]
    ages = [(level, 0) for level in levels] + [(levels[-1], worker.stale_ms + 1)] * (worker.stale_ms > 0)
    for engine.level, age in ages:
        changed, (decision,) = engine.step([event], states, event.source.timestamp + age)
        prediction = decision.suppressed.prediction if decision.suppressed else decision.prediction
        found.append((changed, prediction, age > 0))
        if told is None or was == (None if prediction is None else mark_of(prediction)):
            return found[-1]
    return found[0]


def _ids(event: Event) -> set[str]:
    """Those that its decision may have."""
    return {prediction_id(event, trigger, event.time) for trigger in TRIGGERS}


def _note_ids(result: Reference, event: Event, settings: Settings, *, must: bool) -> None:
    ids = _ids(event)
    name = str(event.event_id)
    result.possible.update(dict.fromkeys(ids, name))
    idle = event.time + settings.triggers.cart_idle_ms
    result.possible[prediction_id(Due(event.session, idle), "cart_idle", idle)] = ""
    if must:
        result.answered[name] = ids
