"""A worker never ends without a code that says why."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import CommitFailedError, KafkaConnectionError
from faust.exceptions import ConsistencyError, ProducerSendError

from encoders.errors import EncoderError
from streaming import process
from streaming.app import WorkerApp, create_app
from streaming.errors import BrokerError, InputError
from streaming.exits import Exit
from streaming.process import WorkerProcess, code_of, made
from streaming.settings import EncoderSettings, Settings, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        brokers="127.0.0.1:1",  # type: ignore[arg-type]
        no_pseudonyms=True,
        encoder=EncoderSettings(model="dummy"),
        worker=WorkerSettings(id="w0", data_dir=tmp_path, port=0),
    )


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Exit, Any]]:
    """Ends of the process, which goes on."""
    seen: list[tuple[Exit, Any]] = []
    monkeypatch.setattr(process, "die", lambda code, why: seen.append((code, why)))
    return seen


@pytest.fixture
def worker(settings: Settings) -> WorkerProcess:
    return WorkerProcess(create_app(settings), loop=asyncio.new_event_loop())


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (KafkaConnectionError("no broker"), Exit.DELIVERY),
        (CommitFailedError(), Exit.DELIVERY),
        (ProducerSendError("no"), Exit.DELIVERY),
        (BrokerError("refused"), Exit.DELIVERY),
        (TimeoutError(), Exit.DELIVERY),
        (ConnectionResetError(), Exit.DELIVERY),
        (InputError("no secret"), Exit.USAGE),
        (EncoderError("no such model"), Exit.USAGE),
        (ConsistencyError("beyond the changelog"), Exit.STATE),
        (OSError(28, "No space left on device"), Exit.STATE),
        (Exception("IO error: lock hold by current process"), Exit.STATE),
        (KeyError("x"), Exit.CRASHED),
        (asyncio.CancelledError(), Exit.CRASHED),
        (None, Exit.CRASHED),
    ],
)
def test_what_an_exception_means(reason: BaseException | None, code: Exit) -> None:
    assert code_of(reason) is code


def test_a_part_of_faust_that_crashes_ends_the_process_with_its_code(
    worker: WorkerProcess, ended: list[tuple[Exit, Any]]
) -> None:
    """As a commit does that the brokers do not take: stock, the worker then ends with 1."""
    app: WorkerApp = worker.app
    app.beacon.reattach(worker.beacon)
    app.consumer.beacon.reattach(app.beacon)
    failure = KafkaConnectionError("the coordinator is gone")
    worker.loop.run_until_complete(app.consumer.crash(failure))
    assert (Exit.DELIVERY, failure) in ended


def test_a_start_that_fails_ends_the_process_with_its_code(
    worker: WorkerProcess, ended: list[tuple[Exit, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = OSError(13, "Permission denied")

    async def refused() -> None:
        raise failure

    monkeypatch.setattr(worker, "on_first_start", refused)
    worker.loop.run_until_complete(worker.start())
    assert ended == [(Exit.STATE, failure)]


def test_a_stop_that_fails_ends_the_process_with_its_code(
    worker: WorkerProcess, ended: list[tuple[Exit, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing() -> None:
        return None

    def fails() -> None:
        raise KeyError("left over")

    monkeypatch.setattr(worker, "start", nothing)
    monkeypatch.setattr(worker, "stop_and_shutdown", fails)
    with pytest.raises(SystemExit) as left:
        worker.execute_from_commandline()
    assert left.value.code == 1  # die, which ends it before that, is a stand-in here
    assert [(code, str(why)) for code, why in ended] == [(Exit.CRASHED, "'left over'")]


def test_a_stop_that_does_not_fail_ends_with_0(
    worker: WorkerProcess, ended: list[tuple[Exit, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing() -> None:
        return None

    monkeypatch.setattr(worker, "start", nothing)
    monkeypatch.setattr(worker, "stop_and_shutdown", lambda: None)
    with pytest.raises(SystemExit) as left:
        worker.execute_from_commandline()
    assert (left.value.code, ended) == (0, [])


def _raises(error: Exception) -> Callable[[], None]:
    def create() -> None:
        raise error

    return create


def test_a_worker_that_cannot_be_made_says_why(
    ended: list[tuple[Exit, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        made(_raises(InputError("BEFOREHAND_SECRET is not set")))
    assert (left.value.code, ended) == (2, [])
    assert capsys.readouterr().err == "beforehand: BEFOREHAND_SECRET is not set\n"
    with pytest.raises(PermissionError):
        made(_raises(PermissionError(13, "Permission denied")))
    assert [code for code, _ in ended] == [Exit.STATE]
    assert made(lambda: 7) == 7


def test_without_a_broker_it_ends_with_a_code_of_the_list(settings: Settings, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "streaming.app", "worker", "--without-web"],
        env={
            "PATH": "",
            "BEFOREHAND_BROKERS": "127.0.0.1:1",
            "BEFOREHAND_NO_PSEUDONYMS": "1",
            "BEFOREHAND_ENCODER__MODEL": "dummy",
            "BEFOREHAND_WORKER__DATA_DIR": str(tmp_path),
            "BEFOREHAND_WORKER__PORT": "0",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (Exit.DELIVERY, Exit.BROADCAST), done.stderr[-2000:]


def test_the_guarantees_list_every_code() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    listed = {int(code): name for code, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.MULTILINE)}
    assert listed == {code.value: code.name for code in Exit}
