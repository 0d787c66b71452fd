"""The ledger and its reference, against a worker that is a loop: all tallies, and each fault is seen."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from msgspec.structs import replace

from encoders.text import DummyTextEncoder
from streaming import codec
from streaming.dead_letters import Letter
from streaming.engine import Engine
from streaming.intake import Event, Intake, Source
from streaming.items import Shop
from streaming.ladder import LEVELS
from streaming.privacy import Pseudonyms
from streaming.records import CLICK_KINDS, Prediction
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.torture.ledger import FAULTS, Ledger, keep, keep_given, keep_letters, keep_places
from streaming.torture.plan import FULL, Profile
from streaming.torture.reference import Reference, decide, mark_of
from streaming.torture.run import settings_for
from streaming.torture.sending import Sent
from streaming.torture.traffic import events, items, teach

PROFILE = Profile({}, sessions=40, items=100)
CROWDED = Profile({}, sessions=40, items=100, latency_budget_ms=500)
PATIENT = Profile({}, sessions=40, items=100, latency_budget_ms=500, stale_ms=2000)
SETTINGS, LADDER, STALE = (settings_for("127.0.0.1:1", each, Path()) for each in (PROFILE, CROWDED, PATIENT))
EVENTS = 600
BEGIN = 1_700_000_000_000


@dataclass
class Came:
    """What a loop over all events came to."""

    reference: Reference
    sent: Sent
    decisions: list[Prediction]
    changelog: dict[str, bytes]

    def ledger(self) -> Ledger:
        """With the workers holding what the changelog has."""
        return keep(self.reference, self.sent, self.decisions, self.changelog, self.changelog)


@pytest.fixture
def came(loop: Came) -> Came:
    """A copy to do harm to."""
    return Came(loop.reference, Sent(Counter(loop.sent.confirmed)), list(loop.decisions), dict(loop.changelog))


@pytest.fixture(scope="module")
def loop() -> Came:
    """600 events, decided in full."""
    came = _looped(SETTINGS)
    decide(came.reference, SETTINGS, PROFILE)
    return came


@pytest.fixture
def crowded() -> Came:
    """The same events, decided at a level that changes from batch to batch; its reference is empty yet."""
    return _looped(LADDER)


def _looped(settings: Settings) -> Came:
    """In batches; the two topics interleave by chance."""
    log, draw = _log(settings), random.Random(5)
    shop = Shop(DummyTextEncoder())
    shop.upsert(items(PROFILE))
    levels = LEVELS if settings.worker.latency_budget_ms else LEVELS[:1]
    if settings.worker.latency_budget_ms:
        teach(shop)
    engine = Engine(settings, shop, shop.tables.session_encoder(), Pseudonyms.from_settings(settings))
    states: dict[str, SessionState] = {}
    decisions: list[Prediction] = []
    arrivals = _interleaved(log)
    while arrivals:
        batch, arrivals = arrivals[:16], arrivals[16:]
        engine.level = draw.choice(levels)
        late = settings.worker.stale_ms > 0 and draw.random() < 0.3
        changed, made = engine.step(batch, states, now=BEGIN + 60_000 * late)
        states.update(changed)
        decisions += [d.prediction for d in made if d.prediction]
        decisions += [d.suppressed.prediction for d in made if d.suppressed]
    encoded = {session: codec.encode(state) for session, state in states.items()}
    sent = Sent(Counter(str(event.event_id) for event in log))
    return Came(Reference(events=log), sent, decisions, encoded)


def _log(settings: Settings) -> list[Event]:
    """The events as they lie on two topics of one partition."""
    intake = Intake(Pseudonyms.from_settings(settings), settings.topics.prefix)
    offsets = [0, 0]
    log = []
    for number, record in enumerate(islice(events(PROFILE), EVENTS)):
        record.time = BEGIN + 5 * number
        topic = 0 if record.kind in CLICK_KINDS else 1
        source = Source(topic, 0, offsets[topic], record.time)
        event = intake.accept(source, record.session_id.encode(), codec.encode(record))
        assert isinstance(event, Event)
        offsets[topic] += 1
        log.append(event)
    return sorted(log, key=lambda event: (event.source.topic, event.source.offset))


def _interleaved(log: list[Event]) -> list[Event]:
    draw = random.Random(3)
    queues = [[event for event in log if event.source.topic == topic] for topic in (0, 1)]
    arrivals = []
    while any(queues):
        queue = draw.choice([queue for queue in queues if queue])
        arrivals.append(queue.pop(0))
    return arrivals


def test_a_run_without_harm_tallies(came: Came) -> None:
    ledger = came.ledger()
    assert ledger.faults() == {}
    assert ledger.sent == ledger.events == EVENTS
    assert ledger.must_answer > EVENTS / 2
    assert ledger.decisions >= ledger.must_answer
    assert len(came.reference.answers) > EVENTS / 4


def _lose_a_decision(came: Came) -> None:
    lost = next(iter(came.reference.answers))
    came.decisions = [d for d in came.decisions if d.prediction_id != lost]


def _lose_one_of_two_topics(came: Came) -> None:
    name = next(n for n, ids in came.reference.answered.items() if not ids & came.reference.answers.keys())
    ids = came.reference.answered[name]
    came.decisions = [d for d in came.decisions if d.prediction_id not in ids]


def _decide_otherwise(came: Came) -> None:
    place = next(n for n, d in enumerate(came.decisions) if d.prediction_id in came.reference.answers)
    came.decisions[place] = replace(came.decisions[place], items=came.decisions[place].items[1:])


def _decide_twice(came: Came) -> None:
    ids = next(iter(came.reference.answered.values()))
    there = {d.prediction_id for d in came.decisions}
    came.decisions.append(replace(came.decisions[0], prediction_id=next(iter(ids - there))))


def _decide_what_never_was(came: Came) -> None:
    came.decisions.append(replace(came.decisions[0], prediction_id="0" * 32))


def _lose_an_event(came: Came) -> None:
    came.sent.confirmed["e999999"] += 1


def _forget_a_state(came: Came) -> None:
    del came.changelog[min(came.changelog)]


def _count_an_event_twice(came: Came) -> None:
    session = min(came.changelog)
    state = codec.decode(came.changelog[session], SessionState)
    came.changelog[session] = codec.encode(replace(state, counts=(state.counts[0] + 1, state.counts[1])))


@pytest.mark.parametrize(
    ("harm", "faults"),
    [
        (_lose_a_decision, {"missing"}),
        (_lose_one_of_two_topics, {"missing"}),
        (_decide_otherwise, {"different"}),
        (_decide_twice, {"twice"}),
        (_decide_what_never_was, {"unexpected"}),
        (_lose_an_event, {"lost_on_the_way_in"}),
        (_forget_a_state, {"wrong_on_changelog", "wrong_in_workers"}),
        (_count_an_event_twice, {"wrong_on_changelog", "wrong_in_workers"}),
    ],
)
def test_each_fault_is_seen_once(came: Came, harm: Callable[[Came], None], faults: set[str]) -> None:
    harm(came)
    assert came.ledger().faults() == dict.fromkeys(faults, 1)
    assert faults <= set(FAULTS)


def test_a_decision_on_what_must_be_silent_is_seen(came: Came) -> None:
    name = next(iter(came.reference.answered))
    came.reference.silent.add(name)
    del came.reference.answered[name]
    assert came.ledger().faults() == {"unexpected": 1}
    came.reference.silent.discard(name)


def test_what_a_killed_producer_began_may_be_there_or_not(came: Came) -> None:
    there, never = next(iter(came.sent.confirmed)), "e999999"
    del came.sent.confirmed[there]
    assert came.ledger().faults() == {"lost_on_the_way_in": 1}
    came.sent.unknown.update([there, never])
    assert came.ledger().faults() == {}


def test_payloads_that_nobody_can_read_are_counted(came: Came) -> None:
    came.reference.refused += [("browses", 0, 5), ("browses", 0, 6)]
    came.sent.confirmed["poison-3"] += 1
    assert came.ledger().faults() == {"lost_on_the_way_in": 1}
    came.sent.unknown["poison-4"] += 1
    assert came.ledger().faults() == {}
    came.reference.refused.clear()


def _letter(offset: int) -> Letter:
    return Letter(0, offset, None, None, "empty", "", "p.browses", 0, offset, 1, 1, 0, False)


def test_dead_letters_are_those_that_have_to_be(came: Came) -> None:
    cursed = replace_source(came.reference.events[0], 8)
    reference = Reference(refused=[("browses", 0, 5), ("browses", 0, 6)], cursed=[cursed])
    ledger = Ledger()
    keep_letters(ledger, reference, [_letter(n) for n in (5, 6, 6, 8)], "p.")
    assert (ledger.faults(), ledger.letters, ledger.letter_repeats) == ({}, 3, 1)
    keep_letters(ledger, reference, [_letter(5), _letter(8), _letter(9)], "p.")
    assert ledger.faults() == {"missing_letters": 1, "unexpected_letters": 1}


def replace_source(event: Event, offset: int) -> Event:
    return dataclasses.replace(event, source=Source(1, 0, offset, BEGIN))


def test_the_consumer_gives_the_last_of_each_session_and_nothing_twice(came: Came) -> None:
    told = [d for d in came.decisions if d.arm == "treatment"]
    ids = list(dict.fromkeys(d.prediction_id for d in told))
    ledger = Ledger()
    pairs = [(d.session_id, d.prediction_id) for d in told]
    keep_given(ledger, [*pairs, pairs[0]], Counter(ids))  # a repeat on the wire is no newer prediction
    assert (ledger.faults(), ledger.given) == ({}, len(ids))
    last = {d.session_id: d.prediction_id for d in told}[told[-1].session_id]
    keep_given(ledger, pairs, Counter([*ids, ids[0], "never sent"]) - Counter([last]))
    assert ledger.faults() == {"given_twice": 1, "given_amiss": 2}


def test_a_state_in_another_partition_is_seen(came: Came) -> None:
    sessions = sorted(came.reference.states)
    ledger = Ledger()
    keep_places(ledger, came.reference, [(session, 0) for session in sessions])
    assert ledger.faults() == {}
    keep_places(ledger, came.reference, [(sessions[0], 1), (sessions[0], 0)])
    assert ledger.faults() == {"misplaced": 1}


def test_a_repeat_is_counted_and_no_fault(came: Came) -> None:
    came.decisions.append(replace(came.decisions[0], made_at=BEGIN + 1))
    ledger = came.ledger()
    assert ledger.faults() == {}
    assert ledger.repeats == 1


def test_a_repeat_that_is_not_the_same_is_seen_whichever_comes_last(came: Came) -> None:
    right = next(d for d in came.decisions if d.prediction_id in came.reference.answers)
    came.decisions.insert(0, replace(right, items=right.items[1:]))
    assert came.ledger().faults() == {"different": 1}


def test_the_reference_is_the_same_shared_out_to_processes(came: Came) -> None:
    alone, shared = Reference(events=came.reference.events), Reference(events=came.reference.events)
    decide(alone, SETTINGS, PROFILE)
    decide(shared, SETTINGS, PROFILE, processes=2)
    assert shared == alone
    assert len(alone.answers) > EVENTS / 4


def test_the_plan_is_that_of_the_seed_and_whole() -> None:
    plan = Profile(FULL, seed=7).plan()
    assert plan == Profile(FULL, seed=7).plan()
    assert plan != Profile(FULL, seed=8).plan()
    assert {harm: plan.count(harm) for harm in FULL} == FULL
    assert plan.count("kill") + plan.count("kill-empty") == 10


def _marks(came: Came) -> dict[str, bytes]:
    return {each.prediction_id: mark_of(each) for each in came.decisions}


def test_what_was_decided_with_less_work_is_held_against_the_same_level(crowded: Came) -> None:
    decide(crowded.reference, LADDER, CROWDED, _marks(crowded))
    ledger = crowded.ledger()
    assert ledger.faults() == {}
    assert set(ledger.levels) == set(LEVELS)
    assert sum(ledger.levels.values()) == ledger.decisions
    assert len(crowded.reference.answers) > EVENTS / 4
    in_full = Reference(events=crowded.reference.events)
    decide(in_full, LADDER, CROWDED)
    crowded.reference = in_full
    assert {"different", "missing"} <= crowded.ledger().faults().keys()


def test_what_was_too_old_to_be_answered_is_excused_and_nothing_else() -> None:
    came = _looped(STALE)
    decide(came.reference, STALE, PATIENT, _marks(came))
    ledger = came.ledger()
    assert ledger.faults() == {}
    assert EVENTS / 10 < ledger.stale < EVENTS / 2
    assert ledger.must_answer > EVENTS / 10
    without = Reference(events=came.reference.events)
    decide(without, LADDER, CROWDED, _marks(came))
    assert dataclasses.replace(came, reference=without).ledger().missing > EVENTS / 10
    seen = set[str]()
    of_one_topic = [n for n, each in enumerate(came.decisions) if each.prediction_id in came.reference.answers]
    for place in of_one_topic[10::60]:
        lost = dataclasses.replace(came, reference=Reference(events=came.reference.events))
        lost.decisions = [each for n, each in enumerate(came.decisions) if n != place]
        decide(lost.reference, STALE, PATIENT, _marks(lost))
        seen |= lost.ledger().faults().keys()
    assert "wrong_on_changelog" in seen  # it was said, and stands in the state


def test_at_whatever_level_a_decision_that_is_lost_or_another_is_seen(crowded: Came) -> None:
    right = Reference(events=crowded.reference.events)
    decide(right, LADDER, CROWDED, _marks(crowded))
    of_one_topic = [n for n, each in enumerate(crowded.decisions) if each.prediction_id in right.answers]
    seen = set[str]()
    for place in of_one_topic[10::60]:
        lost = dataclasses.replace(crowded, reference=Reference(events=right.events))
        lost.decisions = [each for n, each in enumerate(crowded.decisions) if n != place]
        decide(lost.reference, LADDER, CROWDED, _marks(lost))
        assert lost.ledger().faults()
        seen |= lost.ledger().faults().keys()
    assert {"missing", "wrong_on_changelog"} <= seen  # where no level is silent, and where one is
    place = next(n for n in of_one_topic if crowded.decisions[n].level == "popular")
    crowded.decisions[place] = replace(crowded.decisions[place], items=crowded.decisions[place].items[1:])
    decide(crowded.reference, LADDER, CROWDED, _marks(crowded))
    assert "different" in crowded.ledger().faults()
