"""A worker that was killed goes on where it was. On the local broker that is a convenience and no proof: it refuses the
fence, and its end offsets are wrong; on Apache Kafka the data folder may even be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

import pytest
from msgspec.structs import replace

from streaming import topics
from streaming.changelog import read_encoded
from streaming.records import EventRecord, SessionClosed
from streaming.settings import Settings
from streaming.torture.ledger import Ledger, keep, read_predictions, read_suppressed
from streaming.torture.plan import Profile
from streaming.torture.reference import reference
from streaming.torture.run import settings_for
from streaming.torture.sending import Sent
from streaming.torture.traffic import events, items
from streaming.worker_process import WorkerProcess
from tests.stage import Stage, eventually, now_ms

PROFILE = Profile({}, sessions=40, items=100)
ROUND = 150


@pytest.fixture
def tortured(settings: Settings, tmp_path: Path) -> Settings:
    """This test's broker and topics, with the rules of the torture: every event is answered at once."""
    rules = settings_for("127.0.0.1:1", PROFILE, tmp_path)
    worker = settings.worker.model_copy(update={"learn": False, "session_idle_ms": 0})
    return settings.model_copy(update={"rules": rules.rules, "triggers": rules.triggers, "worker": worker})


def _now(source: Iterator[EventRecord]) -> list[EventRecord]:
    some = list(islice(source, ROUND))
    for event in some:
        event.time = now_ms()
    return some


@pytest.mark.parametrize(
    ("back_end", "empty"),
    [pytest.param("local", False, id="local, no proof"), ("kafka", False), ("kafka", True)],
    indirect=["back_end"],
)
def test_killed_and_started_again_nothing_is_lost(
    tortured: Settings, stage: Stage, worker: Callable[..., WorkerProcess], empty: bool
) -> None:
    stage.put_items(items(PROFILE))
    process = worker(tortured)
    source = events(PROFILE)
    sent = Sent()
    for number in range(3):
        some = _now(source)
        stage.send_events(some)
        sent.confirmed.update(str(event.event_id) for event in some)
        if number == 0:
            eventually(stage.predictions, lambda found: len(found) > 20)
        process.kill()
        process.start(empty=empty)
        stage.send_events(tail := _now(source))
        sent.confirmed.update(str(event.event_id) for event in tail)
    process.wait_ready()

    def ledger() -> Ledger:
        held = {session: bytes.fromhex(state) for session, state in process.states()["states"].items()}
        expected = reference(tortured, PROFILE)
        return keep(
            expected, sent, chain(read_predictions(tortured), read_suppressed(tortured)), read_encoded(tortured), held
        )

    kept = eventually(ledger, lambda found: not found.faults(), 60)
    assert kept.sent == kept.events == 6 * ROUND
    assert kept.must_answer > 3 * ROUND
    assert stage.read(topics.SESSIONS, SessionClosed) == []


def test_a_clean_stop_ends_with_code_0_and_a_second_worker_takes_over(
    settings: Settings, stage: Stage, worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    stage.put_items(items(PROFILE))
    first = worker(settings)
    sent = [
        replace(event, session_id=f"v{n}", kind="view", item_id="i1") for n, event in enumerate(_now(events(PROFILE)))
    ]
    stage.send_events(sent)
    before = eventually(lambda: len(stage.spoken()), lambda count: count == len(sent))

    eventually(lambda: len(first.states()["states"]), lambda count: count == len(sent))
    states = first.states()["states"]
    assert first.stop() == 0
    other = settings.worker.model_copy(update={"id": "w1", "data_dir": tmp_path / "w1"})
    second = worker(settings.model_copy(update={"worker": other}))
    assert eventually(lambda: second.states()["states"], lambda found: found == states) == states
    assert len(stage.spoken()) == before
