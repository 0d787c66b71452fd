"""`beforehand evaluate`: how good the ranking of a model is, by one protocol or several, beside its baselines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from encoders.sequence.settings import NETWORKS, Network
from encoders.sequence.training import device_of
from index.model import ModelFolder
from streaming import memory
from streaming.commands.options import Json
from streaming.errors import InputError
from streaming.evaluation.evaluation import Note
from streaming.evaluation.log import Log
from streaming.evaluation.page import page_of, picture_of
from streaming.evaluation.report import json_of
from streaming.evaluation.shelf import MINUTES, Shelf
from streaming.evaluation.trial import Networks, Plan, run
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder

PICTURES = (".svg", ".png")


class Protocol(StrEnum):
    """How the shop's past is cut."""

    LEAVE_ONE_OUT = "leave-one-out"
    TEMPORAL = "temporal"
    NEXT_ITEM = "next-item"


class Baselines(StrEnum):
    """Which baselines take part."""

    FAST = "fast"
    CACHED = "cached"
    ALL = "all"


_NETWORKS: dict[Baselines, Networks] = {Baselines.FAST: "none", Baselines.CACHED: "kept", Baselines.ALL: "all"}


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model folder that `beforehand build` wrote.")],
    shop: Annotated[Path, typer.Argument(help="The shop folder to measure on.")],
    protocol: Annotated[
        list[Protocol] | None,
        typer.Option(
            help="leave-one-out: each user's last item; temporal: every event of the newest tenth, learned once it has"
            " been asked about; next-item: every item of the test's sessions. Several give one report. Else temporal.",
            show_default=False,
        ),
    ] = None,
    as_built: Annotated[
        bool,
        typer.Option("--as-built", help="Take the folder's tables as they are, and refuse them if they saw a target."),
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Once more with one item in twenty hidden from training. Leave-one-out only.")
    ] = False,
    variants: Annotated[
        bool,
        typer.Option(
            "--ablations/--no-ablations",
            "--variants/--no-variants",
            help="The product less each of its channels, with shuffled facts, and frozen where it learns, too.",
        ),
    ] = True,
    networks: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="The product with these session networks in place of its model's, too, each trained on the protocol's"
            " own part: of gru, bert, text, with commas between.",
        ),
    ] = "",
    baselines: Annotated[
        Baselines,
        typer.Option(
            help="fast: counts, neighbours, popularity and text. cached: the networks too that were trained on these"
            " events before. all: SASRec, GRU4Rec and LightGCN, trained where they are not cached."
        ),
    ] = Baselines.CACHED,
    minutes: Annotated[float, typer.Option(min=0.01, help="CPU time that one network may train for.")] = MINUTES,
    seed: Annotated[int, typer.Option(min=0, help="Of the networks' training.")] = 0,
    repeats: Annotated[
        bool | None,
        typer.Option(
            "--repeats/--no-repeats",
            help="May an item of the history be the answer; else as shop.toml says. Never in leave-one-out.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Write one picture, .svg or .png: the product beside its baselines, by the first protocol.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the ranking of a model's settings on a shop's past, beside baselines.

    Everything is learned anew from what the protocol lets be known, with the settings of the model folder. Exit code 2
    where something had learned what it is asked for.
    """
    if plot is not None and plot.suffix not in PICTURES:
        raise InputError(f"--plot {plot}, expected a name that ends in {' or '.join(PICTURES)}")
    encoders = _named(networks)
    folder = ShopFolder(shop)
    events, items, facts = (folder.table(name)[0] for name in ("events", "items", "facts"))
    log = Log.of(events, items, facts, folder.info)
    memory.keep_what_is_freed()
    settings = Settings.from_environment()
    plans = [
        Plan(
            each.value,
            repeats=repeats,
            cold=cold,
            variants=variants,
            as_built=as_built,
            recalibrate=settings.worker.recalibrate,
            networks=_NETWORKS[baselines],
            encoders=encoders,
            device=device_of("auto"),
        )
        for each in dict.fromkeys(protocol or [Protocol.TEMPORAL])
    ]
    shelf = Shelf(settings.evaluation.cache_dir or settings.worker.data_dir / "baselines", minutes, seed)
    with text_encoder(settings) as texts, _bars(Console(stderr=True)) as note:
        loaded = ModelFolder.load(model)
        reports = [run(plan, loaded, model, log, texts, shelf, note) for plan in plans]
    if html is not None:
        html.write_text(page_of(reports).html(), encoding="utf-8")
    if plot is not None:
        plot.write_bytes(picture_of(reports[0], plot.suffix.removeprefix(".")))
    if as_json:
        print(json.dumps(json_of(reports), ensure_ascii=False))
    else:
        for report in reports:
            report.show(Console())


def _named(networks: str) -> list[Network]:
    """Names of session networks, each once.

    >>> _named("bert, gru,bert")
    ['bert', 'gru']
    """
    names = list(dict.fromkeys(filter(None, (name.strip() for name in networks.split(",")))))
    if wrong := [name for name in names if name not in NETWORKS]:
        raise InputError(f"--networks {wrong[0]!r}, expected some of {', '.join(NETWORKS)}, with commas between")
    return [cast(Network, name) for name in names]


@contextmanager
def _bars(console: Console) -> Iterator[Note]:
    """A bar for each ranker where `console` is a terminal; elsewhere nothing."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def note(name: str, done: int, total: int) -> None:
            if name not in tasks or done == 0:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield note
