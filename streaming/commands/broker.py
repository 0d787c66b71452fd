"""`beforehand broker`: the local broker, until it is told to stop."""

from __future__ import annotations

import json
import signal
import threading
from typing import Annotated

import typer

from streaming.broker import LocalBroker


def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as one JSON object.")] = False,
) -> None:
    """Start a local broker in memory, print its address, and run until Ctrl-C.

    For a try on one machine: nothing of it survives its end. Needs the extra `demo`.
    """
    asked_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())
    with LocalBroker(port) as running:
        if as_json:
            print(json.dumps({"brokers": running.address, "pid": running.pid}), flush=True)
        else:
            print(running.address, flush=True)
            typer.echo(
                "the local broker runs, in memory; Ctrl-C stops it. In another terminal:\n"
                f"export BEFOREHAND_BROKERS={running.address}",
                err=True,
            )
        while not asked_to_stop.wait(0.5):
            running.check()
