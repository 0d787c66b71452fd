"""An event, or a due time, as it meets its session's state: what becomes of the state, before anything is said."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from streaming.intake import Event
from streaming.records import Transition
from streaming.sessions import (
    FRESH,
    SessionState,
    Step,
    advance,
    expires_at,
    idle_at,
    step_of,
    stub,
)
from streaming.settings import Settings


@dataclass(frozen=True, slots=True)
class Due:
    """A tick found that something of a session waits for time."""

    session: str
    """Pseudonym."""
    time: int
    """The tick's, in ms since the epoch."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event or due time and the state after it. `said` in that state is as it stood before the batch, but for the
    idle spell: what was said meanwhile is threaded through by the engine."""

    event: Event | Due
    state: SessionState
    time: int
    """The event's; of what was due, when it fell due, whenever the tick came."""
    silent: str | None = None
    """Why nothing can be said, where that is plain already."""
    kind: str | None = None
    """The event's; None of what was due."""
    first: bool = False
    """It is the session's first event."""
    ended: SessionState | None = None
    """The session that ended here, if one did."""
    taught: Transition | None = None


def meet(event: Event | Due, state: SessionState | None, settings: Settings) -> Moment:
    """What the event, or the tick, does to its session's state."""
    return _due(event, state or FRESH, settings) if isinstance(event, Due) else _event(event, state or FRESH, settings)


def _event(event: Event, state: SessionState, settings: Settings) -> Moment:
    """A replayed offset changes nothing. An event that comes when the session has been idle for too long ends it, as
    a tick would have, and begins the next."""
    if event.source.offset <= state.offsets[event.source.topic]:
        return Moment(event, state, event.time, "applied")
    ended = None
    end = expires_at(state, settings.worker)
    if state.last_time and end is not None and event.time > end:
        ended, state = state, stub(state)
    first = not state.last_time
    after = advance(state, event)
    silent = "repeat" if after.repeats > state.repeats else None
    taught = None if silent else _taught(after, step_of(event))
    return Moment(event, after, event.time, silent, event.kind, first and not silent, ended, taught)


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


def _taught(state: SessionState, step: Step | None) -> Transition | None:
    """The item before this one in the history, and this one. The first item of a session follows nothing; the same item
    twice in a row, and a step too old for the history, teach nothing."""
    if step is None or step.item_id is None or step not in state.history:
        return None
    older = state.history[: state.history.index(step)]
    before = next((other.subject for other in reversed(older) if other.item_id is not None), "")
    if before == step.subject:
        return None
    return Transition(offset=step.offset, before=before, after=step.subject, kind=step.kind)
