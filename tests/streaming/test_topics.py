"""The topic catalogue, and the command that makes it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from streaming import schemas, topics
from streaming.commands.topics import app
from streaming.settings import Settings


def test_what_is_shared_is_cut_alike() -> None:
    assert [topic.name for topic in topics.SOURCES] == ["clicks", "browses", "ticks"]
    assert all(topic.sharded for topic in (*topics.SOURCES, topics.LEARNED))
    assert not any(topic.sharded for topic in topics.BROADCAST if topic is not topics.LEARNED)


def test_every_record_named_is_one() -> None:
    for topic in topics.TOPICS:
        assert topic.record in {"bytes", *(kind.__name__ for kind in schemas.RECORDS)}


def test_dead_letters_hold_people_for_a_week_only() -> None:
    assert topics.DEAD_LETTERS.config()["retention.ms"] == "604800000"


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BEFOREHAND_TOPICS__PREFIX", settings.topics.prefix)
    monkeypatch.setenv("BEFOREHAND_TOPICS__PARTITIONS", "2")
    monkeypatch.setenv("COLUMNS", "100")
    return settings


def test_the_command_makes_and_compares(environment: Settings) -> None:
    arguments = ["create", "--brokers", ",".join(environment.brokers)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert shown.stdout.count("created") == 14
    assert "replication is 1, not 3" in " ".join(shown.stderr.split())

    printed = CliRunner().invoke(app, [*arguments, "--json"])
    report = json.loads(printed.stdout)
    assert {topic["action"] for topic in report["topics"]} == {"exists"}
    assert report["topics"][0] == {
        "name": environment.topics.prefix + "clicks",
        "action": "exists",
        "partitions": 2,
        "replication": 1,
        "differences": [],
    }
    assert len(report["warnings"]) == 1
