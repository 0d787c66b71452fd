"""How good a backtest was: every ranking before the throttle, and everything that was sent, each beside popularity.

Truth is what the same session did afterwards. Popularity is asked at the very same moments, of what was known then, for
as many items, none of them one that the session had of late.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.lesson import LEARNING_KINDS
from streaming.decisions import Decision
from streaming.foretold import best_of
from streaming.intake import Event
from streaming.records import Prediction

DEPTH = 20
"""Items of a ranking that are looked at."""
RECENT = 20
"""Events on items of a session that count as its history, as in `evaluate` and in a session's state."""
HORIZON_EVENTS = 5
"""Events of the session that a prediction is good for, if its time is not over before."""
POPULAR = 10 * DEPTH
_SORT_AGAIN = 1000
"""Events after which popularity is sorted anew."""
_NO_EVENTS = frozenset({"applied", "repeat"})
"""Silences of events that were there before."""


class Popularity:
    """Items by how often they were met, so far."""

    def __init__(self, past: Iterable[str], *, learn: bool) -> None:
        """
        Args:
            past: the items of the events before, those that the model was built on too.
            learn: whether events to come count.
        """
        self.counts = Counter(past)
        self._learn = learn
        self._waiting = 0
        self._best = self._sorted()

    def met(self, item_id: str) -> None:
        """One event more."""
        if self._learn:
            self.counts[item_id] += 1
            self._waiting += 1
            if self._waiting >= _SORT_AGAIN:
                self._waiting, self._best = 0, self._sorted()

    def best(self, count: int, without: Iterable[str]) -> list[str]:
        """The most popular ones, best first, ties by id."""
        return best_of(self._best, set(without), count)

    def _sorted(self) -> list[str]:
        return [item for item, _ in sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:POPULAR]]


@dataclass(slots=True)
class Sent:
    """A prediction that was sent, and what came of it so far."""

    trigger: str
    session: int
    time: int
    """When it was made, ms since the epoch."""
    until: int
    items: tuple[str, ...]
    scores: tuple[float, ...]
    popular: frozenset[str]
    """What popularity would have sent."""
    left: int = HORIZON_EVENTS
    """Events that may still come."""
    taken: set[str] = field(default_factory=set)
    """Items that were taken up."""
    lead_ms: int | None = None
    """Time to the first of them."""
    popular_hit: bool = False
    followed: bool = False
    """Anything at all was taken up within the horizon, ours or not."""


@dataclass(slots=True)
class _Session:
    number: int
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT))
    asked: list[tuple[Sequence[str], Sequence[str]]] = field(default_factory=list)
    """Rankings, ours and popularity's, that wait for the next item."""
    open: list[Sent] = field(default_factory=list)


