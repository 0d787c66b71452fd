"""`beforehand import`: a shop's files become a shop folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streaming.adapters import ADAPTERS
from streaming.checking import TableReport
from streaming.cleaning import Cleaning
from streaming.commands.options import Json, moment
from streaming.errors import InputError
from streaming.importing import ImportReport, import_shop
from streaming.splits import Cut

_SHOWN = 3
"""Rows of a rule that are shown to people."""
_KEEP, _DROP = "keep", "drop"
_USUAL = Cleaning()


def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="[SOURCE] OUT", help="The shop's folder, and the folder to write.")
    ],
    adapter: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help=f"Read other data: {', '.join(ADAPTERS)}.", show_default=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if a row is wrong.")] = False,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="[VALID,]TEST",
            help="Where the parts valid and test begin: times (2017-11-01, ms; UTC) or shares of the events (80%).",
            show_default=False,
        ),
    ] = None,
    unknown_items: Annotated[
        str, typer.Option(metavar=f"{_KEEP}|{_DROP}", help="What becomes of events whose item is not in items.")
    ] = _KEEP,
    bots_per_minute: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="A visitor who views, clicks and searches more often is set aside; 0: none is."
        ),
    ] = _USUAL.per_minute,
    bots_per_day: Annotated[int, typer.Option(min=0, metavar="N", help="The same in a day.")] = _USUAL.per_day,
    as_json: Json = False,
) -> None:
    """Check a shop's files and write them as a shop folder.

    SOURCE holds the tables events, items and facts as .parquet, .csv, .tsv or .jsonl (text also .gz) and shop.toml. A
    wrong row is told with its remedy, counted and set aside; so are duplicates and bots. With --from, SOURCE is where
    the adapter's data lie, or is left out where it finds them by itself.
    """
    if len(paths) > 2 or (len(paths) < 2 and adapter is None):
        raise InputError(f"{len(paths)} folders were named, expected SOURCE OUT (or OUT alone with --from)")
    if unknown_items not in (_KEEP, _DROP):
        raise InputError(f"--unknown-items {unknown_items!r}, expected {_KEEP} or {_DROP}")
    cleaning = Cleaning(bots_per_minute, bots_per_day, keep_unknown_items=unknown_items == _KEEP)
    source = paths[0] if len(paths) == 2 else None
    report = import_shop(source, paths[-1], adapter, strict, cleaning, cuts(split))
    if as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        _tell(report)


def cuts(text: str | None) -> list[Cut]:
    """What `--split` says.

    >>> cuts("80%,1509494400000"), cuts(None)
    ([Cut(time=None, share=0.8), Cut(time=1509494400000, share=None)], [])

    Raises:
        InputError: it is neither times nor shares, or not one or two, or they fall.
    """
    found = [_cut(part.strip()) for part in text.split(",")] if text is not None else []
    if len(found) > 2:
        raise InputError(f"--split {text!r} has {len(found)} places, expected one (test) or two (valid,test)")
    for kind in ("time", "share"):
        places = [getattr(cut, kind) for cut in found if getattr(cut, kind) is not None]
        if places != sorted(places):
            raise InputError(f"--split {text!r} goes backwards, expected valid before test; exchange them")
    return found


def _cut(text: str) -> Cut:
    if not text.endswith("%"):
        return Cut(time=moment(text, "--split"))
    try:
        share = float(text[:-1]) / 100
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise InputError(f"--split {text!r}, expected a share from 0% to 100%, or a time such as 2017-11-01")
    return Cut(share=share)


def _tell(report: ImportReport) -> None:
    console = Console(highlight=False)
    table = Table("table", "file", "rows read", "kept", "set aside", "because", box=None, pad_edge=False)
    for told in report.tables:
        because = ", ".join(f"{rule} {count:,}" for rule, count in told.bad.items()) or "-"
        table.add_row(told.table, told.file, f"{told.read:,}", f"{told.kept:,}", f"{told.read - told.kept:,}", because)
    console.print(table)
    for told in report.tables:
        _tell_rows(told, console)
    if report.splits:
        console.print("splits: " + ", ".join(f"{name} {count:,}" for name, count in report.splits.items()))
    console.print(f"{report.out} is written, in {report.seconds:.1f} s", markup=False, soft_wrap=True)


def _tell_rows(told: TableReport, console: Console) -> None:
    """The notes on a table, and of each rule its first rows and how many more there are."""
    for note in told.notes:
        console.print(f"{told.table}: {note}", markup=False, soft_wrap=True)
    rows = [*told.first_bad, *told.cleaned]
    for rule in dict.fromkeys(row.rule for row in rows):
        broken = [row for row in rows if row.rule == rule]
        for row in broken[:_SHOWN]:
            console.print(str(row), markup=False, soft_wrap=True)
        if more := told.bad[rule] - len(broken[:_SHOWN]):
            console.print(f"{told.table}: and {more:,} more of {rule}", markup=False, soft_wrap=True)
