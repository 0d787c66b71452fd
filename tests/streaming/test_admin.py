"""Topics are made once, compared afterwards, and never changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from streaming import connections, topics
from streaming.admin import create_topics, wanted
from streaming.errors import BrokerError, InputError
from streaming.settings import Settings, TopicSettings


@pytest.fixture
def client(settings: Settings) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(**connections.kafka_python(settings)) as opened:
        yield opened


def with_topics(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"topics": settings.topics.model_copy(update=changes)})


def test_every_topic_and_the_changelog_are_wanted() -> None:
    by_name = {topic.name: topic for topic in wanted(TopicSettings(prefix="shop.", partitions=5))}
    assert len(by_name) == len(topics.TOPICS) + 1
    assert by_name["shop.clicks"].partitions == by_name["shop.worker-sessions-changelog"].partitions == 5
    assert by_name["shop.catalogue"].partitions == 1
    assert by_name["shop.clicks"].config == {
        "cleanup.policy": "delete",
        "retention.ms": str(7 * topics.DAY_MS),
        "max.message.bytes": "2097152",
    }
    for name in ("shop.catalogue", "shop.knowledge", "shop.worker-sessions-changelog"):
        assert by_name[name].config == {"cleanup.policy": "compact", "max.message.bytes": "2097152"}


def test_topics_are_made_once_and_as_asked(settings: Settings, client: KafkaAdminClient) -> None:
    first = create_topics(settings)
    assert [topic.action for topic in first.topics] == ["created"] * 14
    assert first.warnings == ()

    made = {topic["name"]: topic for topic in client.describe_topics()}
    for topic in wanted(settings.topics):
        assert len(made[topic.name]["partitions"]) == topic.partitions

    second = create_topics(settings)
    assert [(topic.name, topic.action, topic.differences) for topic in second.topics] == [
        (topic.name, "exists", ()) for topic in first.topics
    ]


def test_what_is_missing_is_made_and_what_differs_is_told_and_left(
    settings: Settings, client: KafkaAdminClient
) -> None:
    name = settings.topics.prefix + "catalogue"
    config = {"cleanup.policy": "delete", "max.message.bytes": "2097152"}
    client.create_topics({name: {"num_partitions": 3, "replication_factor": 1, "configs": config}})
    for _ in range(2):
        found = {topic.name: topic for topic in create_topics(settings).topics}
        assert found[name].action == "exists"
        assert found[name].differences == ("partitions 3, expected 1", "cleanup.policy delete, expected compact")


def test_another_partition_count_is_refused_before_anything_is_made(
    settings: Settings, client: KafkaAdminClient
) -> None:
    name = settings.topics.prefix + "sessions"
    client.create_topics({name: {"num_partitions": 3, "replication_factor": 1}}, wait_for_metadata=True)
    with pytest.raises(InputError, match=rf"{name} has 3 partitions, expected 2.*PARTITIONS=3"):
        create_topics(settings)
    assert [topic for topic in client.list_topics() if topic.startswith(settings.topics.prefix)] == [name]


def test_replication_is_lowered_to_the_brokers_that_there_are(settings: Settings, client: KafkaAdminClient) -> None:
    report = create_topics(with_topics(settings, replication=3))
    assert {topic.replication for topic in report.topics} == {1}
    assert len(report.warnings) == 1
    assert "BEFOREHAND_TOPICS__REPLICATION" in report.warnings[0]
    partitions = [part for topic in client.describe_topics() for part in topic["partitions"]]
    assert {len(part["replica_nodes"]) for part in partitions} == {1}


def test_nobody_there_is_broker_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.admin._BOOTSTRAP_MS", 500)
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1.*BEFOREHAND_BROKERS"):
        create_topics(Settings(brokers=("127.0.0.1:1",)))


@pytest.mark.parametrize("back_end", ["kafka"], indirect=True)
def test_a_value_above_one_mib_passes_and_one_of_ten_is_refused(settings: Settings) -> None:
    create_topics(settings)
    name = settings.topics.prefix + "browses"
    arguments = connections.kafka_python(settings)
    with KafkaProducer(**arguments, max_request_size=20_000_000) as producer:
        producer.send(name, key=b"s", value=b"x" * 1_500_000).get(20)
        with pytest.raises(MessageSizeTooLargeError):
            producer.send(name, key=b"s", value=b"x" * 10_000_000).get(20)
    with KafkaConsumer(
        name, **arguments, auto_offset_reset="earliest", group_id=None, consumer_timeout_ms=10_000
    ) as reader:
        assert len(next(reader).value) == 1_500_000
