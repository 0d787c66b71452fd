"""A whole run is shared out by groups, the longest first; chosen tests stay in one process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.distribution import PROCESSES, group, place, processes

ROOT = Path(__file__).resolve().parent.parent
TORTURE = "tests/torture/test_torture.py::test_nothing_is_lost_or_doubled_under_harm"
NODES = "tests/test_kafka_cluster.py::test_a_node_is_killed_and_comes_back_with_its_data"


def asked(*arguments: str, folder: Path = ROOT, **options: Any) -> int:
    known = {"keyword": "", "markexpr": "", "capture": "fd"} | options  # lf: where pytest's cache is there
    given = SimpleNamespace(getoption=known.get, args=arguments, invocation_params=SimpleNamespace(dir=folder))
    return processes(given)  # type: ignore[arg-type]


def test_a_whole_run_takes_several_processes() -> None:
    assert asked("tests") == asked("streaming", "index", "tests") == asked(str(ROOT)) == PROCESSES
    assert asked("..", folder=ROOT / "tests" / "index") == PROCESSES


def test_some_of_the_tests_take_one() -> None:
    assert asked("tests/index") == asked("streaming") == asked("tests/test_docs.py::test_links_lead_somewhere") == 0
    assert asked("tests", keyword="upsert") == asked("tests", markexpr="broker") == 0
    assert asked("tests", lf=True) == asked("tests", capture="no") == 0


def test_what_is_slow_to_set_up_is_together() -> None:
    assert group(TORTURE) == group(NODES) == "three nodes"
    one = "tests/test_kafka_cluster.py::test_a_broker_of_each_kind_keeps_a_record"
    assert group(f"{one}[kafka]") == group("tests/end_to_end/test_recovery.py::test_killed[kafka-True]") == "one node"
    assert group(f"{one}[local]") == "tests/test_kafka_cluster.py"
    assert group("tests/index/test_tuning.py::test_the_anchor_keeps_its_weight") == "compiled"
    assert group("streaming/codec.py::streaming.codec.decode") == "streaming/codec.py"


def test_the_longest_begin_first() -> None:
    names = ["tests/streaming/test_said.py::test_x", "tests/index/test_tuning.py::test_x", TORTURE, f"{NODES}[kafka]"]
    assert sorted(names, key=place) == names[::-1]


@pytest.mark.parametrize("test", [TORTURE, NODES])
def test_the_named_tests_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text()
