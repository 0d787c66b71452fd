"""docker/ hangs together: what compose file, image and Prometheus say of each other and of the settings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from streaming.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
FILES = ("compose.yaml", "compose.gpu.yaml")
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    """As YAML reads it, merge keys done."""
    return dict(yaml.safe_load((DOCKER / name).read_text()))


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    """A compose file against the schema of the Compose specification that check-jsonschema brings."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_is_valid_by_its_schema(name: str) -> None:
    done = checked(DOCKER / name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_would_refuse_what_is_none(tmp_path: Path) -> None:
    broken = compose()
    broken["services"]["worker-1"]["restarts"] = "always"
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(broken))
    done = checked(tmp_path / "compose.yaml")
    assert done.returncode == 1
    assert "restarts" in done.stdout


def test_every_variable_is_a_setting_that_takes_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    image = dict(re.findall(r"^\s*(?:ENV )?(BEFOREHAND_\w+)=(\S+?)(?: \\)?$", DOCKERFILE, re.M))
    assert image["BEFOREHAND_WORKER__HOST"] == "0.0.0.0"
    for service in ("topics", "worker-1", "worker-2"):
        for name, value in (image | compose()["services"][service]["environment"]).items():
            fields = Settings.model_fields
            *path, last = name.removeprefix("BEFOREHAND_").lower().split("__")
            for part in path:
                fields = fields[part].annotation.model_fields  # type: ignore[union-attr]
            assert last in fields, name
            monkeypatch.setenv(name, filled(value))
        assert Settings.from_environment().brokers == ("kafka:9092",)


def filled(value: str) -> str:
    """With the default of each variable, or a text of some length where it has to be given."""
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda found: found[1] or "given by the operator", value)


def test_two_workers_share_the_load_and_nothing_else() -> None:
    services = compose()["services"]
    first, second = services["worker-1"], services["worker-2"]
    assert first["environment"]["BEFOREHAND_WORKER__ID"] != second["environment"]["BEFOREHAND_WORKER__ID"]
    assert not set(first["volumes"]) & set(second["volumes"])
    for worker in (first, second):
        assert worker["restart"] == "always"
        assert worker["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
        assert "?" in worker["environment"]["BEFOREHAND_SECRET"], "a secret that is missing has to stop the start"
    assert services["topics"]["command"] == ["topics", "create"]
    assert services["topics"]["restart"] == "no"


def test_kafka_runs_without_zookeeper_and_makes_no_topic_by_itself() -> None:
    kafka = compose()["services"]["kafka"]
    given = kafka["environment"]
    assert kafka["image"].startswith("apache/kafka:")
    assert given["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert given["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    inside = dict(part.split("://") for part in given["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert inside["INSIDE"] == compose()["x-settings"]["BEFOREHAND_BROKERS"]
    listeners = {part.split("://")[0] for part in given["KAFKA_LISTENERS"].split(",")}
    mapped = {part.split(":")[0] for part in given["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    assert listeners == mapped == inside.keys() | {given["KAFKA_CONTROLLER_LISTENER_NAMES"]}


def test_volumes_are_declared_and_files_are_there() -> None:
    whole = compose()
    used = set()
    for service in whole["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).is_dir(), source
            else:
                used.add(source)
    assert used == set(whole["volumes"])


def test_only_this_machine_reaches_what_has_no_password() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_prometheus_asks_every_worker_and_grafana_asks_prometheus() -> None:
    services = compose()["services"]
    (job,) = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = job["static_configs"][0]["targets"]
    port = re.search(r"BEFOREHAND_WORKER__PORT=(\d+)", DOCKERFILE)
    assert port is not None
    assert targets == [f"{name}:{port[1]}" for name in services if name.startswith("worker-")]
    folder = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "dashboards" / "beforehand.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]


def test_the_image_has_both_targets_and_no_root() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.M)
    assert {"cpu", "gpu"} <= set(stages)
    assert stages[-1] == "cpu"
    for target in ("cpu", "gpu"):
        assert f"FROM worker AS {target}\nCOPY --from=build-{target} " in DOCKERFILE
    worker = DOCKERFILE.split("AS worker\n")[1]
    (number,) = re.findall(r"^USER (\S+)$", worker, re.M)
    assert f"useradd --system --uid {number} " in worker
    assert worker.index("install -d -o beforehand /data") < worker.index("USER") < worker.index("VOLUME /data")


@pytest.mark.parametrize(("files", "target"), [(FILES[:1], "cpu"), (FILES, "gpu")])
def test_one_service_builds_the_image_that_the_workers_run(files: tuple[str, ...], target: str) -> None:
    """Two that build one tag side by side fail where the first build exports it (docker/compose, "already exists")."""
    services: dict[str, Any] = {}
    for file in files:
        for name, service in compose(file)["services"].items():
            known = services.get(name, {})
            services[name] = known | service | {"build": known.get("build", {}) | service.get("build", {})}
    assert [name for name, service in services.items() if service["build"]] == ["topics"]
    build = services["topics"]["build"]
    assert build["target"] == target
    assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    for worker in ("worker-1", "worker-2"):
        assert services[worker]["image"] == services["topics"]["image"]
        assert services[worker]["pull_policy"] == "never"


def test_what_is_copied_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M) for word in line.split()]
    assert set(copied) == let_in
    assert all((ROOT / name).exists() for name in copied)
