"""What a bench stands on: a broker, topics, and processes that are ended with it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from streaming import connections
from streaming.admin import create_topics
from streaming.bench.usage import Usage
from streaming.broker import LocalBroker
from streaming.child import Child
from streaming.errors import BrokerError
from streaming.kafka_cluster import KafkaCluster, why_not
from streaming.settings import Settings
from streaming.worker_process import environment


@dataclass(frozen=True, slots=True)
class Broker:
    """Where records go."""

    kind: str
    """`kafka`: nodes of Apache Kafka of our own. `local`: Tansu. `given`: somebody else's."""
    addresses: str
    fence: bool | None
    """Whether it knows idempotent producers; None: as the settings say."""
    pids: tuple[int, ...] = ()
    """Of its processes, where they are ours."""

    def usage(self) -> Usage | None:
        """Of all its processes; none where they are not ours."""
        found = [Usage.of(pid) for pid in self.pids]
        return Usage(sum(each.cpu_s for each in found), sum(each.rss_mb for each in found)) if found else None


class Ground:
    """Started in its block, gone after it."""

    def __init__(self, brokers: str | None, nodes: int) -> None:
        """
        Args:
            brokers: of somebody else; none: Apache Kafka where BEFOREHAND_KAFKA_HOME names one, else the local broker.
            nodes: of Apache Kafka.
        """
        self._brokers, self._nodes = brokers, nodes
        self._things = ExitStack()
        self.folder = Path()
        """For logs and data; gone after the block."""

    def __enter__(self) -> Ground:
        self.folder = Path(self._things.enter_context(tempfile.TemporaryDirectory(prefix="beforehand-bench-")))
        try:
            self.broker = self._start()
        except BaseException:
            self._things.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._things.close()

    def _start(self) -> Broker:
        if self._brokers is not None:
            return Broker("given", self._brokers, None)
        if why_not() is None:
            cluster = self._things.enter_context(KafkaCluster(self.folder / "kafka", self._nodes))
            return Broker("kafka", cluster.bootstrap, True, tuple(cluster.pids))
        local = self._things.enter_context(LocalBroker(folder=self.folder / "broker"))
        return Broker("local", local.address, False, (local.pid,))

    def topics(self, settings: Settings, further: Sequence[str]) -> None:
        """Make the product's topics, and further ones cut alike.

        Raises:
            BrokerError: the broker refuses one.
        """
        create_topics(settings)
        if not further:
            return
        partitions = settings.topics.partitions
        new = [NewTopic(settings.topics.prefix + name, partitions, settings.topics.replication) for name in further]
        try:
            with KafkaAdminClient(**connections.kafka_python(settings)) as admin:
                admin.create_topics(new)
        except KafkaError as exc:
            raise BrokerError(f"{', '.join(settings.brokers)} refuses topics: {exc!r}; name another broker") from exc

    def child(self, name: str, command: Sequence[str], settings: Settings) -> Child:
        """A process of Python, to be stopped by the caller; else it ends with us."""
        return Child([sys.executable, *command], self.folder / f"{name}.log", environment(settings))
