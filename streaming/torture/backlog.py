"""How much the workers have still to do, asked from the broker."""

from __future__ import annotations

from kafka import KafkaConsumer, TopicPartition

from streaming import connections, topics
from streaming.settings import Settings


def lag(settings: Settings) -> int:
    """Events on the input topics that the workers' group has not committed yet.

    Too few on the local broker, which tells ends that are too low.
    """
    consumer = KafkaConsumer(
        **connections.kafka_python(settings), group_id=topics.group(settings.topics), enable_auto_commit=False
    )
    try:
        partitions = [
            TopicPartition(settings.topics.prefix + topic.name, number)
            for topic in (topics.CLICKS, topics.BROWSES)
            for number in range(settings.topics.partitions)
        ]
        ends = consumer.end_offsets(partitions)
        return sum(max(0, ends[partition] - (consumer.committed(partition) or 0)) for partition in partitions)
    finally:
        consumer.close()
