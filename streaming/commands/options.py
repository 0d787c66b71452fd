"""Options that several commands share, spelled once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from streaming.errors import InputError
from streaming.settings import Settings

Brokers = Annotated[
    str | None,
    typer.Option(
        "--brokers",
        metavar="HOST:PORT,...",
        help="Kafka's bootstrap servers; else BEFOREHAND_BROKERS.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, and nothing else there.")]


def settings_for(brokers: str | None) -> Settings:
    """The environment's settings, with `--brokers` on top where it was given.

    Raises:
        InputError: a variable has a value that its setting refuses.
    """
    return Settings.from_environment(brokers=brokers) if brokers else Settings.from_environment()


def moment(text: str | None, option: str) -> int | None:
    """A point in time as people write it, in ms since the epoch; without a zone it is UTC.

    >>> moment("2017-11-01", "--from"), moment("1509494400000", "--from"), moment(None, "--from")
    (1509494400000, 1509494400000, None)

    Raises:
        InputError: it is no time.
    """
    if text is None or text.isdigit():
        return None if text is None else int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InputError(f"{option} {text!r}, expected a time such as 2017-11-01T00:00, or ms since the epoch") from exc
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
