"""`python -m tests.torture --without fence`: a run on three nodes of Apache Kafka with a fault in the workers, which
has to fail. Without a fault it does the harms that tell whether anything is lost; `beforehand torture` does them all.

Prints the ledger as one JSON object; progress goes to standard error. Exit codes: 0 all tallies, 1 something does not,
2 usage, or there is no Kafka here.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from streaming.errors import InputError
from streaming.torture.fleet import WORKER
from streaming.torture.plan import CUT, FULL, HARMS, Harm, Profile
from streaming.torture.run import COMPACTION, run
from tests.kafka_cluster import KafkaCluster, why_not

EPILOG = "Harms:\n" + "\n".join(f"  {name:16}{what}" for name, what in HARMS.items())
FAULTS = ["fence", "holding", "delivery", "place", "letters"]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cut", action="store_true", help="the two-minute run")
    parser.add_argument("--only", nargs="+", choices=list(HARMS), help="these harms alone, as often as in the run")
    parser.add_argument("--plan", nargs="+", metavar="HARM=TIMES", help="these harms, so often, and no others")
    parser.add_argument("--without", nargs="+", default=[], choices=FAULTS, help="must then fail")
    parser.add_argument("--rate", type=float, default=300, help="events a second")
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--gap", type=float, default=4, help="mean pause after a harm, in s")
    parser.add_argument("--settle", type=float, default=240, help="seconds for what is left at the end")
    parser.add_argument("--nodes", type=int, default=3, help="of Apache Kafka")
    parser.add_argument("--folder", type=Path, help="for logs and data; default: a temporary one, kept on a fault")
    given = parser.parse_args()
    reason = why_not()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    harms = {k: n for k, n in (CUT if given.cut else FULL).items() if not given.only or k in given.only}
    if given.plan:
        harms = planned(given.plan)
    profile = Profile(
        harms,
        seed=given.seed,
        rate=given.rate,
        sessions=given.sessions,
        gap_s=given.gap,
        settle_s=given.settle,
        poison=0.01,
    )
    worker = (*("-m", "tests.torture.worker_without"), *given.without) if given.without else WORKER
    folder = given.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    with KafkaCluster(folder / "kafka", given.nodes, COMPACTION) as cluster:
        result = run(profile, folder, cluster, worker=worker)
    print(json.dumps({"seed": given.seed, "without": given.without, "rate": given.rate, **result.as_json()}))
    if result.ledger.faults():
        print(f"does not tally; logs are in {folder}", file=sys.stderr)
    return 1 if result.ledger.faults() else 0


def planned(words: Sequence[str]) -> dict[Harm, int]:
    """A plan as it is written.

    >>> planned(["burst=4", "pause=3"])
    {'burst': 4, 'pause': 3}

    Raises:
        InputError: there is no such harm, or no count.
    """
    found: dict[Harm, int] = {}
    for word in words:
        name, _, times = word.partition("=")
        harm = next((harm for harm in HARMS if harm == name), None)
        if harm is None or not times.isdigit():
            raise InputError(f"--plan {word}, expected HARM=TIMES with a harm of {', '.join(HARMS)}")
        found[harm] = int(times)
    return found


if __name__ == "__main__":
    sys.exit(main())
