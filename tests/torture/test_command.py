"""`beforehand torture`: what it refuses, and what it reports."""

from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from streaming.cli import main
from streaming.torture.ledger import FAULTS, Ledger
from streaming.torture.plan import HARMS, ON_KAFKA, Profile, kills, on_local_broker
from streaming.torture.report import COUNTS, WRONG, Report
from streaming.torture.run import Result, ended_amiss


def refused(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["torture", *arguments])
    return int(ended.value.code or 0)


def test_without_kafka_it_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BEFOREHAND_KAFKA_HOME", raising=False)
    assert refused() == 2
    assert "or take --local, which proves nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--local", "--only", "kill,storm"], "--only storm: no such harm, expected some of kill, "),
        (["--local", "--poison", "0.9"], "poison 0.9, expected a share from 0 to 0.5"),
        (["--local", "--latency-budget", "-1"], "latency budget -1.0 ms, expected one above 0, or 0 for none"),
    ],
)
def test_nonsense_is_refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(*arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("count", [0, 1, 9, 50])
def test_kills_add_up(count: int) -> None:
    assert sum(kills(count).values()) == count
    local = on_local_broker(kills(count))
    assert not local.keys() & ON_KAFKA
    assert local["kill"] >= count // 2


def test_a_ledger_that_does_not_tally_says_how_to_do_it_again() -> None:
    assert COUNTS.keys() | WRONG.keys() < set(Ledger.__dataclass_fields__)
    assert tuple(WRONG) == FAULTS
    ledger = Ledger(sent=10, events=10, missing=1, looks=7000, levels={"popular": 8001}, examples={"missing": ["e7"]})
    result = Result(ledger, dict(Counter(HARMS)), {"w0": [-9, 73, 1], "w1": [0, -15]}, 1.0, [4.5, 3.0])
    out = io.StringIO()
    Report(Profile({}, seed=42), result, nodes=3, folder=Path("/logs"), again="torture --seed 42").show(
        Console(file=out, width=120)
    )
    assert "does not tally" in out.getvalue()
    assert "e7" in out.getvalue()
    assert "again: torture --seed 42" in out.getvalue()
    assert "all tallies" not in out.getvalue()
    assert "ready again after a kill: 3 to 4.5 s" in out.getvalue()
    assert "7,000" in out.getvalue()
    assert "8,001" in out.getvalue()
    told = Report(Profile({}), result, nodes=0, folder=Path("/logs"), again="").as_json()
    assert (told["proof"], told["faults"], told["seed"]) == (False, {"missing": 1}, 1)
    assert (told["looks"], told["untrue"], told["ready_again_s"]) == (7000, 0, [4.5, 3.0])


def test_the_command_that_it_names_does_the_same_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done: list[Profile] = []

    def fake(profile: Profile, *_: object, **__: object) -> Result:
        done.append(profile)
        return Result(Ledger(), {}, {}, 1.0, [])

    monkeypatch.setattr("streaming.commands.torture.run", fake)
    monkeypatch.setattr("streaming.commands.torture.LocalBroker", lambda folder: nullcontext(None))
    asked = "--local --seed 9 --kills 3 --rebalances 2 --only kill,pause --rate 40 --late 0.1 --deadline 20"
    asked += " --latency-budget 50"
    where = ["--folder", str(tmp_path), "--json"]
    assert refused(*asked.split(), *where) == 0
    again = json.loads(capsys.readouterr().out)["again"].split()
    assert again[:2] == ["beforehand", "torture"]
    assert refused(*again[2:], *where) == 0
    assert done[0] == done[1] != Profile({})


def test_an_end_that_nobody_has_a_code_for_is_a_fault() -> None:
    listed = [-9, -15, 0, 72, 73, 74, 75, 76, 77, 78, 79]
    assert ended_amiss({"w0": listed, "w1": []}) == []
    assert ended_amiss({"w0": [-9, 1], "w1": [2, 70, -11]}) == [
        "w0 ended with 1",
        "w1 ended with 2",
        "w1 ended with 70",
        "w1 ended with -11",
    ]
