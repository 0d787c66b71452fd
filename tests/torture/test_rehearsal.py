"""What numba compiles is compiled before a worker is asked: `streaming.torture.reference.rehearse`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiling import counts_of

LATER = """
from itertools import islice
from pathlib import Path

from streaming import codec, topics
from streaming.intake import Source
from streaming.records import CLICK_KINDS
from streaming.torture.plan import Profile
from streaming.torture.reference import Reference, _intake, decide, rehearse
from streaming.torture.run import settings_for
from streaming.torture.traffic import events
from tests.compiling import compiled

NOW = 1_700_000_000_000
profile = Profile({}, sessions=20)
settings = settings_for("127.0.0.1:1", profile, Path())


intake, later = _intake(settings), Reference()
for number, record in enumerate(islice(events(profile), 1000)):
    record.time = NOW + number
    topic = topics.CLICKS if record.kind in CLICK_KINDS else topics.BROWSES
    source = Source(topics.SOURCES.index(topic), 0, number, NOW)
    later.events.append(intake.accept(source, record.session_id.encode(), codec.encode(record)))
print(compiled(lambda: rehearse(settings, Profile({}))), compiled(lambda: decide(later, settings, profile)))
"""


@pytest.mark.torture
@pytest.mark.timeout(280)
def test_after_a_rehearsal_nothing_is_left_to_compile(tmp_path: Path) -> None:
    """Where nothing was ever compiled, and sessions grow longer than in the rehearsal."""
    rehearsed, left = counts_of(LATER, tmp_path)
    assert rehearsed > 10
    assert left == 0
