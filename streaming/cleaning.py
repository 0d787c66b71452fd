"""Events that are right one by one but not together: repeats, bots, and items that the catalogue has not.

A rule looks at all events of a visitor at once, where a visitor is the user, else the session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from streaming.checking import FIRST_BAD_ROWS, BadRow, TableReport
from streaming.tables import ROW

SOURCE = "_source"
"""Number of the source of an event."""
MINUTE_MS = 60_000
DAY_MS = 86_400_000
BROWSING = ("view", "click", "search")
"""What a bot does at its rate. Baskets have hundreds of lines at one time, and lists show dozens of items."""
VISITOR = pl.coalesce("user_id", "session_id")

_SAME = ("session_id", "user_id", "kind", "item_id", "query", "time", "quantity", "price", "prediction_id")


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is set aside."""

    per_minute: int = 100
    """Views, clicks and searches of a visitor in a minute by the clock; above it is a bot, and all its events go. 0: no
    limit."""
    per_day: int = 5000
    """The same in a day of UTC."""
    keep_unknown_items: bool = True
    """Stay events whose item is not in the table items."""


class Cleaner:
    """Sets events aside and counts them, visitor by visitor."""

    def __init__(self, rules: Cleaning, catalogue: pl.Series | None, files: list[str], report: TableReport) -> None:
        """What is set aside is told in `report`, by the names of the sources' `files`.

        `catalogue`: ids of all items; None: there is no table of them, so none is unknown.
        """
        self._rules = rules
        self._catalogue = catalogue
        self._files = files
        self._report = report
        self._first: dict[str, pl.DataFrame] = {}
        self._bots = 0
        self._unknown = 0

    def clean(self, events: pl.DataFrame) -> pl.DataFrame:
        """The events that stay, in their order.

        Args:
            events: all events of some visitors in the order of their rows, with `SOURCE` and `ROW`.
        """
        events = self._once(events)
        events = self._people(events)
        return self._known(events)

    def finish(self) -> None:
        """Puts the first rows and the notes of all that was cleaned into the report."""
        for rule, column, expectation, remedy in self._rules_told():
            for source, row, value in self._first.get(rule, _NONE).sort(SOURCE, ROW).iter_rows():
                self._report.cleaned.append(BadRow(self._files[source], row, column, value, rule, expectation, remedy))
        if self._bots:
            self._report.notes.append(f"{self._bots:,} visitors are taken for bots")
        if self._unknown and self._rules.keep_unknown_items:
            self._report.notes.append(
                f"{self._unknown:,} events are about items that are not in items; they are kept,"
                " --unknown-items drop sets them aside"
            )

    def _once(self, events: pl.DataFrame) -> pl.DataFrame:
        """Without those that say what one before them said, or bear its id."""
        same = ~pl.struct(_SAME).is_first_distinct()
        again = pl.col("event_id").is_not_null() & ~pl.struct("session_id", "user_id", "event_id").is_first_distinct()
        kept = self._without(events, same, "duplicate", "item_id")
        if kept["event_id"].null_count() == len(kept):
            return kept
        return self._without(kept, again, "duplicate_id", "event_id")

    def _people(self, events: pl.DataFrame) -> pl.DataFrame:
        limits = [(MINUTE_MS, self._rules.per_minute), (DAY_MS, self._rules.per_day)]
        browsing = events.filter(pl.col("kind").is_in(BROWSING)).select(VISITOR.alias(_VISITOR), "time")
        fast = [
            browsing.group_by(_VISITOR, pl.col("time") // length).len().filter(pl.col("len") > most)[_VISITOR]
            for length, most in limits
            if most
        ]
        bots = pl.concat(fast).unique() if fast else pl.Series(dtype=pl.String)
        if bots.is_empty():
            return events
        self._bots += len(bots)
        return self._without(events, VISITOR.is_in(bots.implode()), "bot", VISITOR)

    def _known(self, events: pl.DataFrame) -> pl.DataFrame:
        if self._catalogue is None:
            return events
        unknown = pl.col("item_id").is_not_null() & ~pl.col("item_id").is_in(self._catalogue.implode())
        if not self._rules.keep_unknown_items:
            return self._without(events, unknown, "unknown_item", "item_id")
        self._unknown += events.select(unknown.sum()).item()
        return events

    def _without(self, events: pl.DataFrame, aside: pl.Expr, rule: str, value: str | pl.Expr) -> pl.DataFrame:
        marked = events.with_columns(aside.fill_null(False).alias(_ASIDE))
        gone = marked.filter(_ASIDE)
        if gone.is_empty():
            return events
        self._report.count(rule, len(gone))
        shown = gone.select(SOURCE, ROW, (pl.col(value) if isinstance(value, str) else value).alias(_VALUE))
        first = pl.concat([self._first.get(rule, _NONE), shown.cast(_NONE.schema)])
        self._first[rule] = first.sort(SOURCE, ROW).head(FIRST_BAD_ROWS)
        return marked.filter(~pl.col(_ASIDE)).drop(_ASIDE)

    def _rules_told(self) -> Iterator[tuple[str, str, str, str]]:
        """Name, column, expectation and remedy of each rule."""
        yield (
            "duplicate",
            "item_id",
            "an event that does not stand there before, to the millisecond",
            "nothing to do, or give both times in ms where they were two",
        )
        yield "duplicate_id", "event_id", "an id that no event of the session bears", "give each event an id of its own"
        yield (
            "bot",
            "visitor",
            f"at most {self._rules.per_minute:,} views, clicks and searches a minute and {self._rules.per_day:,} a day"
            " of one visitor (0: no limit)",
            "raise --bots-per-minute or --bots-per-day where it is a person",
        )
        yield "unknown_item", "item_id", "an item of the table items", "add it there, or --unknown-items keep"


_VISITOR, _ASIDE, _VALUE = "_visitor", "_aside", "_value"
_NONE = pl.DataFrame(schema={SOURCE: pl.UInt32, ROW: pl.UInt32, _VALUE: pl.String})
