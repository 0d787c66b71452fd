"""Apache Kafka for the tests. Of test processes side by side each draws every eighth port: a node takes seconds to
listen on what was free."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from streaming import kafka_cluster
from streaming.kafka_cluster import PORTS, why_not

__all__ = ["KafkaCluster", "free_ports", "why_not"]

OURS = PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8 :: 8]


def free_ports(count: int) -> list[int]:
    """Of this process's own."""
    return kafka_cluster.free_ports(count, OURS)


class KafkaCluster(kafka_cluster.KafkaCluster):
    """With ports of this process's own."""

    def __init__(self, folder: Path, nodes: int = 1, properties: Mapping[str, str | int] | None = None) -> None:
        super().__init__(folder, nodes, properties, OURS)
