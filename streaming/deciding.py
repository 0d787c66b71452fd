"""A batch through the engine, so that one event that it fails on takes no other with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from streaming.decisions import Decision, Work
from streaming.engine import Engine
from streaming.sessions import SessionState

logger = logging.getLogger(__name__)

STEP_EVENTS = 32
"""Events of one step: a bound on how long what else asks for the model's thread waits, such as a new item."""
CROWDED = 4
"""So many times the events of a batch, and of a step, where popularity alone has its say: there an event costs the
engine a quarter, so that a step is no longer, and rounds are what counts."""


@dataclass(slots=True)
class Made:
    """What came of a batch."""

    changed: dict[str, SessionState] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    failed: list[tuple[Work, Exception]] = field(default_factory=list)
    """What the engine failed on, alone, and how."""
    errors: list[Exception] = field(default_factory=list)
    """How it failed, each time: on several at once, too."""

    def add(self, later: Made) -> None:
        """What came of the events after."""
        self.changed |= later.changed
        self.decisions += later.decisions
        self.failed += later.failed
        self.errors += later.errors


async def decide_in_steps(
    model: Executor, engine: Engine, work: Sequence[Work], states: dict[str, SessionState], now: int
) -> Made:
    """`decide` step by step, the model's thread free between them; a batch equals its events one by one."""
    made, loop = Made(), asyncio.get_running_loop()
    size = STEP_EVENTS * (CROWDED if engine.level == "popular" else 1)
    for start in range(0, len(work), size):
        step = work[start : start + size]
        made.add(await loop.run_in_executor(model, decide, engine, step, states | made.changed, now))
    return made


def decide(engine: Engine, work: Sequence[Work], states: Mapping[str, SessionState], now: int) -> Made:
    """One step of the engine; where it fails, in halves, then one by one."""
    made = Made()
    current = dict(states)
    pieces = [work] if work else []
    while pieces:
        piece = pieces.pop(0)
        try:
            changed, decisions = engine.step(piece, current, now)
        except Exception as exc:
            made.errors.append(exc)
            if len(piece) > 1:
                pieces[:0] = halves(piece)
            else:
                logger.exception("the engine failed on %r", piece[0])
                made.failed.append((piece[0], exc))
            continue
        current |= changed
        made.changed |= changed
        made.decisions += decisions
    return made


def halves(work: Sequence[Work]) -> list[Sequence[Work]]:
    """Two pieces of about the same length, in order."""
    middle = len(work) // 2
    return [work[:middle], work[middle:]]