class Quality:
    """Hears every decision in order, and keeps what the figures are made of: 40 bytes an event, and what was sent."""

    def __init__(self, popularity: Popularity, *, repeats: bool) -> None:
        """
        Args:
            repeats: whether an item of the history may be predicted; where not, a moment whose next item is one is not
                asked, for nobody could have answered.
        """
        self._popularity = popularity
        self._repeats = repeats
        self._past = dict(popularity.counts)
        self._sessions: dict[str, _Session] = {}
        self.events = 0
        self.due = 0
        """Decisions on due times."""
        self.visits = 0
        """Sessions begun."""
        self.first_time: int | None = None
        self.last_time: int | None = None
        self.ranks, self.popular_ranks, self.groups = array("d"), array("d"), array("q")
        """Of each moment asked: place of the next item in our ranking and in popularity's, infinite beyond DEPTH; and
        the number of the session."""
        self.places = array("q")
        """Of each moment asked: how many events had been decided."""
        self.left_out = 0
        """Moments whose next item was a repeat, where that may not be predicted."""
        self.unfollowed = 0
        """Rankings that no item followed."""
        self.shown: Counter[str] = Counter()
        """How often each item stood in a ranking."""
        self.sent: list[Sent] = []
        """Those whose horizon is over."""
        self.cut_off = 0
        """Predictions whose horizon went beyond the log: nobody knows what became of them."""
        self.withdrawals = 0
        """Predictions without items, which take an earlier one back."""
        self.predictions: Counter[tuple[str, str]] = Counter()
        """Sent, by trigger and level."""
        self.suppressed: Counter[tuple[str, str]] = Counter()
        """Held back, by rule and trigger."""
        self.silent: Counter[str] = Counter()
        """By reason."""
        self.calibrated = 0
        """Predictions that say that their scores are probabilities."""

    def hear(self, decision: Decision) -> None:
        """One decision."""
        event, name = decision.event, decision.event.session
        self._count(decision)
        if decision.closed is not None:
            self._end(name)
        if isinstance(event, Event) and decision.silent not in _NO_EVENTS:
            self._happened(self._session(name), event)
        if decision.ranked:
            session = self._session(name)
            without = () if self._repeats else session.recent
            session.asked.append((decision.ranked, self._popularity.best(DEPTH, without)))
            self.shown.update(decision.ranked)
        if decision.prediction is not None and decision.prediction.items:
            self._open(self._session(name), decision.prediction)

    def finish(self) -> None:
        """The log is over."""
        for session in self._sessions.values():
            self.unfollowed += len(session.asked)
            for sent in session.open:
                if self.last_time is not None and sent.until > self.last_time and sent.left:
                    self.cut_off += 1
                else:
                    self.sent.append(sent)
        self._sessions.clear()

    def novelty(self) -> float:
        """Mean surprise of a ranked item in bits: -log2 of its share of the events before the log began, one added to
        each count (as `evaluate`); 0: nothing was ranked."""
        total = self.shown.total()
        if not total:
            return 0.0
        events = sum(self._past.values()) + len(self._past.keys() | self.shown.keys())
        surprise = (times * -math.log2((self._past.get(item, 0) + 1) / events) for item, times in self.shown.items())
        return math.fsum(surprise) / total

    def scores(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Score of each item that was sent, and whether it was taken up."""
        scores = [score for sent in self.sent for score in sent.scores]
        taken = [item in sent.taken for sent in self.sent for item in sent.items]
        return np.array(scores, np.float64), np.array(taken, np.bool_)

    # ------------------------------------------------------------------------------------------------------ its steps
    def _count(self, decision: Decision) -> None:
        event = decision.event
        if isinstance(event, Event):
            self.events += 1
            self.first_time = event.time if self.first_time is None else min(self.first_time, event.time)
            self.last_time = event.time if self.last_time is None else max(self.last_time, event.time)
        else:
            self.due += 1
        if decision.prediction is not None:
            told = decision.prediction
            self.withdrawals += not told.items
            self.calibrated += told.calibrated
            self.predictions[told.trigger, told.level] += 1
        elif decision.suppressed is not None:
            self.suppressed[decision.suppressed.rule, decision.suppressed.prediction.trigger] += 1
        else:
            self.silent[str(decision.silent)] += 1

    def _session(self, name: str) -> _Session:
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = _Session(self.visits)
            self.visits += 1
        return session

    def _end(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            self.unfollowed += len(session.asked)
            self.sent += session.open

    def _happened(self, session: _Session, event: Event) -> None:
        item = event.item_id if event.kind in LEARNING_KINDS else None
        for sent in session.open:
            if event.time < sent.until:
                sent.left -= 1
                _taken_up(sent, item, event.time)
        over = [sent for sent in session.open if event.time >= sent.until or not sent.left]
        if over:
            self.sent += over
            session.open = [sent for sent in session.open if event.time < sent.until and sent.left]
        if item is None:
            return
        if self._repeats or item not in session.recent:
            for ours, theirs in session.asked:
                self.ranks.append(_place(item, ours))
                self.popular_ranks.append(_place(item, theirs))
                self.groups.append(session.number)
                self.places.append(self.events)
        else:
            self.left_out += len(session.asked)
        session.asked.clear()
        session.recent.append(item)
        self._popularity.met(item)

    def _open(self, session: _Session, prediction: Prediction) -> None:
        items = tuple(offer.item_id for offer in prediction.items)
        session.open.append(
            Sent(
                trigger=prediction.trigger,
                session=session.number,
                time=prediction.event_time,
                until=prediction.expires_at,
                items=items,
                scores=tuple(offer.score for offer in prediction.items),
                popular=frozenset(self._popularity.best(len(items), () if self._repeats else session.recent)),
            )
        )


def _taken_up(sent: Sent, item: str | None, time: int) -> None:
    if item is None:
        return
    sent.followed = True
    sent.popular_hit = sent.popular_hit or item in sent.popular
    if item in sent.items:
        sent.taken.add(item)
        if sent.lead_ms is None:
            sent.lead_ms = max(0, time - sent.time)


def _place(item: str, ranked: Sequence[str]) -> float:
    return ranked.index(item) + 1.0 if item in ranked else math.inf
