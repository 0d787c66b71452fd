"""Looks at the workers' pages against what was done to them: each untruth is seen, and nothing else is one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streaming.pages import Pages, text
from streaming.settings import Settings, WorkerSettings
from streaming.telemetry import Metrics
from streaming.torture import looking
from streaming.torture.looking import Look, Looker, Looks
from streaming.torture.truth import Done, ready_again, untrue, untrue_at_the_end
from streaming.worker_process import WorkerProcess

FINE = Look(0.0, pid=1, live=None, ready=None, full=None, partitions=4, batches=0, failures=0)


def seen(seconds: range, works: bool = True, **said: Any) -> list[Look]:
    """A look a second; it decides a batch in each, or stands still."""
    return [dataclasses.replace(FINE, at=float(at), batches=at if works else 0, **said) for at in seconds]


def found(looks: list[Look], *harms: Done, cursed: bool = False) -> list[str]:
    return untrue(Looks({"w0": looks}), harms, cursed=cursed, budget=False)


def test_what_works_and_says_so_is_true() -> None:
    assert found(seen(range(60))) == []


def test_ready_that_decides_nothing_is_untrue_after_the_grace() -> None:
    assert found(seen(range(9), works=False)) == []
    assert found(seen(range(11), works=False)) == [
        "w0: says ready, and has decided nothing for 9 s",
        "w0: says ready, and has decided nothing for 10 s",
    ]


def test_without_partitions_there_is_nothing_to_decide() -> None:
    assert found(seen(range(60), works=False, partitions=0)) == []


def test_not_ready_that_decides_nothing_is_true() -> None:
    assert found(seen(range(60), works=False, ready="rebalancing")) == []


def test_what_was_paused_is_not_judged_by_the_time_between() -> None:
    before, after = seen(range(5), works=False), seen(range(30, 35), works=False)
    assert found(before + after) == []


def test_a_new_process_begins_anew() -> None:
    assert found(seen(range(6), works=False) + seen(range(6, 12), works=False, pid=2)) == []


@pytest.mark.parametrize("page", ["ready", "live"])
def test_no_that_goes_on_deciding_is_untrue(page: str) -> None:
    said: dict[str, Any] = {page: "partitions held back"}
    assert found(seen(range(9), **said)) == []
    wrong = found(seen(range(12), **said))
    assert wrong == [
        "w0: says 'partitions held back', and has decided 9 batches meanwhile",
        "w0: says 'partitions held back', and has decided 10 batches meanwhile",
    ]


def test_no_without_a_reason_is_untrue() -> None:
    assert found(seen(range(1), ready="")) == ["w0: a page says no and not why"]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (Done("broker-away", 10, 40, everywhere=True), "with no broker there"),
        (Done("broker-pause", 10, 40, everywhere=True), "with no broker there"),
        (Done("model-hangs", 10, 40, worker="w0"), "with an engine that hangs"),
    ],
)
def test_ready_without_what_it_needs_is_untrue(harm: Done, why: str) -> None:
    """Even where it seems to decide."""
    assert found(seen(range(20)), harm) == [f"w0: says ready 9 s into {harm.harm}, {why}"]
    assert found(seen(range(20), works=False, ready="the brokers have not confirmed a tick for 7 s"), harm) == []
    assert found(seen(range(41, 60)), harm) == []


def test_one_node_of_three_or_another_workers_engine_is_no_reason() -> None:
    assert found(seen(range(20)), Done("broker-pause", 0, 40), Done("model-hangs", 0, 40, worker="w1")) == []


def test_an_engine_that_fails_has_to_be_told() -> None:
    calm = seen(range(5))
    fails = seen(range(5, 8), failures=3)
    harm = Done("model-errors", 4, 8, worker="w0")
    assert found(calm + fails, harm) == ["w0: its engine failed 3 times, and it says it is full"]
    told = seen(range(5, 8), failures=3, full="the engine failed 0 s ago: RuntimeError()")
    assert found(calm + told, harm) == []


def test_an_engine_that_nobody_made_fail_is_untrue() -> None:
    told = seen(range(1), full="the engine failed 3 s ago: RuntimeError()")
    assert found(told) == ["w0: says 'the engine failed 3 s ago: RuntimeError()', and nobody made it fail"]
    assert found(told, cursed=True) == found(told, Done("model-errors", -10, -5, worker="w0")) == []
    assert len(found(told, Done("model-errors", -60, -50, worker="w0"))) == 1
    assert len(found(told, Done("model-errors", -10, -5, worker="w1"))) == 1


def test_a_level_without_a_budget_is_untrue() -> None:
    told = seen(range(2), full="level popular: events waited for 500 ms, the budget is 100 ms; 3 MB left")
    assert len(found(told)) == 2
    assert untrue(Looks({"w0": told}), [], cursed=False, budget=True) == []


def test_at_the_end_all_that_are_wanted_are_there() -> None:
    late = dataclasses.replace(FINE, ready="rebalancing")
    assert untrue_at_the_end({"w0": FINE}) == []
    less = dataclasses.replace(FINE, full="level graph: events waited for 90 ms, the budget is 40 ms")
    failed = dataclasses.replace(FINE, full="the engine failed 3 s ago: RuntimeError()")
    assert untrue_at_the_end({"w0": FINE, "w1": None, "w2": late, "w3": less, "w4": failed}) == [
        "w1: no answer at the end",
        "w2: at the end, all worked off, it says: rebalancing",
        "w3: at the end, all worked off, it says: level graph: events waited for 90 ms, the budget is 40 ms",
    ]


def test_a_kill_is_over_when_the_worker_is_ready_with_partitions() -> None:
    looks = [*seen(range(5)), *seen(range(10, 12), ready="rebalancing", pid=2), *seen(range(12, 15), pid=2)]
    harms = [Done("kill", 4.5, 12, worker="w0"), Done("pause", 5, 6, worker="w0"), Done("kill", 90, 95, worker="w0")]
    assert ready_again(Looks({"w0": looks}), harms) == [7.5]


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    """No process; its pages are this one's."""
    process = WorkerProcess(Settings(worker=WorkerSettings(id="w0", data_dir=tmp_path, port=0)), tmp_path)
    monkeypatch.setattr(WorkerProcess, "running", True)
    monkeypatch.setattr(WorkerProcess, "pid", os.getpid())
    return process


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[dict[str, str | None]], Metrics]]:
    served = []

    def start(says: dict[str, str | None]) -> Metrics:
        metrics = Metrics()
        answers = {path: (lambda why=why: text(why)) for path, why in says.items()}
        pages = Pages(0, tmp_path, answers | {"/metrics": lambda: (200, "text/plain", metrics.page())})
        pages.start()
        served.append(pages)
        return metrics

    yield start
    for pages in served:
        pages.stop()


