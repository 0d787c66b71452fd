"""The load is that of its seed, whoever sends it, and holds what it was asked to hold."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from streaming import codec, topics
from streaming.errors import InputError
from streaming.intake import DeadLetter, Event, Intake, Source
from streaming.privacy import Pseudonyms
from streaming.records import EventRecord
from streaming.settings import Settings
from streaming.torture import sending
from streaming.torture.plan import FULL, Profile
from streaming.torture.sending import BEGUN, CONFIRMED, sent
from streaming.torture.traffic import CURSE, LATE_MS, POISON, Payload, Payloads

NOW = 1_700_000_000_000
PROFILE = Profile({}, poison=0.05, repeats=0.1, late=0.2, cursed=0.02)


def _some(profile: Profile, count: int) -> list[Payload]:
    payloads = Payloads(profile)
    return [payloads.next(NOW + n) for n in range(count)]


def test_all_that_is_wrong_is_refused_and_nothing_else() -> None:
    intake = Intake(Pseudonyms(None), "")
    taken, errors = Counter[str](), Counter[str]()
    for number, payload in enumerate(_some(PROFILE, 4000)):
        source = Source(topics.SOURCES.index(payload.topic), 0, number, NOW + number)
        found = intake.accept(source, payload.key, payload.value)
        assert isinstance(found, DeadLetter) == payload.name.startswith(POISON), payload
        if isinstance(found, Event):
            assert found.event_id == payload.name
            taken[payload.name] += 1
        else:
            assert isinstance(found, DeadLetter)
            errors[dict(found.headers)["error"].decode()] += 1
    assert errors.total() == pytest.approx(200, rel=0.3)
    assert len(errors) >= 6
    assert sum(count == 2 for count in taken.values()) == pytest.approx(0.1 * len(taken), rel=0.3)
    assert set(taken.values()) == {1, 2}
    assert sum(name.startswith(CURSE) for name in taken) == pytest.approx(0.02 * len(taken), rel=0.5)


def test_a_repeat_has_the_same_bytes_and_late_events_are_late() -> None:
    payloads = [p for p in _some(PROFILE, 2000) if not p.name.startswith(POISON)]
    seen: dict[str, bytes] = {}
    late = 0
    for number, payload in enumerate(payloads):
        assert seen.setdefault(payload.name, payload.value) == payload.value
        late += codec.decode(payload.value, EventRecord).time < NOW + number - 200
    assert late / len(payloads) == pytest.approx(0.2, abs=0.05)


def test_who_goes_on_sends_what_would_have_come_next() -> None:
    whole, later = Payloads(PROFILE), Payloads(PROFILE)
    for _ in range(700):
        whole.next(NOW)
    later.skip(700, NOW)
    assert [later.next(NOW) for _ in range(50)] == [whole.next(NOW) for _ in range(50)]


def test_what_comes_after_a_skip_bears_the_time_of_who_goes_on() -> None:
    """Wherever it begins, between the two times of an event too: an event of 1970 would be refused."""
    whole = [payload.name for payload in _some(PROFILE, 301)]
    assert any(name == after for name, after in pairwise(whole))
    for count, name in enumerate(whole):
        payloads = Payloads(PROFILE)
        payloads.skip(count, NOW)
        found = payloads.next(NOW)
        assert found.name == name
        if not name.startswith(POISON):
            assert NOW - LATE_MS <= codec.decode(found.value, EventRecord).time <= NOW


def test_without_trouble_the_events_are_those_that_they_were() -> None:
    plain = [payload.name for payload in _some(Profile({}), 100)]
    assert plain == [f"e{number}" for number in range(100)]
    names = [p.name.removeprefix(CURSE) for p in _some(PROFILE, 300) if not p.name.startswith(POISON)]
    assert list(dict.fromkeys(names))[:100] == plain


def test_what_a_killed_producer_began_is_unknown(tmp_path: Path) -> None:
    (tmp_path / BEGUN).write_text("50\n100\n15")  # the last line was cut off by a kill
    (tmp_path / CONFIRMED).write_text("e0\ne1\ne2")
    found = sent(tmp_path, Profile({}))
    assert found.confirmed == {"e0": 1, "e1": 1}
    assert found.unknown == {f"e{number}": 1 for number in range(2, 100)}


def test_an_unstarted_producer_has_sent_nothing(tmp_path: Path) -> None:
    producer = sending.Producer(Settings(), Profile({"kill": 1}), tmp_path)
    assert Profile(**json.loads((tmp_path / "producer" / "profile.json").read_text())) == Profile({"kill": 1})
    with pytest.raises(Exception, match="never started"):
        producer.finish()
    assert sent(tmp_path / "producer", Profile({})).unknown.total() == 0


@pytest.mark.parametrize("wrong", [{"poison": 0.6}, {"late": -0.1}, {"rate": 0}, {"workers": 0}])
def test_a_profile_of_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        Profile(FULL, **wrong)  # type: ignore[arg-type]
