"""The producer under torture, killed and started again: what it confirmed is what its topics hold."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

import pytest

from streaming import topics
from streaming.intake import Event, Intake, Source
from streaming.privacy import Pseudonyms
from streaming.settings import Settings
from streaming.torture import sending
from streaming.torture.ledger import Ledger, keep
from streaming.torture.plan import Profile
from streaming.torture.reference import Reference, place_of
from streaming.torture.sending import AHEAD, BEGUN, CONFIRMED, ORDERS, Producer
from streaming.torture.traffic import Payloads

PROFILE = Profile({}, rate=20_000, poison=0.02, repeats=0.2, late=0.1, cursed=0.01)
NAMES = [Settings().topics.prefix + topic.name for topic in topics.SOURCES]
MORE = 200
"""Payloads that are sent after the last kill."""


class Killed(Exception):
    """In place of kill -9."""


class Log:
    """A broker's: appends what clients send, and confirms it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.records: list[tuple[str, bytes | None, bytes]] = []
        self.dies_at: int | None = None
        """How many records it holds when the client is killed."""
        self.confirms_to: int | None = None
        """Up to so many records; the client dies before it hears of the others."""
        self.ends_at: int | None = None
        """How many records it holds when the producer is told to end."""

    def client(self, _settings: Settings) -> Client:
        """For `streaming.torture.traffic.client`."""
        return Client(self)

    def append(self, topic: str, value: bytes, key: bytes | None) -> bool:
        """Whether it is confirmed."""
        self.records.append((topic, key, value))
        if len(self.records) == self.dies_at:
            raise Killed
        if len(self.records) == self.ends_at:
            (self._folder / ORDERS).write_text(json.dumps({"factor": 0.0, "end": True}))
        return self.confirms_to is None or len(self.records) <= self.confirms_to


class Client:
    """As much of KafkaProducer as is used."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def send(self, topic: str, value: bytes, key: bytes | None) -> Future:
        return Future(confirmed=self._log.append(topic, value, key))

    def flush(self, _timeout: float) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


class Future:
    """Of what was sent."""

    is_done = True

    def __init__(self, *, confirmed: bool) -> None:
        self._confirmed = confirmed

    def add_callback(self, told: Callable[[object], object]) -> None:
        if self._confirmed:
            told(None)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    Producer(Settings(), PROFILE, tmp_path)
    log = Log(tmp_path / "producer")
    monkeypatch.setattr(sending, "client", log.client)
    return log


def _between_two_times() -> int:
    """Who goes on here sends the second of an event's two, and the first was begun before."""
    payloads = Payloads(PROFILE)
    for number, (before, after) in enumerate(pairwise(payloads.next(1).name for _ in count()), 1):
        if before == after and number % AHEAD == 0:
            return number
    raise AssertionError


def _ledger(log: Log, folder: Path) -> Ledger:
    """Of the way in alone: what a worker's intake takes of the log, against the notes."""
    intake, reference = Intake(Pseudonyms(None), Settings().topics.prefix), Reference()
    now = time.time_ns() // 1_000_000
    for number, (topic, key, value) in enumerate(log.records):
        source = Source(NAMES.index(topic), 0, number, now)
        event = intake.accept(source, key, value)
        if isinstance(event, Event):
            reference.events.append(event)
        else:
            reference.refused.append(place_of(source))
    return keep(reference, sending.sent(folder, PROFILE), [], {}, {})


@pytest.mark.parametrize("delivered", [1, 2, 3])
def test_a_kill_between_the_two_times_of_an_event_loses_none(log: Log, tmp_path: Path, delivered: int) -> None:
    """Of three payloads before a second copy, the first copy last, some reach the broker, and nobody hears of it."""
    folder, place = tmp_path / "producer", _between_two_times()
    log.confirms_to, log.dies_at = place - 3, place - 3 + delivered
    with pytest.raises(Killed):
        sending.run(folder, Settings(), PROFILE)
    log.confirms_to = log.dies_at = None
    log.ends_at = len(log.records) + MORE
    sending.run(folder, Settings(), PROFILE)
    ledger = _ledger(log, folder)
    assert ledger.faults().get("lost_on_the_way_in", 0) == 0, ledger.examples
    assert (ledger.sent, ledger.unknown) == (len(log.records) - delivered, 3)


def test_what_is_confirmed_and_not_there_is_seen(log: Log, tmp_path: Path) -> None:
    log.ends_at = MORE
    sending.run(tmp_path / "producer", Settings(), PROFILE)
    lost = log.records.pop(next(n for n, (_, key, _) in enumerate(log.records) if key != b"victim"))
    ledger = _ledger(log, tmp_path / "producer")
    assert ledger.faults()["lost_on_the_way_in"] == 1, lost
    assert "0 there, 1 confirmed, 1 begun" in ledger.examples["lost_on_the_way_in"][0]


def test_a_line_that_a_kill_cut_off_is_written_anew(log: Log, tmp_path: Path) -> None:
    """Else the next number would go on in it, and hundreds of thousands of payloads would be as good as begun."""
    folder = tmp_path / "producer"
    (folder / BEGUN).write_text("50\n10")
    (folder / CONFIRMED).write_text("e0\ne")
    log.ends_at = MORE
    sending.run(folder, Settings(), PROFILE)
    assert (folder / BEGUN).read_text().startswith("50\n100\n")
    found = sending.sent(folder, PROFILE)
    assert found.confirmed.total() == len(log.records) + 1
    assert found.unknown.total() == AHEAD - 1
