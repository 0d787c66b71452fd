"""A real Apache Kafka on this machine: one to five KRaft nodes on loopback, each broker and controller at once.

The jars come from the folder that BEFOREHAND_KAFKA_HOME names (one with `libs/`, such as an unpacked Apache
Kafka); Java 17 or later from JAVA_HOME or the PATH. Nothing is downloaded. Every node is ended by its own process id.

    with KafkaCluster(folder, nodes=3) as cluster:
        cluster.bootstrap                   # "127.0.0.1:20001,127.0.0.1:20002,..."
        cluster.kill(2)                     # kill -9
        cluster.restart(2)                  # with its data
        cluster.kill(1, signal.SIGSTOP)     # paused, until SIGCONT
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from streaming.broker import answers
from streaming.child import Child
from streaming.errors import BrokerError, InputError

HEAP = "-Xmx384m"
PORTS = range(20_000, 32_000)
"""Below the ephemeral range, so that no client takes the port of a node that is down."""
LOGGING = """\
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
"""


class KafkaStartError(BrokerError):
    """A node ended or did not answer in time; the text ends with its log."""


def why_not() -> str | None:
    """Why no Apache Kafka can be started here, or None where one can."""
    home = os.environ.get("BEFOREHAND_KAFKA_HOME")
    if not home:
        return "no Apache Kafka: BEFOREHAND_KAFKA_HOME is not set (a folder with libs/, like an unpacked Kafka)"
    if not (Path(home) / "libs").is_dir():
        return f"no Apache Kafka: BEFOREHAND_KAFKA_HOME={home} has no libs/"
    if _java() is None:
        return "no Java: install a JRE 17 or later (Debian: openjdk-17-jre-headless)"
    return None


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    path = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    return path if path and Path(path).exists() else None


def free_ports(count: int, ports: Sequence[int] = PORTS) -> list[int]:
    """So many of `ports`, drawn by chance, that nothing listens on now.

    Raises:
        KafkaStartError: there are not so many.
    """
    found: list[int] = []
    for port in random.sample(ports, len(ports)):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise KafkaStartError(f"no {count} free ports among {len(ports)} from {min(ports)} to {max(ports)}; free some")


@dataclass(slots=True)
class Node:
    """One broker process and its folder."""

    name: int
    folder: Path
    port: int
    process: Child | None = None


class KafkaCluster:
    """Nodes numbered from 1. `folder` must be fresh: left-over topics slow the nodes down."""

    def __init__(
        self,
        folder: Path,
        nodes: int = 1,
        properties: Mapping[str, str | int] | None = None,
        ports: Sequence[int] = PORTS,
    ) -> None:
        """
        Args:
            properties: further ones of the servers.
            ports: to draw those of the nodes from.

        Raises:
            InputError: there is no Apache Kafka or no Java here.
            KafkaStartError: the nodes' folders cannot be formatted.
        """
        reason = why_not()
        if reason:
            raise InputError(reason)
        self.folder = folder
        self._java = str(_java())
        self._libs = Path(os.environ["BEFOREHAND_KAFKA_HOME"]).resolve() / "libs"
        drawn = free_ports(2 * nodes, ports)
        self.nodes = {n: Node(n, folder / f"node-{n}", drawn[n - 1]) for n in range(1, nodes + 1)}
        self._configure(drawn[nodes:], properties or {})

    @property
    def bootstrap(self) -> str:
        """`host:port,host:port` of all nodes."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes.values())

    @property
    def pids(self) -> list[int]:
        """Process ids of the nodes that were started."""
        return [node.process.pid for node in self.nodes.values() if node.process is not None]

    def __enter__(self) -> KafkaCluster:
        try:
            for node in self.nodes.values():
                self._launch(node)
            for node in self.nodes.values():
                self._wait(node)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def kill(self, name: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends one node a signal; waits until it is gone where the signal ends it."""
        process = self.nodes[name].process
        if process is None:
            raise ValueError(f"node {name} was never started")
        os.kill(process.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.wait(30)

    def restart(self, name: int) -> None:
        """Starts a node that is down, with its data, and waits until it answers."""
        node = self.nodes[name]
        if node.process is not None and node.process.exit_code is None:
            raise ValueError(f"node {name} is running as {node.process.pid}")
        self._launch(node)
        self._wait(node)

    def stop(self) -> None:
        """Ends all nodes, paused ones too. The data is of no use afterwards, so nothing is flushed."""
        running = [n.process for n in self.nodes.values() if n.process is not None and n.process.exit_code is None]
        for process in running:
            os.kill(process.pid, signal.SIGKILL)
        for process in running:
            process.wait(30)

    def _configure(self, controllers: list[int], properties: Mapping[str, str | int]) -> None:
        count = len(self.nodes)
        replicas = min(count, 3)
        insync = max(1, replicas - 1)
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in zip(self.nodes, controllers, strict=True))
        for node, controller in zip(self.nodes.values(), controllers, strict=True):
            node.folder.mkdir(parents=True)
            (node.folder / "log4j2.properties").write_text(LOGGING)
            values: dict[str, str | int | Path] = {
                "process.roles": "broker,controller",
                "node.id": node.name,
                "controller.quorum.voters": voters,
                "controller.listener.names": "CONTROLLER",
                "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "log.dirs": node.folder / "data",
                "auto.create.topics.enable": "false",
                "default.replication.factor": replicas,
                "min.insync.replicas": insync,
                "offsets.topic.replication.factor": replicas,
                "offsets.topic.num.partitions": 4,
                "transaction.state.log.replication.factor": replicas,
                "transaction.state.log.min.isr": insync,
                "transaction.state.log.num.partitions": 4,
                "share.coordinator.state.topic.replication.factor": replicas,
                "share.coordinator.state.topic.min.isr": insync,
                "group.initial.rebalance.delay.ms": 0,
                "log.cleaner.dedupe.buffer.size": 8_388_608,
            }
            values.update(properties)
            (node.folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in values.items()))
            done = subprocess.run(
                self._command(
                    node, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", "server.properties"
                ),
                cwd=node.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise KafkaStartError(f"cannot format node {node.name}: {done.stdout}{done.stderr}")

    def _command(self, node: Node, main: str, *arguments: str) -> list[str]:
        return [
            *(self._java, HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{self._libs}/*"),
            f"-Dlog4j2.configurationFile={node.folder / 'log4j2.properties'}",
            *(main, *arguments),
        ]

    def _launch(self, node: Node) -> None:
        command = self._command(node, "kafka.Kafka", str(node.folder / "server.properties"))
        node.process = Child(command, node.folder / "server.log")

    def _wait(self, node: Node, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while not answers("127.0.0.1", node.port):
            ended = node.process is None or node.process.exit_code is not None
            if ended or time.monotonic() > end:
                log = (node.folder / "server.log").read_text()[-3000:]
                raise KafkaStartError(f"node {node.name} {'ended' if ended else 'did not answer'}:\n{log}")
            time.sleep(0.1)
