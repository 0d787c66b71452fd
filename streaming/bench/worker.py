"""The worker that is measured: the product's, with clocks on its stages and nothing held back.

    python -m faust -A streaming.bench.worker -L uvloop worker --without-web

Its settings come from the environment, as every worker's do.
"""

from __future__ import annotations

from functools import cache

from streaming.app import WorkerApp, create_app
from streaming.bench.costs import StageCosts
from streaming.process import made
from streaming.settings import Settings

COMMAND = (
    *("-X", "faulthandler", "-m", "faust", "-A", "streaming.bench.worker"),
    *("-L", "uvloop", "worker", "--without-web", "-l", "info"),
)
"""After the interpreter."""


@cache
def _app() -> WorkerApp:
    costs = StageCosts()
    app = made(lambda: create_app(Settings.from_environment(), costs))
    app.engine.mark = costs.mark
    app.engine.forgets = True
    return app


def __getattr__(name: str) -> WorkerApp:
    """`streaming.bench.worker.app`, made when Faust's command line asks for it."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
