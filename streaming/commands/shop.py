"""`beforehand import` and `beforehand build`: from a shop's files to a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from streaming.adapters import ADAPTERS
from streaming.building import BuildReport, Note, build_model
from streaming.commands.options import Json, moment
from streaming.errors import InputError
from streaming.importing import ImportReport, import_shop
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder

_SHOWN = 10
_STAGES = {
    "counts": "counting pairs",
    "texts": "encoding texts",
    "words": "encoding texts",
    "whitening": "whitening",
    "writing": "writing",
}


def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="[SOURCE] OUT", help="The shop's folder, and the folder to write.")
    ],
    adapter: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help=f"Read other data: {', '.join(ADAPTERS)}.", show_default=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first wrong row and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Check a shop's files and write them as a shop folder.

    SOURCE holds the tables events, items and facts as .parquet, .csv, .tsv or .jsonl (text also .gz) and shop.toml. A
    wrong row is told with its remedy, counted and set aside. With --from, SOURCE is where the
    adapter's data lie, or is left out where it finds them by itself.
    """
    if len(paths) > 2 or (len(paths) < 2 and adapter is None):
        raise InputError(f"{len(paths)} folders were named, expected SOURCE OUT (or OUT alone with --from)")
    report = import_shop(paths[0] if len(paths) == 2 else None, paths[-1], adapter, strict)
    if as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        _tell_import(report)


def build(
    shop: Annotated[Path, typer.Argument(help="A shop folder, best one that `beforehand import` wrote.")],
    model: Annotated[Path, typer.Argument(help="The model folder to write.")],
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Look at events before it only: 2017-11-01, or ms. UTC.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a model folder from a shop's past, without training.

    Counts what goes with what and what is popular, and fits the whitening of the texts. The texts of the most popular
    items are encoded with the model that BEFOREHAND_ENCODER__MODEL names.
    """
    settings = Settings.from_environment()
    folder = ShopFolder(shop)
    say = Console(stderr=True, highlight=False)
    events, events_told = folder.table("events")
    items, items_told = folder.table("items")
    for told in (events_told, items_told):
        if told.kept < told.read:
            say.print(f"{told.read - told.kept:,} of {told.read:,} rows of {told.file} were set aside; see `import`")
    with text_encoder(settings) as texts, stage_bars(say) as note:
        built = build_model(events, items, folder.info, model, texts, until=moment(until, "--until"), note=note)[1]
    if as_json:
        print(json.dumps(built.as_json()))
    else:
        _tell_build(built)


@contextmanager
def stage_bars(console: Console) -> Iterator[Note]:
    """A bar for the stage that runs, gone when it is done, where `console` is a terminal; elsewhere nothing."""
    columns = (TextColumn("{task.description:<15}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}

    def note(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(_STAGES.get(stage, stage), total=total)
            bars.start()
        bars.update(tasks[stage], completed=done, total=total)
        if done >= total:
            bars.stop()
            bars.remove_task(tasks.pop(stage))

    try:
        yield note
    finally:
        bars.stop()


def _tell_import(report: ImportReport) -> None:
    console = Console(highlight=False)
    table = Table("table", "file", "rows read", "kept", "set aside", "because", box=None, pad_edge=False)
    for told in report.tables:
        because = ", ".join(f"{rule} {count:,}" for rule, count in told.bad.items()) or "-"
        aside = f"{told.read - told.kept:,}"
        table.add_row(told.table, told.file, f"{told.read:,}", f"{told.kept:,}", aside, because)
    console.print(table)
    for told in report.tables:
        for note in told.notes:
            console.print(f"{told.file}: {note}", markup=False)
        for row in told.first_bad[:_SHOWN]:
            console.print(str(row), markup=False)
        hidden = sum(told.bad.values()) - told.bad.get("repeated", 0) - len(told.first_bad[:_SHOWN])
        if hidden > 0:
            console.print(f"{told.file}: and {hidden:,} more; --json tells the first {len(told.first_bad)}")
    console.print(f"{report.out} is written, in {report.seconds:.1f} s", markup=False)


def _tell_build(report: BuildReport) -> None:
    console = Console(highlight=False)
    table = Table("stage", "s", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for stage, seconds in report.stages_s.items():
        table.add_row(_STAGES.get(stage, stage), f"{seconds:.1f}")
    console.print(table)
    measured = ", ".join(f"{value:,.0f} {name.replace('_', ' ')}" for name, value in report.metrics.items())
    console.print(f"{report.model} is written: {measured}; version {report.version}", markup=False)
