"""A fault in the workers makes the torture fail. On the local broker, for whose lack of proof it does not matter: what
has to be seen is a ledger that does not tally. Without the fault it does: test_torture.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from streaming.broker import LocalBroker
from streaming.torture.brokers import LocalNode
from streaming.torture.ledger import Ledger
from streaming.torture.plan import Harm, Profile
from streaming.torture.run import run


def _run(folder: Path, harms: dict[Harm, int], wrong: Sequence[str]) -> Ledger:
    worker = ("-m", "tests.torture.worker_without", *wrong)
    profile = Profile(harms, rate=60, sessions=60, workers=1, poison=0.03, gap_s=4, deadline_s=12, settle_s=30)
    with LocalBroker(folder=folder / "broker") as broker:
        return run(profile, folder, LocalNode(broker), fence=False, worker=worker).ledger


@pytest.mark.torture
@pytest.mark.broker
@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    ("wrong", "harms", "faults"),
    [
        (["delivery"], {"model-hangs": 1}, {"missing", "wrong_on_changelog", "wrong_in_workers"}),
        (["place", "letters"], {}, {"misplaced", "missing_letters"}),
    ],
)
def test_what_is_wrong_with_a_worker_shows(
    tmp_path: Path, wrong: Sequence[str], harms: dict[Harm, int], faults: set[str]
) -> None:
    """Acknowledged before it was delivered; a state in another partition, and a dead letter left out."""
    ledger = _run(tmp_path, harms, wrong)
    assert ledger.sent > 100
    assert faults <= ledger.faults().keys(), ledger.as_json()
