"""The demo's worker: a process of its own, as people run it, asked through its own pages."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from streaming.child import Child
from streaming.errors import BeforehandError
from streaming.pages import FILE

DUE_SILENCES = frozenset({"closed", "late", "not_due", "outdated"})
"""Silences that a tick or a change of the catalogue leads to, not an event."""
DUE_TRIGGERS = frozenset({"cart_idle", "price_drop", "back_in_stock"})
READY_S = 120.0
_POLL_S = 0.1

Counted = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Tally:
    """The worker's counters at one moment."""

    def __init__(self, page: str) -> None:
        """Out of its metrics page, in Prometheus' text format."""
        self._counted: Counted = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                self._counted[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    def by(self, name: str, label: str) -> dict[str, int]:
        """A counter, without its `_total`, summed by one label."""
        found: dict[str, int] = {}
        for (counter, labels), value in self._counted.items():
            if counter == f"{name}_total" and value:
                key = dict(labels)[label]
                found[key] = found.get(key, 0) + int(value)
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def items(self) -> int:
        """Known now."""
        return int(self._counted.get(("beforehand_items", ()), 0))

    @property
    def predictions(self) -> int:
        """Sent."""
        return sum(self.by("beforehand_predictions", "trigger").values())

    @property
    def suppressed(self) -> dict[str, int]:
        """Held back, by rule."""
        return self.by("beforehand_suppressed", "rule")

    @property
    def silent(self) -> dict[str, int]:
        """Events that led to nothing, by reason."""
        reasons = self.by("beforehand_silent", "reason")
        return {reason: count for reason, count in reasons.items() if reason not in DUE_SILENCES}

    @property
    def dead_letters(self) -> int:
        """Records set aside."""
        return sum(self.by("beforehand_dead_letters", "error").values())

    @property
    def decided(self) -> int:
        """Events that have their decision: sent, held back, silent or set aside; ticks are left out."""
        spoken = (self.by(f"beforehand_{name}", "trigger") for name in ("predictions", "suppressed"))
        told = sum(count for group in spoken for trigger, count in group.items() if trigger not in DUE_TRIGGERS)
        return told + sum(self.silent.values()) + self.dead_letters


class DemoWorker:
    """`python -m streaming worker` in a child process; stopped by its process id at the end of the block."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """
        Args:
            folder: the worker's data folder, emptied: the state of a run before belongs to a broker that is gone.
                Its log goes beside it.
            environment: BEFOREHAND_... variables on top of ours.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        log = folder.parent / "worker.log"
        log.unlink(missing_ok=True)
        self.child = Child([sys.executable, "-m", "streaming", "worker"], log, {**os.environ, **environment})
        self._port: int | None = None

    def wait_ready(self, items: int) -> None:
        """Until `/ready` says so, and it knows as many items.

        Raises:
            BeforehandError: it ended, or is not ready in time.
        """
        until = time.monotonic() + READY_S
        while self.page("/ready") is None or self.tally().items < items:
            self.check()
            if time.monotonic() > until:
                raise BeforehandError(
                    f"the worker is not ready after {READY_S:.0f} s; the end of its log ({self.child.log}):\n"
                    f"{self.child.tail()}"
                )
            time.sleep(_POLL_S)

    def tally(self) -> Tally:
        """Its counters now.

        Raises:
            BeforehandError: it does not answer.
        """
        page = self.page("/metrics")
        if page is None:
            self.check()
            raise BeforehandError(f"the worker does not answer on its pages; its log: {self.child.log}")
        return Tally(page)

    def check(self) -> None:
        """Nothing while it runs; else an error with the end of its log."""
        self.child.check("the worker")

    def stop(self) -> None:
        """End it and wait until it is gone."""
        self.child.stop(patience_s=20)

    def __enter__(self) -> DemoWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def page(self, path: str) -> str | None:
        """None where there are no pages yet, or they say no."""
        try:
            if self._port is None:
                self._port = int(json.loads((self._folder / FILE).read_text())["port"])
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (OSError, ValueError, KeyError):
            return None
