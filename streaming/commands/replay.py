"""`beforehand replay`: the past, as if it happened now."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streaming import replay as replaying
from streaming.commands.options import Brokers, Json, moment, settings_for
from streaming.commands.text import moment as shown
from streaming.delivery import Delivery
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.pace import Pace
from streaming.position import PositionFile
from streaming.publisher import Publisher
from streaming.replay import CaptureLog, EventLog, Log, Replay
from streaming.settings import Settings
from streaming.shop import ShopFolder

_SHOWN = 5


def replay(
    log: Annotated[Path, typer.Argument(help="A shop folder, or a file of `beforehand capture`.", show_default=False)],
    speed: Annotated[
        str,
        typer.Option(metavar="FACTOR|N/s|max", help="Times faster than it happened, or N events a second, or at once."),
    ] = "1",
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Begin there: 2017-11-01T00:00, or ms. UTC.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many records.", show_default=False)] = None,
    catalogue: Annotated[bool, typer.Option("--catalogue", help="First put the shop's items on `catalogue`.")] = False,
    ticks: Annotated[bool, typer.Option(help="Make time pass by the events' own times.")] = True,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the position there, and go on from it.", show_default=False),
    ] = None,
    brokers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Put a shop folder or a captured file on the topics, in time.

    Events come by the clock, whether a worker keeps up or not. For events of the past start the workers with
    BEFOREHAND_WORKER__CLOCK=record, so that time is that of the events. At `max`, ticks may be read before events that
    were put earlier: for true timing give a factor or a rate.
    """
    pace = Pace.parse(speed)
    settings = settings_for(brokers)
    say = Console(stderr=True, highlight=False, soft_wrap=True)
    items, source, set_aside = _opened(log, moment(since, "--from"), limit, catalogue, say)
    if items is not None:
        _put_items(items, settings, say)
    position = None
    if resume is not None:
        what: dict[str, object] = {
            "log": str(log.resolve()),
            "from": since,
            "limit": limit,
            "records": len(source),
        }
        position = PositionFile(resume, what | {"prefix": settings.topics.prefix})
    began = time.monotonic()
    delivery = Delivery(settings)
    try:
        with _shown(say) as note:
            done = Replay(source, delivery, settings.topics, pace, position=position, ticks=ticks).run(note)
    except KeyboardInterrupt:
        if resume is not None:
            say.print(f"stopped; the same command goes on where delivery was confirmed ({resume})")
        raise
    finally:
        delivery.close(timeout_s=0)
    seconds = time.monotonic() - began
    refused = source.refused if isinstance(source, EventLog) else 0
    report = {
        "log": source.name,
        "records": done.sent - refused,
        "set_aside": set_aside,
        "refused": refused,
        "skipped": done.skipped,
        "ticks": done.ticks,
        "items": 0 if items is None else items.height,
        "seconds": round(seconds, 3),
        "records_per_s": round(done.sent / seconds, 1) if seconds else None,
        "behind_ms_max": round(done.behind_s_max * 1000, 1),
        "last_time": done.at,
    }
    if as_json:
        print(json.dumps(report))
    elif done.skipped == done.total > 0:
        print(f"nothing left: all {done.total:,} records were replayed before; remove {resume} to begin anew")
    else:
        print(
            f"{report['records']:,} records of {source.name} in {seconds:.1f} s ({report['records_per_s']:,}/s),"
            f" at most {report['behind_ms_max']:,} ms behind; time passed by {done.ticks:,} ticks"
            + (f"; {refused:,} refused" if refused else "")
        )


def _opened(
    path: Path, since: int | None, limit: int | None, catalogue: bool, say: Console
) -> tuple[pl.DataFrame | None, Log, int]:
    if path.is_file():
        if catalogue:
            raise InputError(f"--catalogue with the captured file {path}, expected a shop folder; leave it out")
        return None, CaptureLog(path, since=since, limit=limit), 0
    if not path.exists():
        raise InputError(f"{path} is not there, expected a shop folder or a file of `beforehand capture`")
    shop = ShopFolder(path)
    events, report = shop.table("events")
    for row in report.first_bad[:_SHOWN]:
        say.print(f"set aside: {row}", markup=False)
    if report.kept < report.read:
        say.print(f"{report.read - report.kept:,} of {report.read:,} events were set aside")
    if since is not None:
        events = events.filter(pl.col("time") >= since)
    if limit is not None:
        events = events.head(limit)
    items = shop.table("items")[0] if catalogue else None
    source = EventLog(path.name, events, lambda exc: say.print(f"refused: {exc}", markup=False))
    return items, source, report.read - report.kept


def _put_items(items: pl.DataFrame, settings: Settings, say: Console) -> None:
    with Publisher(settings) as shop:
        for item in items_of(items):
            shop.put_item(item)
        shop.flush(timeout_s=120)
    say.print(f"{items.height:,} items are on {settings.topics.prefix}catalogue")


@contextmanager
def _shown(say: Console) -> Iterator[Callable[[replaying.Progress], None]]:
    """A bar on standard error where that is a terminal; elsewhere nothing moves."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    bar = Progress(*columns, TextColumn("{task.fields[detail]}"), console=say, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("replay", total=None, detail="")

        def note(now: replaying.Progress) -> None:
            behind = f", {now.behind_s:.1f} s behind" if now.behind_s >= 0.1 else ""
            bar.update(task, total=now.total, completed=now.skipped + now.sent, detail=shown(now.at) + behind)

        yield note
