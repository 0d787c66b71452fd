"""What every test may ask for: a broker of each kind, settings that fit it, and workers as processes.

How a whole run is shared out among processes says `tests.distribution`.

`back_end` has two values: `local` (Tansu, the broker of `beforehand broker`) and `kafka` (one node of Apache
Kafka, where BEFOREHAND_KAFKA_HOME names one). A test that needs one of them says so:

    @pytest.mark.parametrize("back_end", ["kafka"], indirect=True)
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from pydantic import SecretStr

import encoders  # noqa: F401  before torch is: its threads sleep while they wait
from streaming.broker import LocalBroker
from streaming.settings import BrokerSettings, EncoderSettings, Settings, TopicSettings, WorkerSettings
from streaming.worker_process import WorkerProcess
from tests import distribution
from tests.kafka_cluster import KafkaCluster, why_not
from tests.stage import Stage

SECRET = "a secret of the tests, long enough"

collect_ignore = ["fuzz/decoder.py"]
"""Has no doctests, and needs what only `make fuzz` installs."""

# How long an example takes depends on what else the machine does, and says nothing about the product.
hypothesis.settings.register_profile(
    "beforehand", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("beforehand")


@pytest.fixture(
    scope="session",
    params=[pytest.param("local", marks=pytest.mark.broker), pytest.param("kafka", marks=pytest.mark.broker)],
)
def back_end(request: pytest.FixtureRequest) -> str:
    """Which broker a test runs on: `local` or `kafka`."""
    reason = why_not() if request.param == "kafka" else None
    if reason:
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="session")
def broker(back_end: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of the session's broker of this kind."""
    if back_end == "local":
        with LocalBroker() as local:
            yield local.address
    else:
        with KafkaCluster(tmp_path_factory.mktemp("kafka") / "cluster") as cluster:
            yield cluster.bootstrap


@pytest.fixture(scope="module")
def kafka3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three fresh nodes of Apache Kafka."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with KafkaCluster(tmp_path_factory.mktemp("kafka3") / "cluster", nodes=3) as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    """A topic prefix that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}."


def fast_settings(back_end: str, broker: str, prefix: str, data_dir: Path) -> Settings:
    """Settings for a fast worker on a broker of that kind and topics with that prefix."""
    return Settings(
        brokers=broker,  # type: ignore[arg-type]
        secret=SecretStr(SECRET),
        broker=BrokerSettings(
            fence=back_end == "kafka",
            session_timeout_s=6,
            heartbeat_s=1,
            rebalance_timeout_s=20,
            request_timeout_s=20,
        ),
        topics=TopicSettings(prefix=prefix, partitions=2, replication=1),
        encoder=EncoderSettings(model="dummy"),
        worker=WorkerSettings(id="w0", data_dir=data_dir, port=0),
    )


@pytest.fixture
def settings(back_end: str, broker: str, prefix: str, tmp_path: Path) -> Settings:
    """Settings for a fast worker on this test's broker and topics."""
    return fast_settings(back_end, broker, prefix, tmp_path / "w0")


@pytest.fixture
def stage(settings: Settings) -> Iterator[Stage]:
    """This test's topics, made and empty."""
    stage = Stage(settings)
    yield stage
    stage.close()


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers: `worker()` or `worker(other_settings)`; ready when it returns, ended after the test."""
    started: list[WorkerProcess] = []

    def start(its: Settings = settings, *, ready: bool = True) -> WorkerProcess:
        process = WorkerProcess(its, tmp_path)
        started.append(process)
        process.start()
        return process.wait_ready() if ready else process

    yield start
    for process in started:
        process.kill()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Further processes, where `-n` gives no number."""
    return distribution.processes(config)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> distribution.Groups:
    """Groups of tests, one after the other to the process that is free."""
    return distribution.Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One of several processes has the tests in the order in which their groups are begun."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: distribution.place(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failed test shows the end of the log of each of its workers."""
    report = yield
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if call.when == "call" and report.failed and isinstance(folder, Path):  # type: ignore[attr-defined]
        for log in sorted(folder.glob("*.log")):
            text = log.read_text(errors="replace")[-6000:]
            report.sections.append((f"worker log {log.name}", text))  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]
