"""The brokers under torture: nodes of Apache Kafka, or the local one."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from typing import Protocol

from streaming.broker import LocalBroker
from streaming.errors import BeforehandError


class Brokers(Protocol):
    """Nodes that can be harmed; `streaming.kafka_cluster.KafkaCluster` is some."""

    @property
    def bootstrap(self) -> str:
        """`host:port,host:port`."""

    @property
    def nodes(self) -> Collection[int]:
        """Their names."""

    def kill(self, name: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends one node a signal."""

    def restart(self, name: int) -> None:
        """Starts one that was killed."""


class LocalNode:
    """The local broker as a node that can be paused, and not killed: nothing would be left."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker
        self.nodes: Collection[int] = (1,)

    @property
    def bootstrap(self) -> str:
        """`host:port`."""
        return self._broker.address

    def kill(self, name: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends it a signal.

        Raises:
            BeforehandError: one that ends it.
        """
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            raise BeforehandError(f"signal {number} to the local broker {name}, which keeps everything in memory")
        os.kill(self._broker.pid, number)

    def restart(self, name: int) -> None:
        """It never ends.

        Raises:
            BeforehandError: in any case.
        """
        raise BeforehandError(f"the local broker {name} cannot be started anew: nothing of it is left")
