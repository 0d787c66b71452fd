"""What processes use, asked from the system. The one door to psutil."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process and its children, up to now."""

    cpu_s: float
    rss_mb: float

    @classmethod
    def of(cls, pid: int | None = None) -> Usage:
        """By its process id; none: of this process, without its children."""
        process: Any = psutil.Process(pid or os.getpid())
        family = [process, *process.children(recursive=True)] if pid else [process]
        times = [each.cpu_times() for each in family]
        return cls(
            sum(float(time.user + time.system) for time in times),
            sum(each.memory_info().rss for each in family) / 1e6,
        )

    def since(self, before: Usage, events: int) -> float:
        """CPU time of each event since then, in us."""
        return round((self.cpu_s - before.cpu_s) * 1e6 / max(1, events), 1)
