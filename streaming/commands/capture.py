"""`beforehand capture`: topics into a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streaming.capture import CaptureWriter, captured
from streaming.commands.options import Brokers, Json, settings_for
from streaming.tail import tail


def capture(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...", help="Without prefix.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="A new file; gzipped where it ends in .gz.", show_default=False),
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    brokers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Write topics to a file that `replay` reads.

    Keys, values, headers, times and partitions are kept as they are. Input topics hold what the shop sent, with its
    own ids of people: keep the file as you would keep those.
    """
    settings = settings_for(brokers)
    prefix = settings.topics.prefix
    with CaptureWriter(out) as file:
        try:
            for record in tail(settings, [prefix + name.removeprefix(prefix) for name in topics], follow=follow):
                file.write(captured(record, prefix))
                if follow:
                    file.flush()
        except KeyboardInterrupt:
            if not follow:
                raise
            Console(stderr=True).print("stopped")
        except BaseException:
            if not file.records:
                out.unlink()  # nothing was captured: leave no file in the way of the next try
            raise
    report = {"out": str(out), "topics": topics, "records": file.records, "bytes": file.bytes}
    if as_json:
        print(json.dumps(report))
    else:
        print(f"{file.records:,} records, {file.bytes:,} bytes of keys and values, in {out}")
