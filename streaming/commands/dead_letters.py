"""`beforehand dead-letters`: what could not be read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console

from streaming.commands.options import Brokers, Json, settings_for
from streaming.commands.text import moment
from streaming.dead_letters import Letter, put_back, read_letters
from streaming.delivery import Delivery
from streaming.errors import InputError
from streaming.settings import Settings

app = typer.Typer(help="List what could not be read, and send it again.", no_args_is_help=True)

Error = Annotated[str | None, typer.Option(metavar="CODE", help="Only those of this error.", show_default=False)]
Only = Annotated[
    str | None,
    typer.Option(metavar="PARTITION:OFFSET", help="Only the one that stands there.", show_default=False),
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default=False)]


@app.command("list")
def list_letters(
    error: Error = None,
    only: Only = None,
    limit: Limit = None,
    brokers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Show each dead letter: where it stands, why, what it was. With --json one object a line.

    Letters are kept for 7 days. Their bytes are as they came, with the site's own ids of people.
    """
    say = Console(highlight=False, markup=False, soft_wrap=True)
    errors: Counter[str] = Counter()
    for letter in _chosen(settings_for(brokers), error, only, limit):
        errors[letter.error] += 1
        if as_json:
            print(json.dumps(_plain(letter)), flush=True)
            continue
        tried = f", attempt {letter.attempt}" if letter.attempt > 1 else ""
        cut = ", cut" if letter.truncated else ""
        say.print(
            f"{letter.partition}:{letter.offset}  {letter.error}  from {_source(letter)}  {moment(letter.time)}"
            f"  {letter.size:,} bytes{cut}{tried}\n    {letter.message}"
        )
    if not as_json:
        kinds = "".join(f"; {count:,} {code}" for code, count in errors.most_common())
        say.print(f"{errors.total():,} dead letters{kinds}")


@app.command()
def retry(
    error: Error = None,
    only: Only = None,
    limit: Limit = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    brokers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Put the original bytes back onto the topic they came from.

    For when the cause is gone: a new release that reads them, a clock that was set right. What fails again becomes
    a new letter with one attempt more; the old letter stays until its 7 days are over, so a second retry sends it
    again. An event with an `event_id` is taken only once. Cut letters cannot be sent: exit code 1 if there are any.
    """
    settings = settings_for(brokers)
    say = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    sent: Counter[str] = Counter()
    refused = 0
    delivery = Delivery(settings)
    try:
        for letter in _chosen(settings, error, only, limit):
            why_not = letter.why_not
            if why_not is not None:
                refused += 1
                say.print(f"{letter.partition}:{letter.offset}  not sent: {why_not}")
                continue
            if not dry_run:
                put_back(letter, delivery)
            sent[letter.source_topic] += 1
    finally:
        delivery.close()
    if as_json:
        print(json.dumps({"sent": dict(sent), "refused": refused, "dry_run": dry_run}))
    else:
        where = ", ".join(f"{count:,} to {topic}" for topic, count in sent.items()) or "none"
        print(f"{'would send' if dry_run else 'sent'}: {where}; refused: {refused:,}")
    if refused:
        raise typer.Exit(1)


def _chosen(settings: Settings, error: str | None, only: str | None, limit: int | None) -> Iterator[Letter]:
    place = None if only is None else _place(only)
    chosen = 0
    for letter in read_letters(settings, error=error):
        if place is not None and (letter.partition, letter.offset) != place:
            continue
        yield letter
        chosen += 1
        if chosen == limit:
            return
    if place is not None and not chosen:
        raise InputError(f"no dead letter at {only}; `beforehand dead-letters list` shows where they stand")


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdigit() and offset.isdigit()):
        raise InputError(f"--only {text!r}, expected PARTITION:OFFSET as `list` shows it, such as 0:17")
    return int(partition), int(offset)


def _source(letter: Letter) -> str:
    return f"{letter.source_topic}[{letter.source_partition}]@{letter.source_offset}"


def _plain(letter: Letter) -> dict[str, object]:
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "error": letter.error,
        "message": letter.message,
        "topic": letter.source_topic,
        "source_partition": letter.source_partition,
        "source_offset": letter.source_offset,
        "time": letter.time,
        "attempt": letter.attempt,
        "size": letter.size,
        "truncated": letter.truncated,
        "key": None if letter.key is None else letter.key.decode(errors="backslashreplace"),
    }
