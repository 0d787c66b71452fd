"""`beforehand backtest`: what the engine would have said, and how often it was right."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from index.lesson import LEARNING_KINDS
from index.model import ModelFolder
from streaming import codec, topics
from streaming.backtest import Backtest
from streaming.backtest_page import page_of
from streaming.backtest_quality import DEPTH, Popularity, Quality
from streaming.backtest_report import Report, Run
from streaming.commands.options import Json, moment
from streaming.decisions import Decision
from streaming.engine import Engine
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.publisher import facts_of
from streaming.replay import EventLog
from streaming.settings import Settings
from streaming.shop import ShopFolder, ShopInfo
from streaming.text_encoder import TextEncoders

_NOTE = 200
_AT_ONCE = 1000


def backtest(
    shop: Annotated[Path, typer.Argument(help="A shop folder: its events are the log.")],
    model: Annotated[Path, typer.Argument(help="A model folder that `beforehand build` wrote.")],
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Begin there: 2017-11-01, or ms. UTC. Else where the model's past ends."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="End before it.", show_default=False)] = None,
    limit: Annotated[int | None, typer.Option("--events", min=1, help="At most so many.", show_default=False)] = None,
    partitions: Annotated[int, typer.Option(min=1, help="Of the topics that a worker would read.")] = 1,
    frozen: Annotated[bool, typer.Option("--frozen", help="Learn nothing from the log.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write what was said there, and the figures.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as a page.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the engine over a shop's log without a broker, and measure what it says.

    Every event goes the way that it goes in a worker, one after the other; time passes by the events' own times.
    Visitors are called by the pseudonyms of BEFOREHAND_SECRET, so that ids equal a worker's; without a secret by their
    own ids. The same log gives the same bytes in FOLDER, but for timings.json.
    """
    say = Console(stderr=True, highlight=False, soft_wrap=True)
    folder, known = ShopFolder(shop), ModelFolder.load(model)
    log, past, set_aside = _log(folder, known, moment(since, "--from"), moment(until, "--until"), limit, say)
    settings = _settings(folder.info)
    pseudonyms = Pseudonyms.from_settings(settings)
    with ExitStack() as open_things:
        texts = open_things.enter_context(TextEncoders(settings).of(known.manifest.text, known.adapter))
        goods = Shop.open(model, texts)
        _fill(goods, folder, say)
        engine = Engine(settings, goods, goods.encoder, pseudonyms)
        engine.ranked = DEPTH
        source = EventLog(folder.path.name, log, lambda exc: say.print(f"refused: {exc}", markup=False))
        run = Backtest(engine, source, pseudonyms, partitions=partitions, learn=not frozen)
        quality = Quality(Popularity(past, learn=not frozen), repeats=engine.ranking.repeat)
        written = open_things.enter_context(_written(out)) if out is not None else None
        for decision in _shown(run.decisions(), log.height, say):
            quality.hear(decision)
            if written is not None:
                written(decision)
        quality.finish()
    what = Run(
        shop=folder.info.name,
        model=goods.model,
        learn=not frozen,
        partitions=partitions,
        items=len(goods.items),
        set_aside=set_aside + source.refused,
        seen_by_model=_seen(log, known),
    )
    report = Report(what, quality, run.costs, run.dead_letters)
    if out is not None:
        _write_json(out / "quality.json", report.quality_json())
        _write_json(out / "timings.json", report.timings_json())
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page_of(report), encoding="utf-8")
    if as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        report.show(Console())


# ------------------------------------------------------------------------------------------------------- what it needs
def _log(
    folder: ShopFolder, model: ModelFolder, since: int | None, until: int | None, limit: int | None, say: Console
) -> tuple[pl.DataFrame, list[str], int]:
    """The events to go through, the items that the events before them were on, and how many rows were set aside."""
    events, told = folder.table("events")
    if told.kept < told.read:
        say.print(f"{told.read - told.kept:,} of {told.read:,} events were set aside; see `beforehand import`")
    end = model.manifest.settings.get("until")
    since = since if since is not None else end
    log = events
    if since is not None:
        log = log.filter(pl.col("time") >= since)
    if until is not None:
        log = log.filter(pl.col("time") < until)
    if limit is not None:
        log = log.head(limit)
    if log.is_empty():
        raise InputError(
            f"{folder.path}: none of its {events.height:,} events lies in the time asked for, expected some; "
            "give another --from or --until"
        )
    teaching = events.filter(pl.col("kind").is_in(sorted(LEARNING_KINDS)), pl.col("item_id").is_not_null())
    if end is not None:  # else the model may have seen everything: so may popularity
        teaching = teaching.filter(pl.col("time") < min(end, log["time"][0]))
    return log, teaching["item_id"].to_list(), told.read - told.kept


def _seen(log: pl.DataFrame, model: ModelFolder) -> int:
    """Events of the log that the model was built on; one built without --until saw them all."""
    end = model.manifest.settings.get("until")
    return log.height if end is None else log.filter(pl.col("time") < end).height


def _settings(info: ShopInfo) -> Settings:
    """The environment's, with what the shop says of itself where the environment says nothing."""
    settings = Settings.from_environment()
    if settings.secret is None:
        settings = settings.model_copy(update={"no_pseudonyms": True})
    return settings.with_shop(info.model_dump())


def _fill(goods: Shop, folder: ShopFolder, say: Console) -> None:
    """All items and facts, as a worker has them when it begins."""
    items = list(items_of(folder.table("items")[0]))
    bar = Progress(TextColumn("items"), BarColumn(), MofNCompleteColumn(), console=say, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("items", total=len(items))
        for start in range(0, len(items), _AT_ONCE):
            goods.upsert(items[start : start + _AT_ONCE])
            bar.update(task, completed=min(start + _AT_ONCE, len(items)))
    for facts in facts_of(folder.table("facts")[0]):
        goods.upsert_facts(facts)


# --------------------------------------------------------------------------------------------------------- what it says
@contextmanager
def _written(out: Path) -> Iterator[Callable[[Decision], None]]:
    """Takes what the engine says: one record a line, a file a topic."""
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        predictions, suppressed, closed = (
            files.enter_context((out / f"{topic.name}.jsonl").open("w", encoding="utf-8"))
            for topic in (topics.PREDICTIONS, topics.SUPPRESSED, topics.SESSIONS)
        )

        def write(decision: Decision) -> None:
            for file, record in (
                (closed, decision.closed),
                (predictions, decision.prediction),
                (suppressed, decision.suppressed),
            ):
                if record is not None:
                    file.write(json.dumps(codec.plain(record), ensure_ascii=False) + "\n")

        yield write


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _shown(decisions: Iterator[Decision], total: int, say: Console) -> Iterator[Decision]:
    """A bar on standard error where that is a terminal."""
    columns = [TextColumn("backtest"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=say, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("backtest", total=total)
        for number, decision in enumerate(decisions):
            if number % _NOTE == 0:
                bar.update(task, completed=min(number, total))
            yield decision
        bar.update(task, completed=total)
