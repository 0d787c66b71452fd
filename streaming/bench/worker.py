"""The worker that is measured: the product's, with clocks on its stages, and nothing held back unless it is asked for.

    python -m faust -A streaming.bench.worker -L uvloop worker --without-web

Its settings come from the environment, as every worker's do.
"""

from __future__ import annotations

from functools import cache

from streaming.app import WorkerApp, create_app
from streaming.bench.costs import StageCosts
from streaming.process import made
from streaming.settings import RuleSettings, Settings

NO_THROTTLE = RuleSettings(quiet_ms=0, trigger_cooldown_ms=0, item_cooldown_ms=0, min_gain=0, daily_cap=1_000_000)
"""With these, and nothing remembered of what was said, each event that tells what a visitor is after is answered."""
COMMAND = (
    *("-X", "faulthandler", "-m", "faust", "-A", "streaming.bench.worker"),
    *("-L", "uvloop", "worker", "--without-web", "-l", "info"),
)
"""After the interpreter."""


@cache
def _app() -> WorkerApp:
    costs, settings = StageCosts(), Settings.from_environment()
    app = made(lambda: create_app(settings, costs))
    app.engine.mark = costs.mark
    app.engine.forgets = settings.rules == NO_THROTTLE
    return app


def __getattr__(name: str) -> WorkerApp:
    """`streaming.bench.worker.app`, made when Faust's command line asks for it."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
