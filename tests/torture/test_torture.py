"""Two minutes of the torture, in every run of the tests. The whole of it: `python -m tests.torture --seed 1`."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming.torture.plan import CUT, Profile
from streaming.torture.run import COMPACTION, run
from tests.kafka_cluster import KafkaCluster, why_not

TROUBLE = {"poison": 0.01, "repeats": 0.01, "late": 0.05, "cursed": 0.002}


@pytest.mark.torture
@pytest.mark.broker
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_under_harm(tmp_path: Path) -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with KafkaCluster(tmp_path / "kafka", 3, COMPACTION) as cluster:
        result = run(Profile(CUT, rate=200, sessions=200, gap_s=3, **TROUBLE), tmp_path, cluster)
    ledger = result.ledger
    assert ledger.faults() == {}, result.as_json()
    assert sum(result.harms.values()) == sum(CUT.values())
    assert ledger.sent <= ledger.events + ledger.set_aside <= ledger.sent + ledger.unknown
    assert ledger.events > 3000
    assert ledger.letters == ledger.set_aside > 20
    assert ledger.must_answer > ledger.sent / 2
    assert ledger.given > 100
    assert ledger.decisions >= ledger.must_answer
    assert ledger.sessions > 100
