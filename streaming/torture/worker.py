"""The worker under torture: the product's, whose clock and engine can be interfered with from outside.

    python -m streaming.torture.worker

Beside its data folder lies `ID.mischief`: what is wrong with it now. On events that are cursed its engine always fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache

from faust.cli.faust import cli

from streaming.app import WorkerApp, create_app
from streaming.decisions import Decision, Work
from streaming.engine import Engine
from streaming.intake import Event
from streaming.process import made
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.torture.mischief import LOOK_S, Mischief
from streaming.torture.traffic import CURSE, teach

FAUST = ["faust", "-A", "streaming.torture.worker", "-L", "uvloop", "worker", "--without-web", "-l", "info"]


class TroubledEngine(Engine):
    """An engine that fails where it is told to."""

    mischief: Mischief

    @classmethod
    def of(cls, engine: Engine, mischief: Mischief) -> TroubledEngine:
        """In place of this one, with all that it has."""
        troubled = cls.__new__(cls)
        troubled.__dict__.update(engine.__dict__)
        troubled.mischief = mischief
        return troubled

    def step(
        self, events: Sequence[Work], states: Mapping[str, SessionState], now: int | None = None
    ) -> tuple[dict[str, SessionState], list[Decision]]:
        """As `Engine.step`, if nothing is wrong.

        Raises:
            RuntimeError: it was told to fail, or one of the events is cursed.
        """
        while self.mischief.hangs:
            time.sleep(LOOK_S)
        if self.mischief.errors and len(events) > 1:
            raise RuntimeError(f"told to fail on {len(events)} events at once")
        if any(isinstance(event, Event) and (event.event_id or "").startswith(CURSE) for event in events):
            raise RuntimeError("a cursed event")
        return super().step(events, states, now)


@cache
def _app() -> WorkerApp:
    settings = Settings.from_environment()
    mischief = Mischief.of(settings)
    mischief.watch()
    app = made(lambda: create_app(settings))
    if settings.worker.latency_budget_ms:
        teach(app.shop)
    app.engine = app.batcher.engine = TroubledEngine.of(app.engine, mischief)
    return app


def __getattr__(name: str) -> WorkerApp:
    """`streaming.torture.worker.app`, made when Faust's command line asks for it."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.argv = FAUST
    cli()
