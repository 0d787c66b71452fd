"""How a log is split: what is learned from, and which moments are asked.

Leave-one-out compares with published figures; it lets a table know other people's future. The temporal replay does
not, and is what to decide on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.evaluation.log import Log, Rows
from streaming.evaluation.moments import Moment, Passed, Split
from streaming.gating import HORIZON_MS

LONGEST = 20
"""Events of a history that are shown, the newest: as in Serenade's evaluator, and as many as a session keeps."""
TEST_SHARE = 0.1
"""Newest share of the events that is tested on where no column `split` says what."""
COLD_ONE_IN = 20


def leave_one_out(log: Log, hidden: NDArray[np.bool_] | None = None) -> Split:
    """Each user's last item is asked for; learned from is all but each user's last two.

    The item before the last joins the history only when it is asked. Of an item that a user had several times the
    first time counts. Users of fewer than three items teach nothing and are not asked.

    Args:
        hidden: (items,): items whose events are not learned from; they stay in catalogue and histories.

    Raises:
        InputError: nobody has three items.
    """
    learned, asked = [], []
    for rows in _runs(log.users):
        items = log.codes[rows]
        rows = rows[np.sort(np.unique(items, return_index=True)[1])]
        if len(rows) >= 3:
            learned.append(rows[:-2])
            asked.append(rows)
    if not asked:
        raise InputError("no user has three items, expected some for leave-one-out; use --protocol next-item")
    part = np.concatenate(learned)
    if hidden is not None:
        part = part[~hidden[log.codes[part]]]
    return _split(log, "leave-one-out", part, [(rows[:-1], int(rows[-1])) for rows in asked], False, log.users)


def next_item(log: Log, repeats: bool, last_only: bool = False) -> Split:
    """Every prefix of every test session, asked for the item after it; learned from are the other sessions.

    Test sessions are those of `split` "test"; where the column is not there, or parts sessions, those that begin in the
    newest tenth of the events, and what came before that teaches.

    Args:
        repeats: whether an item of the history may be the answer; where not, such a place is not asked.
        last_only: only the last item of a session is asked for.

    Raises:
        InputError: no test session has two events.
    """
    tested, learned = _by_session(log)
    cut = np.zeros(len(log), dtype=bool)
    cut[tested] = True
    asked, endings = [], []
    for rows in _runs(log.sessions):
        if cut[rows[0]]:
            places = range(len(rows) - 1, len(rows)) if last_only else range(1, len(rows))
            asked += [(rows[max(0, at - LONGEST) : at], int(rows[at])) for at in places if at]
            endings += [] if last_only else _ending(log, rows)
    return _split(log, "next-item", learned, asked, repeats, log.sessions, endings=endings)


def temporal(log: Log, repeats: bool) -> Split:
    """Every event of the test period but the first of a session, in time order, each learned after it was asked for.

    The period is that of `split` "test", or the newest tenth of the events where the column is not there or is no cut
    in time; all before it teaches. A session that began before the period keeps its history.

    Args:
        repeats: as `next_item`.

    Raises:
        InputError: no session of the period has two events.
    """
    tested, learned = _by_time(log)
    period = np.zeros(len(log), dtype=bool)
    period[tested] = True
    asked = [
        (rows[max(0, at - LONGEST) : at], int(rows[at]))
        for rows in _runs(log.sessions)
        for at in range(1, len(rows))
        if period[rows[at]]
    ]
    endings = [ending for rows in _runs(log.sessions) if period[rows[-1]] for ending in _ending(log, rows)]
    return _split(log, "temporal", learned, asked, repeats, log.sessions, np.sort(tested), endings)


def cold(log: Log) -> NDArray[np.bool_]:
    """(items,): one item in twenty, by crc32 of its id: those that the test of cold items hides from training."""
    ids = log.catalogue.all()
    return np.fromiter((crc32(item_id.encode()) % COLD_ONE_IN == 0 for item_id in ids), bool, len(ids))


def _newest(log: Log) -> tuple[Rows, Rows]:
    """Rows of the newest tenth, equal times together, and rows before it."""
    cut = log.times[int(len(log) * (1 - TEST_SHARE))]
    return np.flatnonzero(log.times >= cut), np.flatnonzero(log.times < cut)


