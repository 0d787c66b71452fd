"""What the dashboard and the alerts ask of Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

DOCKER = Path(__file__).resolve().parents[2] / "docker"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "beforehand.json").read_text())
RULES = yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text())["groups"]


@dataclass(frozen=True, slots=True)
class Query:
    """One expression."""

    where: str
    """Title of its panel, or name of its alert."""
    expression: str
    """As Grafana or Prometheus has it."""
    legend: frozenset[str] = frozenset()
    """Labels that tell its lines apart, to people."""

    @property
    def metrics(self) -> set[str]:
        """The series that it names.

        >>> sorted(Query("", 'rate(beforehand_events_total{topic="beforehand_x"}[5m]) > process_max_fds').metrics)
        ['beforehand_events_total', 'process_max_fds']
        """
        return set(re.findall(r"\b(?:beforehand|process)_\w+", re.sub(r'"[^"]*"', "", self.expression)))

    @property
    def labels(self) -> set[str]:
        """The labels that it names, to choose by or to sum by.

        >>> sorted(Query("", 'sum by (topic, le) (rate(a{x!="1", y=~"b"}[5m]))').labels)
        ['le', 'topic', 'x', 'y']
        """
        plain = re.sub(r'"[^"]*"', "", self.expression)
        places = re.findall(r"by \(([^)]*)\)|\{([^}]*)\}", plain)
        return set(re.findall(r"\w+", " ".join(part for place in places for part in place)))

    def filled(self, window: str = "5m") -> str:
        """With Grafana's variables as they are for all workers."""
        return self.expression.replace("$__rate_interval", window).replace("$worker", ".*")


def _shown() -> Iterator[Query]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield Query(panel["title"], target["expr"], frozenset(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])))


PANELS = tuple(_shown())
ALERTS = tuple(Query(rule["alert"], rule["expr"]) for group in RULES for rule in group["rules"])
