"""Small logs whose right answers are known, and rankers that say what a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from streaming.evaluation.log import DAY_MS, Log, TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked
from streaming.shop import ShopInfo

START = 1_500_000_000_000 // DAY_MS * DAY_MS

Event = tuple[str, str, int] | tuple[str, str, int, str]
"""Session, item, seconds after START, and a split."""


def log_of(events: Sequence[Event], info: ShopInfo | None = None, titles: Mapping[str, str] | None = None) -> Log:
    """A log of clicks; each session is a user."""
    titles = titles or dict.fromkeys((event[1] for event in events), "thing")
    frame = pl.DataFrame(
        {
            "kind": ["click"] * len(events),
            "session_id": [event[0] for event in events],
            "time": [START + event[2] * 1000 for event in events],
            "item_id": [event[1] for event in events],
            "user_id": pl.Series([event[0] for event in events], dtype=pl.String),
            "split": pl.Series([event[3] if len(event) == 4 else None for event in events], dtype=pl.String),
        }
    )
    items = pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
    return Log.of(frame, items, pl.DataFrame(), info or ShopInfo())


def sequences(text: str, seconds: int = 60) -> list[Event]:
    """One session a word, one item a letter: all sessions begin at once, and their items come in turn.

    >>> sequences("ab c")
    [('s0', 'a', 0), ('s0', 'b', 60), ('s1', 'c', 1)]
    """
    return [
        (f"s{number}", item, place * seconds + number)
        for number, word in enumerate(text.split())
        for place, item in enumerate(word)
    ]


class Fixed:
    """Says the same at every moment, and keeps what it was asked and taught."""

    name = "fixed"
    learns = True

    def __init__(self, ranked: Sequence[tuple[str, float]]) -> None:
        self._said = ranked
        self.heard: list[str] = []
        self.asked: list[Moment] = []

    def fit(self, part: TrainingPart) -> None:
        self._catalogue = part.catalogue
        codes = part.catalogue.codes([item for item, _ in self._said])
        self._ranked = Ranked(codes, np.array([score for _, score in self._said]))

    def rank(self, moment: Moment, _k: int) -> Ranked:
        self.asked.append(moment)
        self.heard.append("?" + self._catalogue.id(int(moment.items[-1])))
        return self._ranked

    def learn(self, passed: Passed) -> None:
        self.heard.append("+" + self._catalogue.id(passed.item))
