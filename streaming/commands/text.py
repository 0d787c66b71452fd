"""How pseudonyms and times look in what commands print for people."""

from __future__ import annotations

from datetime import UTC, datetime


def short(pseudonym: str) -> str:
    """Enough of a pseudonym to tell sessions apart on a screen.

    >>> short("942ba16857b2375306bf9efc6845e236")
    '942ba168'
    """
    return pseudonym[:8]


def moment(time_ms: int | None) -> str:
    """A time of the stream, in UTC.

    >>> moment(1_509_494_400_000)
    '2017-11-01 00:00:00'
    >>> moment(None)
    ''
    """
    return "" if not time_ms else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
