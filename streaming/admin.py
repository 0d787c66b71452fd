"""Makes the topics that the product needs, and says how those that are there differ.

Nothing that exists is changed: what a topic keeps, and for how long, is the operator's to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, for_code

from streaming import connections, topics
from streaming.errors import BrokerError, InputError
from streaming.settings import Settings, TopicSettings

_BOOTSTRAP_MS = 10_000
_ALREADY_EXISTS = 36  # TOPIC_ALREADY_EXISTS of Kafka's protocol


@dataclass(frozen=True, slots=True)
class Wanted:
    """One topic as the settings ask for it, with its whole name."""

    name: str
    partitions: int
    sharded: bool
    """Its partition count is bound to that of `clicks`."""
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What became of one topic."""

    name: str
    action: Literal["created", "exists"]
    partitions: int
    replication: int
    differences: tuple[str, ...] = ()
    """How a topic that was there differs from what is asked, in words. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `create_topics` did."""

    topics: tuple[TopicReport, ...]
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return asdict(self)


def wanted(settings: TopicSettings) -> tuple[Wanted, ...]:
    """Every topic of the catalogue, and the compacted changelog of the sessions' states.

    >>> [topic.name for topic in wanted(TopicSettings(prefix="shop."))][-1]
    'shop.worker-sessions-changelog'
    """
    named = [
        Wanted(
            settings.prefix + topic.name,
            settings.partitions if topic.sharded else 1,
            topic.sharded,
            topic.config(),
        )
        for topic in topics.TOPICS
    ]
    config = {"cleanup.policy": "compact", "max.message.bytes": str(topics.MAX_RECORD_BYTES)}
    return (*named, Wanted(topics.changelog(settings), settings.partitions, True, config))


def create_topics(settings: Settings) -> Report:
    """Make all topics that are missing, and wait until they can be used. Calling it again makes nothing anew.

    Raises:
        InputError: a sharded topic exists with another partition count: nothing was made. Or connection settings
            contradict each other.
        BrokerError: the brokers do not answer, or refuse a topic.
    """
    arguments = connections.kafka_python(settings)
    try:
        with KafkaAdminClient(**arguments, bootstrap_timeout_ms=_BOOTSTRAP_MS) as client:
            return _create(client, settings.topics)
    except KafkaError as exc:
        raise BrokerError(
            f"no answer that helps from {', '.join(settings.brokers)}: {exc!r}; check that the brokers run, that"
            " --brokers or BEFOREHAND_BROKERS names them, and the BEFOREHAND_BROKER__... settings of security"
        ) from exc


def _create(client: Any, settings: TopicSettings) -> Report:
    warnings = []
    replication = settings.replication
    brokers = len(client.describe_cluster()["brokers"])
    if brokers < replication:
        warnings.append(
            f"replication is {brokers}, not {replication} as set, for the cluster has no more brokers: one that"
            " is lost may take records with it; add brokers, or set BEFOREHAND_TOPICS__REPLICATION"
        )
        replication = brokers
    there = _described(client)
    for topic in wanted(settings):
        _check_partitions(topic, there)
    created = _make(client, [topic for topic in wanted(settings) if topic.name not in there], replication)
    there = _described(client)
    reports = []
    for topic in wanted(settings):
        _check_partitions(topic, there)  # somebody else may have made it meanwhile
        if topic.name in created:
            reports.append(TopicReport(topic.name, "created", topic.partitions, replication))
        else:
            partitions, copies = there[topic.name]
            differences = _differences(client, topic, partitions, copies, replication)
            reports.append(TopicReport(topic.name, "exists", partitions, copies, differences))
    return Report(tuple(reports), tuple(warnings))


def _described(client: Any) -> dict[str, tuple[int, int]]:
    """Partitions and copies by topic. Asks for all: asking for one by name could make it."""
    return {
        topic["name"]: (
            len(topic["partitions"]),
            min(len(part["replica_nodes"]) for part in topic["partitions"]),
        )
        for topic in client.describe_topics()
        if topic["partitions"]
    }


def _make(client: Any, missing: list[Wanted], replication: int) -> set[str]:
    """The names of those that this call made."""
    if not missing:
        return set()
    answer = client.create_topics(
        {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": replication,
                "configs": dict(topic.config),
            }
            for topic in missing
        },
        raise_errors=False,
    )
    created = set()
    for topic in answer["topics"]:
        code = topic["error_code"]
        if code == 0:
            created.add(topic["name"])
        elif code != _ALREADY_EXISTS:
            raise BrokerError(
                f"the broker refused to create {topic['name']}: {for_code(code).__name__}"
                f" ({topic.get('error_message')}); change the setting or the right that it names, then run the command"
                " again: it makes what is missing"
            )
    client.wait_for_topics([topic.name for topic in missing])
    return created


def _check_partitions(topic: Wanted, there: Mapping[str, tuple[int, int]]) -> None:
    partitions = there.get(topic.name, (topic.partitions, 0))[0]
    if topic.sharded and partitions != topic.partitions:
        raise InputError(
            f"topic {topic.name} has {partitions} partitions, expected {topic.partitions}: all sharded topics are cut"
            f" alike; set BEFOREHAND_TOPICS__PARTITIONS={partitions} if all have as many, else take another"
            " BEFOREHAND_TOPICS__PREFIX or delete the topic"
        )


def _differences(client: Any, topic: Wanted, partitions: int, copies: int, replication: int) -> tuple[str, ...]:
    found = []
    if partitions != topic.partitions:
        found.append(f"partitions {partitions}, expected {topic.partitions}")
    if copies < replication:
        found.append(f"replication {copies}, expected {replication}")
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name)
    config = client.describe_configs([resource], config_filter="all")["topic"][topic.name]
    for name, expected in topic.config.items():
        value = config[name]["value"] if name in config else None
        if value != expected:
            found.append(f"{name} {value}, expected {expected}")
    return tuple(found)
