"""Prometheus takes our configuration, rules and expressions; every alert is tried; panels have room."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docker.asked import ALERTS, DASHBOARD, PANELS

ROOT = Path(__file__).resolve().parents[2]
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool on the PATH; Debian's package prometheus has it, and so has a release of it"
)


def promtool(*arguments: str) -> str:
    """What it prints; fails where it does."""
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_configuration_and_rules_are_accepted() -> None:
    assert "is valid prometheus config file" in promtool("check", "config", "docker/prometheus/prometheus.yml")
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "docker/prometheus/rules.yml")


@needs_promtool
def test_every_alert_rings_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests/docker/rules_test.yml")


@needs_promtool
def test_promtool_refuses_what_is_wrong(tmp_path: Path) -> None:
    broken = (ROOT / "docker" / "prometheus" / "rules.yml").read_text().replace("sum by (topic) (", "sum by topic (")
    (tmp_path / "rules.yml").write_text(broken)
    with pytest.raises(AssertionError, match="BeforehandLags"):
        promtool("check", "rules", str(tmp_path / "rules.yml"))


@needs_promtool
def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    """As recording rules, which promtool parses."""
    rules = [{"record": f"panel:{number}", "expr": query.filled()} for number, query in enumerate(PANELS)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(PANELS)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_every_alert_is_tried() -> None:
    alerts = {alert.where for alert in ALERTS}
    tests = yaml.safe_load((ROOT / "tests" / "docker" / "rules_test.yml").read_text())["tests"]
    rung = {rule["alertname"] for test in tests for rule in test["alert_rule_test"] if rule["exp_alerts"]}
    quiet = {rule["alertname"] for rule in tests[0]["alert_rule_test"] if not rule["exp_alerts"]}
    assert rung == quiet == alerts


def test_panels_do_not_overlap_and_each_has_its_number() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
