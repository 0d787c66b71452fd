"""`beforehand build`: from a shop folder to a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from streaming.building import BuildReport, build_model
from streaming.commands.options import Json, moment
from streaming.errors import InputError
from streaming.past import Note, past_of, table_settings
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder

_STAGES = {
    "reading": "reading texts",
    "masked": "masked words",
    "pairs": "learning pairs",
    "texts": "encoding texts",
    "words": "encoding texts",
    "counts": "counting pairs",
    "neighbours": "keeping sessions",
    "graph": "reading facts",
    "facts": "choosing graph vectors",
    "behaviour": "behaviour vectors",
    "index": "placing items",
    "network": "training a network",
    "intent": "heads of intent",
    "weights": "choosing weights",
    "writing": "writing",
}


class GraphChoice(StrEnum):
    """How facts become vectors."""

    AUTO = "auto"
    SVD = "svd"
    KGE = "kge"
    NONE = "none"


class RelationsChoice(StrEnum):
    """Which facts are looked at."""

    SAFE = "safe"
    ALL = "all"


def build(
    shop: Annotated[Path, typer.Argument(help="A shop folder, best one that `beforehand import` wrote.")],
    model: Annotated[Path, typer.Argument(help="The model folder to write.")],
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Look at events before it only: 2017-11-01, or ms. UTC.")
    ] = None,
    relations: Annotated[
        RelationsChoice,
        typer.Option(
            help="safe: without facts that a crawl took from visitors, which may know what came later "
            "(also_bought, also_viewed, bought_together); all: with them."
        ),
    ] = RelationsChoice.SAFE,
    graph: Annotated[
        GraphChoice,
        typer.Option(
            help="How facts become vectors: by singular values, by a knowledge graph embedding, or by whichever ranks"
            " better on the last part of the past, beside a shuffled control."
        ),
    ] = GraphChoice.AUTO,
    as_json: Json = False,
) -> None:
    """Build a model folder from a shop's past.

    Counts what goes with what, keeps the sessions whose visitors are neighbours, makes vectors of texts, facts and
    behaviour, and chooses on the last part of the past what each is to weigh and what a score is worth as a
    probability. Texts are encoded with the model that BEFOREHAND_ENCODER__MODEL names.
    """
    settings = Settings.from_environment()
    folder = ShopFolder(shop)
    say = Console(stderr=True, highlight=False)
    events, items, facts = read_tables(folder, say)
    with text_encoder(settings) as texts, stage_bars(say) as note:
        before = moment(until, "--until")
        past = past_of(events, items, facts, folder.info, texts, until=before, note=note)
        built = build_model(
            past,
            model,
            texts,
            settings=table_settings(folder.info, relations.value, graph.value),
            until=before,
            note=note,
            adapter=settings.encoder.adapter,
        )[1]
    if as_json:
        print(json.dumps(built.as_json()))
    else:
        tell_build(built)


def read_tables(folder: ShopFolder, say: Console) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Events, items and facts; how many rows were set aside is said.

    Raises:
        InputError: of a table all were, or it cannot be read.
    """
    tables = []
    for name in ("events", "items", "facts"):
        table, told = folder.table(name)
        tables.append(table)
        if told.read and not told.kept:
            worst = next(iter([*told.first_bad, *told.cleaned]))
            raise InputError(f"all {told.read:,} rows of {told.file} were set aside, the first of them: {worst}")
        if told.kept < told.read:
            aside = f"{told.read - told.kept:,} of {told.read:,} rows of {told.file} were set aside; see `import`"
            say.print(aside, markup=False, soft_wrap=True)
    events, items, facts = tables
    return events, items, facts


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


def tell_build(report: BuildReport) -> None:
    """What was built, for people."""
    console = Console(highlight=False)
    table = Table("stage", "s", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for stage, seconds in report.stages_s.items():
        table.add_row(_STAGES.get(stage, stage), f"{seconds:.1f}")
    console.print(table)
    measured = ", ".join(f"{_figure(value)} {name.replace('_', ' ')}" for name, value in report.metrics.items())
    console.print(f"{report.model} is written: {measured}; version {report.version}", markup=False, soft_wrap=True)


def _figure(value: float) -> str:
    """
    >>> _figure(12101), _figure(0.0612)
    ('12,101', '0.061')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
