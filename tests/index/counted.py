"""Tables of few events, and what they say, for the tests of the counts."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import strategies as st

from index.co_settings import CoSettings
from index.cooccurrence import CoOccurrence
from index.lesson import Lesson
from index.meetings import lesson_context, visitor_tag
from index.vocabulary import Vocabulary

PLAIN = CoSettings(fading=1, backward=0, doubt=0, damping=0, self_pairs=False)
"""Scores that can be worked out in the head."""
MINUTE = 60_000

LOGS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("abcdefg"), st.integers(0, 50 * MINUTE)), min_size=0, max_size=60
)
"""Session, item, ms since the event before."""
SETTINGS = st.builds(
    CoSettings,
    window=st.integers(1, 12),
    by_distance=st.booleans(),
    backward=st.sampled_from([0.0, 0.2, 1.0]),
    self_pairs=st.booleans(),
    half_life_days=st.sampled_from([None, 0.01, 3.0]),
)


def fitted(*items, session="s", settings=PLAIN):
    return CoOccurrence.fit(Vocabulary(), [session] * len(items), list(items), settings=settings)


def together(table, history, n=10, **options):
    """(item, score, evidence), best first. `history`: (item, weight), newest last."""
    codes = table.vocabulary.codes([item for item, _ in history])
    found = table.together(codes, np.array([weight for _, weight in history], dtype=float), n, **options)
    ids, evidence = table.vocabulary.ids(found.codes), table.vocabulary.ids(found.evidence)
    return sorted(zip(ids, found.scores.tolist(), evidence, strict=True), key=lambda row: (-round(row[1], 12), row[0]))


def close(score):
    """Sums are of whole numbers of 1 / 65536."""
    return pytest.approx(score, rel=1e-4)


def support(table, before, after):
    return table.support(table.vocabulary.code(before), table.vocabulary.code(after))


def visitors(table, before, after):
    """Who made a pair; 2: two or more."""
    before, after = table.vocabulary.code(before), table.vocabulary.code(after)
    return sum(table.first_pair([before], after, visitors=least) is not None for least in (1, 2))


def lessons_of(log, settings):
    """Session -> its lessons, as a worker makes them."""
    events, clock = {}, 0
    lessons = {}
    for session, item, wait in log:
        clock += wait
        items, times = events.setdefault(session, ([], []))
        items.append(item)
        times.append(clock)
        context = lesson_context(items, times, settings.window)
        lessons.setdefault(session, []).append(
            Lesson(item, context, "click", clock, session, visitor_tag(str(session % 3)))
        )
    return lessons


def fit_log(log, settings):
    times = list(itertools.accumulate(wait for _, _, wait in log))
    return CoOccurrence.fit(
        Vocabulary(),
        np.array([session for session, _, _ in log], dtype=np.int64),
        pl.Series([item for _, item, _ in log], dtype=pl.String),
        np.array(times, dtype=np.int64),
        pl.Series([str(session % 3) for session, _, _ in log], dtype=pl.String),
        settings,
    )
