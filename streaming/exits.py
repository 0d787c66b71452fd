"""Crash only: any doubt about what was read or written ends the process, and its supervisor starts a new one.

Offsets stay uncommitted, so that the events of an unfinished batch are read again. docs/guarantees.md lists the codes.
"""

from __future__ import annotations

import enum
import logging
import os
import sys

logger = logging.getLogger(__name__)


class Exit(enum.IntEnum):
    """Why a worker ended itself."""

    STOPPED = 0
    """A stop was asked for before the worker was ready, or a clean stop took too long."""
    USAGE = 2
    """A setting is wrong; the message says which. Starting again does not help."""
    CRASHED = 70
    """A part of it failed in a way that has no code of its own; the log has the exception."""
    FOREIGN_STATE = 72
    """A write to a partition of the state that this worker does not own."""
    BATCHER = 73
    """The batcher ended; nothing would be decided any more."""
    FENCE = 74
    """The epoch of a state partition could not be raised."""
    DELIVERY = 75
    """An output or a state record was refused (a newer owner has fenced this worker off) or not confirmed in time."""
    STUCK = 76
    """The watchdog saw lag without progress, frozen commits or a recovery without end."""
    BROADCAST = 77
    """The catalogue, knowledge, control or learned topic can no longer be read."""
    HOLE = 78
    """An offset is missing between what was committed and what was read."""
    STATE = 79
    """The local copy of the state cannot be opened, read or written, or stands beyond its changelog."""


def die(code: Exit, why: object) -> None:
    """End this process at once, leaving uncommitted what was not confirmed. Does not return."""
    logger.critical("exit %d (%s): %r", code, code.name, why)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            pass
    os._exit(code)
