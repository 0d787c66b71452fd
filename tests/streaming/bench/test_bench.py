"""The whole of `beforehand bench`, small; its options; and how a sweep goes about it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streaming.bench import run
from streaming.bench.run import Bench, BenchOptions
from streaming.cli import main
from streaming.errors import InputError
from tests.streaming.bench.test_points import _point


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """What a bench of these options finds, on the local broker."""
    monkeypatch.delenv("BEFOREHAND_KAFKA_HOME", raising=False)
    monkeypatch.setattr(run, "REST_S", 0)

    def found(*arguments: str) -> dict[str, Any]:
        given = ("--seconds", "5", "--warm-up", "1", "--items", "1k", "--folder", str(tmp_path), "--json")
        assert command(*given, *arguments) == 0
        return dict(json.loads(capsys.readouterr().out))

    return found


@pytest.mark.broker
@pytest.mark.timeout(280)
def test_every_event_is_answered_and_every_figure_is_there(
    tmp_path: Path, measured: Callable[..., dict[str, Any]]
) -> None:
    plot = tmp_path / "plot.png"
    load = ("--rate", "40", "--visitors", "50", "--peak", "200", "--workers", "2", "--partitions", "4")
    found = measured(*load, "--gpu", "--plot", str(plot))
    assert (found["broker"], found["faults"]) == ("local", {})
    (size,) = found["sizes"]
    assert (size["items"], size["unmatched"], size["strangers"]) == (1000, 0, 0)
    assert sum(size["levels"].values()) == size["events"] > 100
    assert size["levels"].keys() == {"full"}
    assert 0 < size["latency"]["p50_ms"] <= size["latency"]["p99_ms"] <= size["latency"]["max_ms"]
    stages = size["worker"]["stages_us_per_event"]
    assert all(spent > 0 for spent in stages.values()), stages
    assert sum(stages.values()) == pytest.approx(size["worker"]["cpu_us_per_event"], abs=1)
    assert size["worker"]["rss_mb"] > 50
    assert (size["peak"]["events"], size["peak"]["unmatched"]) == (200, 0)
    two = size["scaled"]["over_one"]
    assert (size["scaled"]["events"], size["scaled"]["unmatched"], sum(two["events_of_each"])) == (200, 0, 200)
    assert min(two["events_of_each"]) > 0
    assert two["by_cpu_evenly_shared"] == pytest.approx(
        2 * two["cpu_us_per_event_of_one"] / two["cpu_us_per_event_of_all"], abs=0.02
    )
    assert 0 < two["by_busiest_cpu"] <= two["by_cpu_evenly_shared"]
    assert [each["name"] for each in found["references"]] == ["aiokafka, one hop", "aiokafka, echo", "stock Faust"]
    *hops, faust = found["references"]
    assert all(each["unmatched"] == 0 for each in hops)
    assert faust["unmatched"] < faust["events"]  # as installed it may lose some where the machine is busy
    assert found["ratios"].keys() == {"p90_over_echo", "peak_over_stock_faust"}
    assert found["gpu"] == {"skipped": "torch sees no GPU here"}
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_held_back_as_in_a_shop_each_event_is_decided_and_few_are_answered(
    measured: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    core = min(os.sched_getaffinity(0))
    monkeypatch.setenv("BEFOREHAND_WORKER__CORE", str(core))
    found = measured("--rate", "60", "--visitors", "20", "--peak", "0", "--throttle", "--no-references")
    (size,) = found["sizes"]
    assert (found["throttle"], found["core"], size["unmatched"], size["strangers"]) == (True, core, 0, 0)
    assert sum(size["levels"].values()) + size["unanswered"] == size["events"] > 200
    assert 20 <= sum(size["triggers"].values()) < size["events"] / 4
    assert {"quiet"} <= size["suppressed"].keys()


def test_a_sweep_doubles_until_it_is_too_much_and_then_halves_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, asked = Bench(BenchOptions(), lambda _: None), []

    async def flown(_ground: Any, _driver: Any, _stand: Any, due: Any, rate: float, _warm_s: float) -> Any:
        asked.append(rate)
        return _point(rate, 10 if rate <= 1300 else 90)

    monkeypatch.setattr(bench, "_flown", flown)
    found = asyncio.run(bench._sweep(SimpleNamespace(), SimpleNamespace(), SimpleNamespace()))  # type: ignore[arg-type]
    assert asked == [250, 500, 1000, 2000, 1500, 1250, 1375, 1312.5]
    assert [point.rate for point in found] == sorted(asked)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["only-one"], "1 folders, expected a shop folder and the model folder"),
        (["--items", "ten"], "--items 'ten', expected a count"),
        (["--items", "0"], "--items '0', expected a count"),
        (["--burst", "x"], "burst 'x', expected FACTOR:BEGIN:SECONDS"),
        (["--seconds", "4"], "5 s to warm up of 4 s"),
        (["--workers", "3"], "3 workers, 2 partitions, a peak of 5000; expected a partition for"),
        (["--workers", "2", "--peak", "0"], "2 workers, 2 partitions, a peak of 0; expected"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments) == 2
    assert told in capsys.readouterr().err


def test_a_shops_log_comes_in_its_order_and_then_again_with_other_visitors(tmp_path: Path) -> None:
    rows = ["view,a,1700000000000,i1", "impression,a,1700000001000,i9", "purchase,b,1700000002000,i2"]
    (tmp_path / "events.csv").write_text("\n".join(["kind,session_id,time,item_id", *rows]) + "\n")
    (tmp_path / "items.csv").write_text("item_id,title\ni1,kettle\ni2,boots\n")
    log = run.ShopLog(tmp_path)
    assert [item.title for item in log.catalogue()] == ["kettle", "boots"]
    visits = list(islice(log.visits(), 4))
    assert visits[:2] == [("a", "view", "i1"), ("b", "purchase", "i2")]
    assert visits[2:] == [("a~1", "view", "i1"), ("b~1", "purchase", "i2")]


def test_a_shop_without_visits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("kind,session_id,time\nexit,a,1700000000000\n")
    with pytest.raises(InputError, match="no event of an item"):
        run.ShopLog(tmp_path)
