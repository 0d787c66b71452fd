"""`beforehand demo`: the whole path on real purchases, on one machine."""

from __future__ import annotations

import json
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streaming.commands.options import Brokers, Json
from streaming.commands.shop import stage_bars
from streaming.demo import Demo, DemoOptions


def demo(
    events: Annotated[int, typer.Option(min=10, metavar="N", help="Events to replay.")] = 3000,
    speed: Annotated[float, typer.Option(min=1, metavar="RATE", help="Events a second.")] = 300,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep shop, model and logs there; else they are gone at the end.", show_default=False
        ),
    ] = None,
    brokers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Watch predictions on real purchases, live, on a broker of its own.

    Needs the extra `demo`: a broker, a BERT and a year of purchases come with it. The predictions are held against
    what the baskets held later, and against popularity. Ends with 0 if every event was decided and ours is better.
    """
    signal.signal(signal.SIGTERM, _stop)
    console = Console(stderr=as_json, highlight=False)
    with ExitStack() as open_things:
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            folder = keep
        else:
            folder = Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="beforehand-demo-")))
        with stage_bars(console) as note:
            report = Demo(DemoOptions(events, speed, brokers, folder), console, note).run()
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        report.show(console)
    for trouble in report.troubles:
        Console(stderr=True, highlight=False).print(f"failed: {trouble}", markup=False)
    if report.troubles:
        raise typer.Exit(1)


def _stop(*_: object) -> None:
    """SIGTERM ends it as Ctrl-C does: worker and broker first."""
    raise KeyboardInterrupt