def _by_session(log: Log) -> tuple[Rows, Rows]:
    """Rows of the test sessions, and rows that teach: by `split`, where each session is of one. What is of no split
    teaches, and so does "valid" unless it goes on beside the test: it would know the test's days."""
    tested = log.split_rows(["test"])
    rest = np.setdiff1d(np.arange(len(log)), tested)
    if not len(tested) or np.isin(log.sessions[tested], log.sessions[rest]).any():
        return _newest(log)
    valid = log.split_rows(["valid"])
    beside = len(valid) and log.times[valid].max() > log.times[tested].min()
    return tested, np.setdiff1d(rest, valid) if beside else rest


def _by_time(log: Log) -> tuple[Rows, Rows]:
    """Rows of the test period, and rows that teach: by `split`, where it cuts by time."""
    tested = log.split_rows(["test"])
    rest = np.setdiff1d(np.arange(len(log)), tested)
    if len(tested) and len(rest) and log.times[rest].max() <= log.times[tested].min():
        return tested, rest
    return _newest(log)


def _runs(keys: NDArray[np.int32]) -> Iterator[Rows]:
    """Rows of each key, rising, in the order of the keys' first row."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    yield from np.split(order, edges)


def _ending(log: Log, rows: Rows) -> list[Rows]:
    """The newest rows of a session that is known to have ended: it could have gone on, and sessions do end."""
    known = log.info.session_idle_ms > 0 and log.times[rows[-1]] + HORIZON_MS <= log.times.max()
    return [rows[-LONGEST:]] if known else []


def _split(
    log: Log,
    protocol: str,
    learned: Rows,
    asked: Sequence[tuple[Rows, int]],
    repeats: bool,
    grouped_by: NDArray[np.int32],
    tested: Rows | None = None,
    endings: Sequence[Rows] = (),
) -> Split:
    """
    Args:
        asked: rows of the history, and of the target; they become moments in the order in
            which they are asked: a prequential question just before its target, others at the history's newest event.
        tested: rows to learn as they pass.
        endings: rows of the histories after which nothing came.
    """
    asked = sorted(asked, key=lambda pair: (pair[0][-1] if tested is None else pair[1], pair[1]))
    usable = [pair for pair in asked if repeats or log.codes[pair[1]] not in log.codes[pair[0]]]
    if not len(learned):
        raise InputError(f"{len(log):,} events of one time, expected some before the test period; mark a `split`")
    if not usable:
        raise InputError(f"nothing to ask by protocol {protocol}: expected a session of two events in the test period")
    moments = [_moment(log, history, target) for history, target in usable]
    targets = np.array([target for _, target in usable], dtype=np.int64)
    passed: list[Passed] = []
    numbers = ends = np.empty(0, np.int64)
    if tested is not None:
        number_of = np.full(len(log), -1, dtype=np.int64)
        number_of[targets] = np.arange(len(targets))
        numbers = number_of[tested]
        number_of[:] = -1
        number_of[[rows[-1] for rows in endings]] = np.arange(len(endings))
        ends = number_of[tested]
        columns = (log.sessions, log.users, log.codes, log.kinds, log.times)
        passed = [Passed(*event) for event in zip(*(column[tested].tolist() for column in columns), strict=True)]
    return Split(
        protocol=protocol,
        part=log.part(learned),
        moments=moments,
        targets=log.codes[targets],
        target_rows=targets,
        target_times=log.times[targets],
        target_kinds=log.kinds[targets],
        groups=np.unique(grouped_by[targets], return_inverse=True)[1].astype(np.int64),
        repeats=repeats,
        passed=passed,
        asked=numbers,
        by_day=tested is not None and log.by_day,
        endings=[_moment(log, history, int(history[-1])) for history in endings],
        ends=ends,
        left_out=len(asked) - len(usable),
    )


def _moment(log: Log, history: Rows, row: int) -> Moment:
    """After a history, in the session of a row."""
    return Moment(
        int(log.sessions[row]), int(log.users[row]), log.codes[history], log.kinds[history], log.times[history]
    )
