"""Two minutes of the torture, in every run of the tests, with one seed: on three nodes of Apache Kafka where one is
found, else, with the harms that it bears, on the local broker. The whole of it: `beforehand torture --seed 1`."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming.broker import LocalBroker
from streaming.torture.brokers import LocalNode
from streaming.torture.plan import CUT, Harm, Profile, on_local_broker
from streaming.torture.run import COMPACTION, Result, run
from tests.kafka_cluster import KafkaCluster, why_not

TROUBLE = {"poison": 0.01, "repeats": 0.01, "late": 0.05, "cursed": 0.002}


def _run(folder: Path, harms: dict[Harm, int]) -> Result:
    """At a rate at which other tests beside it neither starve nor are starved; the burst is 2,000 a second."""
    given = {
        "rate": 100,
        "sessions": 200,
        "gap_s": 2,
        "burst_s": 2,
        "deadline_s": 12,
        "latency_budget_ms": 500,
        **TROUBLE,
    }
    if why_not():
        with LocalBroker(folder=folder / "broker") as broker:
            return run(Profile(harms, workers=2, **given), folder, LocalNode(broker), fence=False)  # type: ignore[arg-type]
    with KafkaCluster(folder / "kafka", 3, COMPACTION) as cluster:
        return run(Profile(harms, **given), folder, cluster)  # type: ignore[arg-type]


@pytest.mark.torture
@pytest.mark.broker
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_under_harm(tmp_path: Path) -> None:
    harms = on_local_broker(CUT) if why_not() else CUT
    result = _run(tmp_path, harms)
    ledger = result.ledger
    assert ledger.faults() == {}, result.as_json()
    assert sum(result.harms.values()) == sum(harms.values())
    assert ledger.sent <= ledger.events + ledger.set_aside <= ledger.sent + ledger.unknown
    assert ledger.events > 5000
    assert ledger.letters == ledger.set_aside > 20
    assert ledger.must_answer > ledger.sent / 3  # where popularity has its say, heads seldom change
    assert ledger.given > 100
    assert ledger.decisions >= ledger.must_answer
    assert sum(ledger.levels.values()) == ledger.decisions
    assert ledger.levels.keys() >= {"full", "popular"}  # how much of each is the machine's
    assert ledger.sessions > 100
    assert ledger.looks > 60
    assert sum(codes.count(-9) for codes in result.exits.values()) == harms["kill"] + harms.get("kill-empty", 0)
    assert 73 in [code for codes in result.exits.values() for code in codes], "an engine hung, and nobody ended it"
