"""`beforehand topics`: the topics that the product needs."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Table

from streaming.admin import Report, create_topics
from streaming.commands.options import Brokers, Json, settings_for

app = typer.Typer(help="Make and compare the topics that the product needs.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """With one command alone, Typer would leave its name out: `beforehand topics` would be `create`."""


@app.command()
def create(brokers: Brokers = None, as_json: Json = False) -> None:
    """Make the topics that are missing, and show how those that are there differ.

    Partitions, replication and prefix come from BEFOREHAND_TOPICS__... Nothing that exists is changed.
    """
    report = create_topics(settings_for(brokers))
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        _show(report)


def _show(report: Report) -> None:
    table = Table(box=None, pad_edge=False)
    for title, side in (("topic", "left"), ("partitions", "right"), ("copies", "right"), ("", "left")):
        table.add_column(title, justify=side, overflow="fold")  # type: ignore[arg-type]
    for topic in report.topics:
        said = "; ".join((topic.action, *topic.differences))
        table.add_row(topic.name, str(topic.partitions), str(topic.replication), said)
    Console(highlight=False).print(table)
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
