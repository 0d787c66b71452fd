"""How heads of intent are fitted: on the states that a worker would have had at the events of a shop's past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from index.logistic import Logistic
from index.logistic_fitting import fit_logistic
from streaming.intake import Event, Source
from streaming.intent import FEATURES, HEADS, features
from streaming.records import CLICK_KINDS
from streaming.sessions import FRESH, INTEREST_KINDS, advance
from streaming.topics import BROWSES, CLICKS, SOURCES

EVENTS = 40_000
"""Events that are looked at, at most: those of the sessions that ended last."""
LONGEST = 2_000
"""Events of a visit that is looked at, at most: no visitor has more."""
COLUMNS = {
    "kind": pl.String,
    "session_id": pl.String,
    "time": pl.Int64,
    "item_id": pl.String,
    "query": pl.String,
    "dwell_ms": pl.Int64,
}
"""Of a log, what the heads need."""
ASKED = frozenset({*INTEREST_KINDS, "exit"})
"""Kinds of event at which something may be said."""

_CLICKS, _BROWSES = SOURCES.index(CLICKS), SOURCES.index(BROWSES)


def fit_intents(log: pl.DataFrame, idle_ms: int) -> dict[str, Logistic]:
    """A head for each of `HEADS`; one that cannot be fitted says why.

    Args:
        log: `COLUMNS`, in time order, of all kinds of event; a column that is not there is empty.
        idle_ms: after which a session ends; 0: never, and then neither head has a meaning.
    """
    if not idle_ms:
        return dict.fromkeys(HEADS, Logistic.none("sessions never end here (session_idle_ms = 0)"))
    log = log.select(
        pl.col(name) if name in log.columns else pl.lit(None, kind).alias(name) for name, kind in COLUMNS.items()
    )
    rows, sessions = [], []
    told: dict[str, list[bool]] = {name: [] for name in HEADS}
    for number, session in enumerate(_over(log, idle_ms)):
        state = FRESH
        last = max((place for place, row in enumerate(session) if row["kind"] != "exit"), default=-1)
        bought = max((place for place, row in enumerate(session) if row["kind"] == "purchase"), default=-1)
        for place, row in enumerate(session):
            state = advance(state, _event(row, place))
            if row["kind"] in ASKED:
                rows.append(features(state, row["kind"]))
                sessions.append(number)
                told["purchase"].append(place < bought)
                told["leaving"].append(place >= last)
    if not rows:
        return dict.fromkeys(HEADS, Logistic.none("no session of the log is over, expected some"))
    heads = {}
    for name, came in told.items():
        hit = np.array(came, np.bool_)
        if not hit.any():
            heads[name] = Logistic.none(f"no {name} among {len(hit)} events, expected some to learn from")
        else:
            heads[name] = fit_logistic(FEATURES, np.array(rows), hit, np.array(sessions, np.int64)).model
    return heads


def _over(log: pl.DataFrame, idle_ms: int) -> Iterator[Sequence[dict[str, Any]]]:
    """Visits that are over by the end of the log, whole, of those that ended last; a session that was idle for long
    enough ends, and goes on as another."""
    if log.is_empty():
        return
    gap = pl.col("time").diff().over("session_id").fill_null(0)
    numbered = log.with_columns(visit=(gap >= idle_ms).cum_sum().over("session_id"))
    visit = ["session_id", "visit"]
    ends = numbered.group_by(visit).agg(end=pl.col("time").max(), size=pl.len()).sort("end", *visit, descending=True)
    over = ends.filter(pl.col("end") + idle_ms <= log["time"].max(), pl.col("size") <= LONGEST)
    chosen = over.filter(pl.col("size").cum_sum() <= EVENTS).select(visit)
    for _, rows in numbered.join(chosen, on=visit, maintain_order="left").group_by(visit, maintain_order=True):
        yield rows.rows(named=True)


def _event(row: dict[str, Any], place: int) -> Event:
    topic = _CLICKS if row["kind"] in CLICK_KINDS else _BROWSES
    return Event(
        Source(topic, 0, place, row["time"]),
        row["session_id"],
        None,
        row["kind"],
        row["time"],
        row["item_id"],
        query=row["query"],
        dwell_ms=row["dwell_ms"],
    )
