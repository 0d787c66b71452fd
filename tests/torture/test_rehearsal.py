"""What numba compiles is compiled before a worker is asked: `streaming.torture.reference.rehearse`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LATER = """
from itertools import islice
from pathlib import Path

from numba.core import event

from streaming import codec, topics
from streaming.intake import Source
from streaming.records import CLICK_KINDS
from streaming.torture.plan import Profile
from streaming.torture.reference import Reference, _intake, decide, rehearse
from streaming.torture.run import settings_for
from streaming.torture.traffic import events

NOW = 1_700_000_000_000
profile = Profile({}, sessions=20)
settings = settings_for("127.0.0.1:1", profile, Path())


def compiled(work):
    with event.install_recorder("numba:compile") as recorder:
        work()
    return len(recorder.buffer)


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
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LATER], env=environment, capture_output=True, text=True, check=False, timeout=270
    )
    assert done.returncode == 0, done.stderr
    rehearsed, left = map(int, done.stdout.split())
    assert rehearsed > 10
    assert left == 0
