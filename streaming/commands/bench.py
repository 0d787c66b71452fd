"""`beforehand bench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streaming.bench.arrivals import Burst
from streaming.bench.run import Bench, BenchOptions
from streaming.commands.options import Brokers, Json
from streaming.errors import InputError

WIDTH = 110
"""Columns of the table where it is not shown on a terminal."""
_UNITS = {"k": 1000, "m": 1_000_000}


def bench(
    shop: Annotated[
        list[Path] | None, typer.Argument(metavar="SHOP MODEL", help="A shop folder and its model; none: made up.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events a second.")] = 200.0,
    seconds: Annotated[float, typer.Option(help="How long.")] = 30.0,
    items: Annotated[
        str, typer.Option(help="Items of the made-up catalogue, such as 100k; several by commas, for growth.")
    ] = "10k",
    visitors: Annotated[str, typer.Option(help="Visitors of the made-up load.")] = "20k",
    burst: Annotated[
        str | None,
        typer.Option(metavar="FACTOR:BEGIN:SECONDS", help="So much oftener for a while.", show_default=False),
    ] = None,
    warm_up: Annotated[float, typer.Option(help="Seconds of each load that are not timed.")] = 5.0,
    encode: Annotated[
        bool, typer.Option("--encode", help="Every event is a search in new words: the text encoder works at each.")
    ] = False,
    throttle: Annotated[
        bool,
        typer.Option(
            "--throttle", help="Predictions are held back by BEFOREHAND_RULES__..., as in a shop. Else none is."
        ),
    ] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Find the highest rate held with p99 of 50 ms.")] = False,
    sweep_seconds: Annotated[float, typer.Option(help="Of each rate of the sweep.")] = 15.0,
    peak: Annotated[
        int, typer.Option(min=0, help="Events sent at once for the most that is worked off; 0: none.")
    ] = 5000,
    workers: Annotated[
        int, typer.Option(min=1, max=8, help="More than one: what so many get done of the same backlog, over one.")
    ] = 1,
    references: Annotated[
        bool, typer.Option("--references/--no-references", help="Stock Faust and aiokafka alone, too.")
    ] = True,
    gpu: Annotated[bool, typer.Option("--gpu", help="What a GPU does, where there is one.")] = False,
    brokers: Brokers = None,
    nodes: Annotated[int, typer.Option(min=1, max=5, help="Of Apache Kafka, where no --brokers are given.")] = 1,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic.")] = 2,
    seed: Annotated[int, typer.Option(help="Of arrivals, visitors and items.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where made-up shops are kept.")] = Path("beforehand-bench"),
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Latency against rate, as PNG.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure latency, CPU and memory under a load that waits for nobody.

    Without --brokers it starts Apache Kafka where BEFOREHAND_KAFKA_HOME names one, else the local broker. Every event
    is ranked and answered, unless --throttle holds back. Exit code 1 where an event has no answer, or was not decided
    on.
    """
    if shop is not None and len(shop) != 2:
        raise InputError(
            f"{len(shop)} folders, expected a shop folder and the model folder that was built of it, or none"
        )
    options = BenchOptions(
        rate=rate,
        seconds=seconds,
        items=tuple(_count(part, "--items") for part in items.split(",")),
        visitors=_count(visitors, "--visitors"),
        shop=(shop[0], shop[1]) if shop is not None else None,
        burst=Burst.parse(burst) if burst is not None else None,
        warm_s=warm_up,
        encode=encode,
        throttle=throttle,
        sweep=sweep,
        sweep_s=sweep_seconds,
        peak=peak,
        workers=workers,
        references=references,
        gpu=gpu,
        brokers=brokers,
        nodes=nodes,
        partitions=partitions,
        seed=seed,
        folder=folder,
    )
    console = Console(stderr=True)
    report = Bench(options, lambda text: console.print(text, style="dim", highlight=False)).run()
    if plot is not None:
        plot.write_bytes(report.plot())
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        report.show(Console() if sys.stdout.isatty() else Console(width=WIDTH))
    if report.faults():
        raise typer.Exit(1)


def _count(text: str, option: str) -> int:
    """A count as people write it.

    >>> _count("100k", "--items"), _count("1M", "--items")
    (100000, 1000000)

    Raises:
        InputError: it is none.
    """
    word = text.strip().lower()
    number, unit = (word[:-1], _UNITS[word[-1]]) if word[-1:] in _UNITS else (word, 1)
    if not number.isdigit() or not int(number):
        raise InputError(f"{option} {text!r}, expected a count such as 5000, 100k or 1M")
    return int(number) * unit
