"""The reference: Faust as it is installed, with an agent that sends one raw record for each event that it reads.

    BEFOREHAND_BROKERS=... python -m faust -A streaming.bench.stock_faust -L uvloop worker --without-web

All settings are Faust's own defaults, but those that make the values raw bytes and leave the topics alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import faust

from streaming import cores
from streaming.settings import Settings

IN, OUT = "stock-in", "stock-out"
COMMAND = (
    *("-m", "faust", "-A", "streaming.bench.stock_faust"),
    *("-L", "uvloop", "worker", "--without-web", "-l", "warn"),
)
"""After the interpreter."""


@cache
def _app() -> Any:
    settings = Settings.from_environment()
    cores.keep_to(settings.worker.core)
    app = faust.App(
        f"{settings.topics.prefix}stock",
        broker=[f"kafka://{server}" for server in settings.brokers],
        datadir=str(settings.worker.data_dir),
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    source = app.topic(settings.topics.prefix + IN, key_type=bytes, value_type=bytes)
    sink = app.topic(settings.topics.prefix + OUT, key_type=bytes, value_type=bytes)

    async def forward(stream: Any) -> None:
        async for event in stream.events():
            await sink.send(key=event.key, value=event.value)

    app.agent(source, name="forward")(forward)
    return app


def __getattr__(name: str) -> Any:
    """`streaming.bench.stock_faust.app`, made when Faust's command line asks for it."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
