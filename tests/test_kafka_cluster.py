"""The launcher of Apache Kafka: nodes answer, die, and come back with their data."""

from __future__ import annotations

import signal

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from streaming.settings import Settings
from streaming.worker_process import environment
from tests.kafka_cluster import KafkaCluster, why_not


def _create(bootstrap: str, topic: str, replication: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=replication)])
    finally:
        admin.close()


def _send(bootstrap: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=False)
    try:
        producer.send(topic, value).get(timeout=30)
    finally:
        producer.close()


def _values(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        consumer.assign([TopicPartition(topic, 0)])
        values: list[bytes] = []
        for _ in range(60):
            for records in consumer.poll(timeout_ms=500).values():
                values += [record.value for record in records]
            if len(values) >= count:
                break
        return values
    finally:
        consumer.close()


def test_a_broker_of_each_kind_keeps_a_record(broker: str, prefix: str) -> None:
    _create(broker, prefix + "x", 1)
    _send(broker, prefix + "x", b"one")
    assert _values(broker, prefix + "x", 1) == [b"one"]


@pytest.mark.broker
def test_a_node_is_killed_and_comes_back_with_its_data(kafka3: KafkaCluster, prefix: str) -> None:
    _create(kafka3.bootstrap, prefix + "x", 3)
    _send(kafka3.bootstrap, prefix + "x", b"before")
    kafka3.kill(2)
    _send(kafka3.bootstrap, prefix + "x", b"while one was down")
    kafka3.restart(2)
    kafka3.kill(1, signal.SIGSTOP)
    kafka3.kill(1, signal.SIGCONT)
    assert _values(kafka3.bootstrap, prefix + "x", 2) == [b"before", b"while one was down"]


def test_without_a_folder_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEFOREHAND_KAFKA_HOME", raising=False)
    assert "BEFOREHAND_KAFKA_HOME is not set" in str(why_not())
    monkeypatch.setenv("BEFOREHAND_KAFKA_HOME", "/nowhere")
    assert "has no libs/" in str(why_not())


def test_a_worker_gets_its_settings_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_TOPICS__PREFIX", "other.")
    given = Settings(brokers=("a:1", "b:2"), topics={"prefix": "mine.", "partitions": 2})  # type: ignore[arg-type]
    for name in [name for name in environment(given) if name.startswith("BEFOREHAND_")]:
        monkeypatch.setenv(name, environment(given)[name])
    assert Settings.from_environment() == given
