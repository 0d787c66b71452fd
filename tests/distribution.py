"""Which test runs in which process. A whole run is shared out among a few; some chosen tests run in one.

Most of a whole run is waiting for brokers and workers, so that two processes take little more than half its time.
(Three take 11 minutes on two cores; joins of groups then take long.) What is slow to set up is set up once: the tests
of a file stay together, so do all on the one node of Apache Kafka, and all that numba compiles for. The longest begin
first, so that no process goes on long after the others.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

PROCESSES = 2
"""Of a whole run, where `-n` gives no other number."""
GROUPS = {
    "demo": r"tests/test_packaging\.py::",
    "one node": r"tests/.*\[kafka\b",
    "three nodes": r"tests/(torture/test_torture|test_kafka_cluster|end_to_end/test_learned)\.py::\w+$",
    "compiled": r"tests/(index|stories|streaming/evaluation)/",
}
"""What the ids of a group's tests look like, by its name. They are begun in this order, and before all others: when the
torture begins, what numba compiles for a worker has been compiled for those on the one node."""
TESTS = Path(__file__).resolve().parent


def processes(config: pytest.Config) -> int:
    """How many a run asks for; 0: none beside this one, as only some of the tests are chosen, or output is wanted."""
    chosen = any(config.getoption(name, None) for name in ("keyword", "markexpr", "lf"))  # lf is a plugin's
    if chosen or config.getoption("capture") == "no":
        return 0
    asked = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    return PROCESSES if any(TESTS.is_relative_to(path) for path in asked) else 0


def group(test: str) -> str:
    """Whose tests all run in one process: a name of `GROUPS`, or else the file of the test with this id.

    >>> group("tests/end_to_end/test_path.py::test_an_event[kafka]")
    'one node'
    >>> group("tests/end_to_end/test_path.py::test_an_event[local]")
    'tests/end_to_end/test_path.py'
    """
    fitting = (name for name, ids in GROUPS.items() if re.match(ids, test))
    return next(fitting, test.partition("::")[0])


def place(test: str) -> int:
    """When the test's group is begun: the lower, the sooner."""
    return [*GROUPS, group(test)].index(group(test))


class Groups(LoadScopeScheduling):
    """Gives a process that has next to nothing left the next group, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