def test_a_look_is_what_the_pages_say(process: WorkerProcess, serve: Callable[..., Metrics]) -> None:
    metrics = serve({"/live": None, "/ready": "rebalancing", "/full": "the engine failed 1 s ago"})
    metrics.partitions.set(3)
    metrics.batches.inc(9)
    metrics.engine_failed([ValueError()])
    look = looking.look(process)
    assert (look.live, look.ready, look.full) == (None, "rebalancing", "the engine failed 1 s ago")
    assert (look.partitions, look.batches, look.failures) == (3, 9, 1)


def test_a_looker_looks_until_it_is_stopped(
    process: WorkerProcess, serve: Callable[..., Metrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "EVERY_S", 0.01)
    looker = Looker([process])
    looker.start()
    while not looker.looks.silent:
        pass  # no pages yet
    serve({"/live": None, "/ready": None, "/full": None})
    while looker.looks.count < 3:
        pass
    looks = looker.stop()
    assert {look.ready for look in looks.seen["w0"]} == {None}
    assert looks.count >= 3


def test_what_is_counted_is_read_before_the_pages_that_have_to_tell_of_it() -> None:
    """Else what fails in between would be counted, and told of by none."""

    class Worker:
        pid = 7

        def __init__(self) -> None:
            self.asked: list[str] = []

        def page(self, name: str, _patience_s: float) -> str:
            self.asked.append(name)
            counts = ("beforehand_partitions", "beforehand_batches_total", "beforehand_engine_failures_total")
            return "".join(f"{count} 1\n" for count in counts)

        def says_no(self, name: str, _patience_s: float) -> None:
            self.asked.append(name)

    worker = Worker()
    assert looking.look(worker).failures == 1  # type: ignore[arg-type]
    assert worker.asked[0] == "/metrics"
