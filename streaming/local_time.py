"""What time it is where the shop is, for the days that the daily cap counts."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from streaming.settings import WorkerSettings


def shop_offset_min(worker: WorkerSettings, time: int) -> int:
    """The shop's minutes east of UTC at a time, in ms since the epoch, with its summer time.

    >>> paris = WorkerSettings(time_zone="Europe/Paris")
    >>> shop_offset_min(paris, 1_700_000_000_000), shop_offset_min(paris, 1_690_000_000_000)
    (60, 120)
    """
    if worker.time_zone is None:
        return worker.utc_offset_min
    if worker.time_zone == "UTC":  # known without a table of zones
        return 0
    offset = datetime.fromtimestamp(time / 1000, ZoneInfo(worker.time_zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)
