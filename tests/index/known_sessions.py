"""Sessions whose neighbours are known: short logs, and a model of them by definition."""

import math
from collections import defaultdict

import numpy as np
from hypothesis import strategies as st

from index.knn_settings import KnnSettings
from index.lesson import Lesson
from index.meetings import lesson_context
from index.session_knn import RARE, SessionKnn
from index.vocabulary import Vocabulary

BARE = {"near": 0, "idf": 0, "own": 1, "again": 0, "doubt": 0}
PLAIN = KnnSettings(decay="none", match="none", **BARE)
"""Scores that can be worked out in the head: the share of the neighbours, by items shared, that had an item."""

KNOWN = "abcdefg"
EVENTS = st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(KNOWN), st.integers(0, 12)), max_size=40, unique=True)
"""(session, item, time), as they arrive: times in any order, many of them equal. None twice: what a cut dropped within
the same millisecond is not remembered, and its repeat would count as new."""
SMALL = st.builds(
    KnnSettings,
    k=st.integers(1, 4),
    recent=st.integers(1, 4),
    history=st.integers(1, 4),
    decay=st.sampled_from(["none", "linear", "quadratic", "inverse"]),
    match=st.sampled_from(["none", "linear", "quadratic", "inverse"]),
    near=st.sampled_from([0.0, 0.5]),
    backward=st.sampled_from([0.5, 1.0]),
    idf=st.sampled_from([0.0, 1.0, 2.0]),
    own=st.sampled_from([0.25, 1.0]),
    again=st.sampled_from([0.0, 8.0]),
    window=st.integers(0, 4),
    doubt=st.sampled_from([0.0, 1.5]),
    longest=st.integers(1, 5),
    capacity=st.integers(1, 12),
)


def lesson(session, item, time, kind="view", context=()):
    return Lesson(item, context, kind, time, session, 0)


def contexts(events):
    """Of each event, what its session had before, as a lesson has it."""
    before = defaultdict(list)
    for session, item, time in events:
        before[session].append((item, time))
        yield lesson_context(*zip(*before[session], strict=True), 10)


def learned(events, settings=None, vocabulary=None):
    knn = SessionKnn(vocabulary or Vocabulary(), settings)
    for event, context in zip(events, contexts(events), strict=True):
        knn.observe(lesson(*event, context=context))
    return knn


def of(sessions, settings=PLAIN):
    """Sessions 0, 1, ... of these items, one after the other."""
    return learned(
        [(tag, item, 100 * tag + at) for tag, s in enumerate(sessions) for at, item in enumerate(s)], settings
    )


def entries(knn):
    return knn.to_frame().select("session", "item", "time").rows()


def asked(knn, items, n=100, **more):
    found = knn.scores(knn.vocabulary.codes(items), n, **more)
    assert (found.codes.dtype, found.scores.dtype, found.evidence.dtype) == (np.int32, np.float64, np.int32)
    ids = knn.vocabulary.ids(found.codes)
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, zip(found.scores.tolist(), knn.vocabulary.ids(found.evidence), strict=True), strict=True))


def shares(knn, items, **more):
    return {item: score for item, (score, _) in asked(knn, items, **more).items()}


class Model:
    """The same by definition, with dictionaries: content, then scores."""

    def __init__(self, events, settings):
        self.settings = settings
        newest, self.told = {}, {}
        for number, ((session, item, time), context) in enumerate(zip(events, contexts(events), strict=True)):
            context = context[: settings.window]
            if (session, item) not in newest or time > newest[session, item][0]:
                newest[session, item] = (time, number)
                self.told[session, item] = (context.index(item) + 1 if item in context else 0, len(context))
        kept = defaultdict(list)
        for (session, item), key in newest.items():
            kept[session].append((*key, item))
        entries = [
            ((time, session, number), item)
            for session, items in kept.items()
            for time, number, item in sorted(items)[-settings.longest :]
        ]
        self.entries = sorted(entries)[-settings.capacity :]
        self.sessions = defaultdict(list)
        for (_, session, _), item in self.entries:
            self.sessions[session].append(item)

    def content(self):
        by_session = sorted(self.entries, key=lambda entry: entry[0][1])
        return [(session, item, time, *self.told[session, item]) for (time, session, _), item in by_session]

    def rate(self, back):
        """How often events came back to what had been that far back."""
        told = [self.told[session, item] for (_, session, _), item in self.entries]
        return sum(b == back for b, _ in told) / (sum(depth >= back for _, depth in told) + RARE)

    def scores(self, items, exclude):
        s = self.settings
        items = items[-s.history :]
        falls = {
            "none": lambda p: 1.0,
            "linear": lambda p: 1 - p / len(items),
            "quadratic": lambda p: (1 - p / len(items)) ** 2,
            "inverse": lambda p: 1 / (p + 1),
        }
        place = {}
        for p, item in enumerate(reversed(items)):
            if item in KNOWN:
                place.setdefault(item, p)
        alike, reached = defaultdict(float), []
        for item, p in sorted(place.items(), key=lambda pair: pair[1]):
            having = [session for (_, session, _), other in self.entries if other == item]
            for session in reversed(having[-s.recent :]):
                if session != exclude:
                    if session not in alike:
                        reached.append(session)
                    alike[session] += falls[s.decay](p)
        neighbours = sorted(reached, key=lambda session: (-alike[session], reached.index(session)))[: s.k]
        votes, total = defaultdict(float), s.doubt
        for session in neighbours:
            had = self.sessions[session]
            shared = [item for item in had if item in place]
            factor = falls[s.match](min(place[item] for item in shared)) * alike[session]
            total += factor
            weight = sum(falls[s.decay](place[item]) for item in shared)
            for item in had:
                for by in shared:
                    away = had.index(item) - had.index(by)
                    near = math.exp(-s.near * max(0, abs(away) - 1)) * (s.backward if away < 0 else 1)
                    votes[item, by] += factor * falls[s.decay](place[by]) / weight * near
        scores = defaultdict(float)
        for (item, _), vote in votes.items():
            scores[item] += vote / total
        if s.idf and len(self.entries) > 1:
            for item in scores:
                having = sum(other == item for _, other in self.entries)
                rarity = (1 - math.log(having) / math.log(len(self.entries))) ** s.idf
                scores[item] *= rarity
                for by in place:
                    votes[item, by] *= rarity
        for item, p in place.items():
            back = s.again * self.rate(p + 1)
            for by in place:
                votes[item, by] *= s.own / total if total else 0
            votes[item, item] = max(votes[item, item], back)
            if item in scores or back:
                scores[item] = min(1, scores[item] * s.own + back)
        return scores, votes
