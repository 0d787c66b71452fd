"""An event, a due time or a notice as it meets its session's state: what becomes of that, before anything is said."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from streaming.changes import Change
from streaming.intake import Event
from streaming.records import Transition
from streaming.said import was_said
from streaming.sessions import (
    FRESH,
    SessionState,
    advance,
    expires_at,
    idle_at,
    in_cart,
    stub,
)
from streaming.settings import Settings, WorkerSettings
from streaming.teaching import taught

SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class Due:
    """A tick found that something of a session waits for time."""

    session: str
    """Pseudonym."""
    time: int
    """The tick's, in ms since the epoch."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """The catalogue changed an item that a session saw or has in its cart."""

    session: str
    """Pseudonym."""
    time: int
    """When it happened, by the clock that the worker goes by, in ms since the epoch."""
    change: Change


Work = Event | Due | Noticed
"""What a step of the engine works on: each leads to one decision."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event, due time or notice, and the state after it. `said` in that state is as it stood before the batch, but
    for the idle spell: what was said meanwhile is threaded through by the engine."""

    event: Work
    state: SessionState
    time: int
    """The event's; of what was due, when it fell due, whenever the tick came."""
    silent: str | None = None
    """Why nothing can be said, where that is plain already."""
    kind: str | None = None
    """The event's; None of what was due or noticed."""
    first: bool = False
    """It is the session's first event."""
    stale: bool = False
    """It waited for too long to be answered."""
    ended: SessionState | None = None
    """The session that ended here, if one did."""
    taught: Transition | None = None

    @property
    def lead(self) -> str | None:
        """The item that a prediction has to begin with: the one that was noticed."""
        return self.event.change.item_id if isinstance(self.event, Noticed) else None


def meet(event: Work, state: SessionState | None, settings: Settings, now: int | None = None) -> Moment:
    """What the event, the tick or the notice does to its session's state.

    Args:
        now: wall time in ms since the epoch, by which an event can be stale; None: none is.
    """
    state = state or FRESH
    if isinstance(event, Event):
        return _event(event, state, settings, _stale(event, settings.worker, now))
    return _due(event, state, settings) if isinstance(event, Due) else _noticed(event, state, settings)


def concerns(change: Change, state: SessionState) -> bool:
    """Whether the session waits to hear of it: it saw the item before, or has it in its cart, and was not told."""
    seen = [step.time for step in state.history if step.item_id == change.item_id]
    known = bool(seen) or in_cart(state, change.item_id)
    return known and max(seen, default=0) < change.time and not was_said(state.said, change.mark)


def _stale(event: Event, worker: WorkerSettings, now: int | None) -> bool:
    """A record without a time of its own is not."""
    sent = event.source.timestamp
    return now is not None and sent > 0 and worker.clock == "wall" and 0 < worker.stale_ms < now - sent


def _event(event: Event, state: SessionState, settings: Settings, stale: bool) -> Moment:
    """A replayed offset changes nothing. An event that comes when the session has been idle for too long ends it, as
    a tick would have, and begins the next."""
    if event.source.offset <= state.offsets[event.source.topic]:
        return Moment(event, state, event.time, "applied")
    ended = None
    end = expires_at(state, settings.worker)
    if state.last_time and end is not None and event.time >= end:
        ended, state = state, stub(state)
    first = not state.last_time
    after = advance(state, event)
    silent = "repeat" if after.repeats > state.repeats else None
    if silent is None and _flooded(after, event.time, settings.worker.session_events_per_s):
        silent = "flood"
    lesson = None if silent else taught(event, after, settings.worker.session_lessons)
    return Moment(event, after, event.time, silent, event.kind, first and not silent, stale, ended, lesson)


def _flooded(state: SessionState, time: int, limit: int) -> bool:
    """More than so many events of interest within the second around this one: no visitor does that."""
    return 0 < limit < len(state.history) and sum(abs(step.time - time) < SECOND_MS for step in state.history) > limit


def _due(due: Due, state: SessionState, settings: Settings) -> Moment:
    """One thing of those that are due, the earliest: the idle cart, or the end. Both lie at times that the events
    fixed, so that it does not matter how often ticks come."""
    if state.closed or not state.last_time:
        return Moment(due, state, due.time, "not_due")
    idle, end = idle_at(state, settings.triggers), expires_at(state, settings.worker)
    if idle is not None and idle <= due.time and (end is None or idle <= end):
        after = replace(state, said=replace(state.said, idle=idle))
        late = due.time >= idle + settings.triggers.horizon_ms  # it would have expired by now
        return Moment(due, after, idle, "late" if late else None)
    if end is not None and end <= due.time:
        return Moment(due, stub(state), end, "closed", ended=state)
    return Moment(due, state, due.time, "not_due")


def _noticed(noticed: Noticed, state: SessionState, settings: Settings) -> Moment:
    """Nothing but what is said of it changes. A session that has ended by then, or is not concerned, does not hear."""
    end = expires_at(state, settings.worker)
    live = not state.closed and state.last_time and (end is None or end > noticed.time)
    silent = None if live and concerns(noticed.change, state) else "not_due"
    return Moment(noticed, state, noticed.time, silent)
