"""What an event teaches: the items that its session had before it, and its own. What every worker learns from.

A function of the session's state and the event, so that a batch decided again teaches the same.
"""

from __future__ import annotations

from xxhash import xxh3_64_digest

from index.meetings import CONTEXT, lesson_context, visitor_tag
from streaming.intake import Event
from streaming.records import Transition
from streaming.sessions import KINDS, SessionState, continues, step_of, steps_of, user_of, visits

SEARCH = KINDS.index("search")


def session_tag(session: str) -> int:
    """64 bits, signed, that stand for a session where only equality is asked: xxh3_64 of its pseudonym."""
    return int.from_bytes(xxh3_64_digest(session.encode()), "big", signed=True)


def taught(event: Event, state: SessionState, most: int) -> Transition | None:
    """What the event teaches, given its session's state after it; None: nothing.

    Nothing is taught by a step too old for the history, by one that goes on with the visit of a page that has taught
    already (clicked, opened, left), and by a session of more than `most` events: a bot has no say in what goes with
    what. The first item of a session follows nothing; the same item again follows itself.
    """
    step = step_of(event)
    if step is None or event.kind == "search" or steps_of(state) > most:
        return None
    history, order = state.history, step.order
    place = len(history) - 1
    while place >= 0 and history[place].order > order:
        place -= 1
    if place < 0 or history[place] != step:  # too old to be let in
        return None
    if place + 1 < len(history) and continues(step, history[place + 1]):  # the other topic was faster: it has taught
        return None
    seen = visits(history[: place + 1])
    if seen[-1] != step:
        return None
    told = [each for each in seen if each.number != SEARCH]
    context = lesson_context([each.subject for each in told], [each.time for each in told], CONTEXT)
    return Transition(
        offset=step.offset,
        before=told[-2].subject if len(told) > 1 else "",
        after=step.subject,
        kind=step.kind,
        time=step.time,
        session=session_tag(event.session),
        visitor=visitor_tag(user_of(state) or event.session),
        context=context,
    )
