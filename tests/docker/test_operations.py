"""docs/operations.md names topics, settings and rights that exist."""

from __future__ import annotations

import re

from streaming import topics
from streaming.settings import Settings, TopicSettings
from tests.docker.asked import ALERTS
from tests.docker.rights import OPERATIONS, table

CHANGELOG = topics.changelog(TopicSettings(prefix=""))


def test_a_worker_may_do_what_it_does() -> None:
    worker = table()["worker"]
    assert worker.reads == {topic.name for topic in (*topics.SOURCES, *topics.BROADCAST)} | {CHANGELOG}
    internal = {topics.LEARNED.name, topics.TICKS.name, CHANGELOG}
    assert worker.writes == {topic.name for topic in topics.TOPICS if topic.direction == "out"} | internal


def test_every_topic_has_somebody_who_writes_and_somebody_who_reads() -> None:
    everything = {topic.name for topic in topics.TOPICS} | {CHANGELOG}
    assert frozenset().union(*(rights.reads for rights in table().values())) == everything
    assert frozenset().union(*(rights.writes for rights in table().values())) == everything


def test_group_and_ids_are_those_of_the_settings() -> None:
    assert f"Group `{topics.group(TopicSettings())}`" in OPERATIONS
    assert f"prefixed `{topics.group(TopicSettings())}-`" in OPERATIONS


def test_retention_is_told_as_it_is_made() -> None:
    part = OPERATIONS.split("| retention | why |")[1].split("\n\n")[0]
    for row in part.splitlines()[2:]:
        told, _, _ = row.strip("|").partition("|")
        days = re.search(r"(\d+) days?$", told.strip())
        for name in re.findall(r"`([\w-]+)`", told):
            topic = next((topic for topic in topics.TOPICS if topic.name == name), None)
            if topic is None:
                assert name.startswith("offsets."), name
            elif days is not None:
                assert topic.retention_ms == int(days[1]) * topics.DAY_MS, name
            else:
                assert topic.compacted or topic.retention_ms == -1, name


def test_every_alert_is_explained() -> None:
    assert set(re.findall(r"^\| `(Beforehand\w+)` \|", OPERATIONS, re.M)) == {alert.where for alert in ALERTS}


def test_every_variable_is_a_setting() -> None:
    names = set(re.findall(r"BEFOREHAND_[A-Z_]*[A-Z]", OPERATIONS))
    assert len(names) > 8
    for name in names:
        fields = Settings.model_fields
        *path, last = name.removeprefix("BEFOREHAND_").lower().split("__")
        for part in path:
            fields = fields[part].annotation.model_fields  # type: ignore[union-attr]
        assert last in fields, name
