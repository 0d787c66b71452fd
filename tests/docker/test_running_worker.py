"""What docker/ asks of a worker, asked of one that runs: its health, every metric by name, and every panel's data."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from streaming import topics
from streaming.records import EventRecord, Item
from streaming.worker_process import WorkerProcess, metric
from tests.conftest import fast_settings
from tests.docker.asked import ALERTS, DASHBOARD, DOCKER, PANELS
from tests.encoders.heads.table import save_thing
from tests.kafka_cluster import free_ports
from tests.stage import Stage, eventually, now_ms

PROMETHEUS = shutil.which("prometheus")
ASKED = set().union(*(query.metrics for query in (*PANELS, *ALERTS)))
OF_THE_SCRAPE = {"instance", "job"}
"""Labels that Prometheus adds."""

pytestmark = pytest.mark.parametrize("back_end", ["local"], indirect=True)


def lamps(price: float) -> list[Item]:
    return [
        Item(item_id=f"lamp{n}", title=f"desk lamp number {n}", price=price, currency="EUR", category="Home > Lamps")
        for n in range(12)
    ]


@pytest.fixture(scope="module")
def worker(back_end: str, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker that has met everything that it counts, and is ready."""
    folder = tmp_path_factory.mktemp("worker")
    settings = fast_settings(back_end, broker, f"{folder.name}.", folder / "w0")
    save_thing(folder / "thing")
    changed = {
        "worker": settings.worker.model_copy(update={"session_idle_ms": 1000}),
        "heads": (f"thing={folder / 'thing'}",),
    }
    settings = settings.model_copy(update=changed)
    stage = Stage(settings)
    process = WorkerProcess(settings, folder).start()
    try:
        process.wait_ready()
        stage.put_items(lamps(50))
        _until(process, "beforehand_items", 12)
        views = [EventRecord(kind="view", session_id="s", time=now_ms(), item_id=f"lamp{n}") for n in (1, 2)]
        stage.send_events(views)  # the first is answered, the second held back
        stage.send(topics.CLICKS, [(b"s", b"no record at all")])
        stage.put_items(lamps(25))
        _until(process, "beforehand_catalogue_changes_total", 12)
        _until(process, "beforehand_sessions_closed_total", 1)
        _until(process, "beforehand_dead_letters_total", 1)
        yield process
    finally:
        stage.close()
        process.kill()


def _until(process: WorkerProcess, name: str, value: float) -> None:
    eventually(lambda: metric(process.page("/metrics"), name), lambda found: found == value, what=f"no {value} {name}")


def samples(worker: WorkerProcess) -> dict[str, set[str]]:
    """Names of the series that the worker tells now, and of their labels; those that only describe themselves not."""
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(worker.page("/metrics"))
        for sample in family.samples
    }


def test_every_metric_that_is_asked_for_is_told_by_a_running_worker(worker: WorkerProcess) -> None:
    assert ASKED - samples(worker).keys() == set()


def test_labels_that_are_asked_for_are_told(worker: WorkerProcess) -> None:
    told = samples(worker)
    for query in (*PANELS, *ALERTS):
        assert query.metrics or "up{" in query.expression
        known = OF_THE_SCRAPE.union(*(told[name] for name in query.metrics))
        assert query.labels | query.legend <= known, query.where


def test_every_metric_of_the_product_is_looked_at(worker: WorkerProcess) -> None:
    for family in text_string_to_metric_families(worker.page("/metrics")):
        if family.samples and family.name.startswith("beforehand_") and not family.name.endswith("_created"):
            assert ASKED & {sample.name for sample in family.samples}, f"nobody looks at {family.name}"


def test_the_list_of_workers_is_made_of_a_metric_that_is_there(worker: WorkerProcess) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    found = re.fullmatch(r"label_values\((\w+), instance\)", variable["query"]["query"])
    assert found is not None
    assert found[1] in samples(worker)


def test_the_image_knows_a_healthy_worker_from_none(worker: WorkerProcess) -> None:
    """By the very command of the Dockerfile."""
    (command,) = re.findall(r"^HEALTHCHECK [^\[]*CMD (\[.*?\])$", (DOCKER / "Dockerfile").read_text(), re.M | re.S)
    program, *arguments = json.loads(command.replace("\\\n", ""))
    assert program == "python"
    for port, healthy in ((port_of(worker), True), (free_ports(1)[0], False)):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"BEFOREHAND_WORKER__PORT": str(port)},
            capture_output=True,
            check=False,
        )
        assert (done.returncode == 0) == healthy, done.stderr.decode()


@pytest.mark.skipif(
    PROMETHEUS is None, reason="no prometheus on the PATH; Debian's package prometheus has it, and so has a release"
)
def test_every_panel_shows_something_and_no_alert_fails(worker: WorkerProcess, tmp_path: Path) -> None:
    with prometheus(port_of(worker), tmp_path) as ask:
        scraped = "min(count_over_time(beforehand_batches_total[1m]))"
        eventually(
            lambda: ask("query", query=scraped)["result"], lambda found: found and float(found[0]["value"][1]) > 3
        )
        for panel in PANELS:
            found = ask("query", query=panel.filled("1m"))["result"]
            assert found, f"{panel.where} shows nothing: {panel.expression}"
            assert all(panel.legend <= row["metric"].keys() for row in found), panel.where
        rules = eventually(
            lambda: [rule for group in ask("rules")["groups"] for rule in group["rules"]],
            lambda rules: len(rules) == len(ALERTS) and all(rule["health"] != "unknown" for rule in rules),
        )
        assert [rule["lastError"] for rule in rules if rule["health"] != "ok"] == []


def port_of(worker: WorkerProcess) -> int:
    return int(json.loads((worker.data_dir / "pages.json").read_text())["port"])


@contextmanager
def prometheus(target: int, folder: Path) -> Iterator[Any]:
    """Prometheus with our configuration, faster, and one worker; gives what asks its HTTP interface."""
    given = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    given["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
    given["rule_files"] = [str(DOCKER / "prometheus" / name) for name in given["rule_files"]]
    given["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(given))
    (port,) = free_ports(1)
    command = [
        str(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def ask(page: str, **fields: str) -> Any:
        url = f"http://127.0.0.1:{port}/api/v1/{page}?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def up() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            return bool(ask("query", query="vector(1)")["result"])
        except OSError:
            return False

    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually(up, bool, what="no answer from prometheus")
        yield ask
    finally:
        process.kill()
        process.wait(30)
