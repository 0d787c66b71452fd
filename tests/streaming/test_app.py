"""The app as it is assembled, without a broker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from streaming.app import WorkerApp, WorkerProcess, create_app
from streaming.errors import InputError
from streaming.reading import HeldConsumer
from streaming.records import Item
from streaming.settings import EncoderSettings, Settings, WorkerSettings
from streaming.writing import FencedProducer, FencedTable


def settings(tmp_path: Path, **changes: object) -> Settings:
    worker = WorkerSettings(id="w0", data_dir=tmp_path, port=0)
    given = {
        "secret": "a secret of the tests, long enough",
        "encoder": EncoderSettings(model="dummy"),
        "worker": worker,
    }
    return Settings(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture
def app(tmp_path: Path) -> WorkerApp:
    return create_app(settings(tmp_path))


def test_reads_and_writes_through_our_consumer_and_producer(app: WorkerApp) -> None:
    for transport in (app.transport, app.producer_transport):  # a consumer itself would bring a thread and its loop
        assert (transport.Consumer, transport.Producer) == (HeldConsumer, FencedProducer)
    assert isinstance(app.table, FencedTable)
    local = app.table.data.rocksdb_options
    assert local.write_buffer_size * local.max_write_buffer_number + local.block_cache_size <= 32 * 1024 * 1024
    assert app.table.changelog_topic_name == app.state_topic == "beforehand.worker-sessions-changelog"


def test_the_settings_that_keep_events_are_as_they_were_tried(app: WorkerApp) -> None:
    conf = app.conf
    assert conf.processing_guarantee.value == "at_least_once"
    assert (conf.stream_wait_empty, conf.table_standby_replicas, conf.topic_allow_declare) == (True, 0, False)
    assert conf.consumer_group_instance_id == "w0"
    assert str(conf.store) == "rocksdb:"


def test_fausts_web_server_stays_off_even_if_its_command_line_turns_it_on(app: WorkerApp) -> None:
    app.conf.web_enabled = True
    WorkerProcess(app)
    assert not app.conf.web_enabled


def test_refuses_to_start_without_a_secret(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="BEFOREHAND_SECRET"):
        create_app(settings(tmp_path, secret=None))
    assert create_app(settings(tmp_path, secret=None, no_pseudonyms=True)) is not None


def test_is_neither_ready_nor_dead_before_it_has_read(app: WorkerApp) -> None:
    assert app.health.not_ready() == "reading the catalogue"
    assert app.health.not_alive() is None


def test_a_model_that_cannot_be_read_leaves_the_old_one(app: WorkerApp, tmp_path: Path) -> None:
    app.shop.upsert([Item(item_id="a", title="a shoe")])
    before = app.shop
    with pytest.raises(InputError, match="no manifest"):
        app.switching.open(tmp_path / "nothing")
    assert app.shop is before
    assert app.engine.shop is before


def test_importing_the_module_builds_nothing() -> None:
    code = "import streaming.app, sys; print('torch' in sys.modules, streaming.app._app.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "0"]


def test_a_start_that_cannot_succeed_is_told_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "streaming.app", "worker"],
        env={"PATH": "", "BEFOREHAND_WORKER__DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("beforehand: BEFOREHAND_SECRET is not set")
    assert len(done.stderr.splitlines()) == 1


def test_states_page_without_partitions(app: WorkerApp) -> None:
    app.consumer = SimpleNamespace(owned_partitions=set)  # type: ignore[assignment]
    status, kind, body = app.states_page()
    assert (status, kind, json.loads(body)) == (200, "application/json", {"partitions": [], "states": {}})
