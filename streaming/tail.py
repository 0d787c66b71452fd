"""Topics read by one reader that belongs to no group and commits nothing: for commands, and for reading a changelog."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streaming import connections
from streaming.errors import BrokerError, InputError
from streaming.settings import Settings

KafkaRecord = Any
"""kafka-python's ConsumerRecord: topic, partition, offset, timestamp, key, value, headers."""

Start = Literal["beginning", "end"]

_POLL_MS = 200
_QUIET_S = 0.6
_PATIENCE_S = 5.0


def tail(
    settings: Settings,
    names: Sequence[str],
    *,
    start: Start = "beginning",
    follow: bool = False,
    idle_s: float = float("inf"),
) -> Iterator[KafkaRecord]:
    """Records of whole topics, as they come; in order within a partition.

    `names` are whole, with their prefix. With `follow` it ends only after `idle_s` of silence; without, it ends with
    what was there when it began. A broker may tell an end that is too low (the local one does, after a batch), so the
    end is an end only once nothing more comes for a moment, or a record written later does.

    Raises:
        InputError: a topic is not there.
        BrokerError: no broker answers, or one stopped answering.
    """
    began_ms = time.time_ns() // 1_000_000
    consumer = _connected(settings)
    try:
        partitions = [TopicPartition(name, number) for name in names for number in _partitions(consumer, name)]
        consumer.assign(partitions)
        if start == "beginning":
            consumer.seek_to_beginning(*partitions)
        else:
            consumer.seek_to_end(*partitions)
        if follow:
            yield from _until_idle(consumer, idle_s)
        else:
            yield from _until_end(consumer, partitions, began_ms)
    except KafkaError as exc:
        raise BrokerError(f"reading {', '.join(names)} stopped: {exc}; start again when the broker answers") from exc
    finally:
        consumer.close(autocommit=False)


def _connected(settings: Settings) -> KafkaConsumer:
    try:
        return KafkaConsumer(
            **connections.kafka_python(settings),
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            auto_offset_reset="earliest",
            bootstrap_timeout_ms=10_000,
        )
    except KafkaError as exc:
        raise no_answer(settings, exc) from exc


def no_answer(settings: Settings, cause: KafkaError) -> BrokerError:
    """The error for brokers that cannot be reached at all."""
    return BrokerError(
        f"no answer from {','.join(settings.brokers)} ({cause}); is Kafka running there, and are --brokers or"
        " BEFOREHAND_BROKERS and the SASL and TLS settings right?"
    )


def _partitions(consumer: KafkaConsumer, name: str) -> list[int]:
    found = consumer.partitions_for_topic(name)
    if not found:
        raise InputError(
            f"topic {name} is not there; `beforehand topics create` makes it, and BEFOREHAND_TOPICS__PREFIX says how"
            " the names begin"
        )
    return sorted(found)


def _until_idle(consumer: KafkaConsumer, idle_s: float) -> Iterator[KafkaRecord]:
    heard = time.monotonic()
    while time.monotonic() - heard <= idle_s:
        for records in consumer.poll(_POLL_MS).values():
            yield from records
            heard = time.monotonic()


def _until_end(consumer: KafkaConsumer, partitions: list[TopicPartition], began_ms: int) -> Iterator[KafkaRecord]:
    ends = consumer.end_offsets(partitions)
    open_ones = set(partitions)
    quiet_since = time.monotonic()
    reached: float | None = None
    while open_ones:
        for partition, records in consumer.poll(_POLL_MS).items():
            quiet_since = time.monotonic()
            for record in records:
                later = record.offset >= ends[partition] and record.timestamp > began_ms
                if later:
                    open_ones.discard(partition)
                    consumer.pause(partition)
                    break
                yield record
        now = time.monotonic()
        if reached is None and all(consumer.position(one) >= ends[one] for one in open_ones):
            reached = now
        if reached is not None and (now - quiet_since > _QUIET_S or now - reached > _PATIENCE_S):
            return
