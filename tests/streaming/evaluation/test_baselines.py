"""Baselines find what a structure holds, and learn what passes."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.text import DummyTextEncoder
from streaming.evaluation.answers import ask, ask_and_teach
from streaming.evaluation.counting import CoOccurrenceTable, ItemKnn, VmisKnn, alike_by_sessions
from streaming.evaluation.log import DAY_MS, Log
from streaming.evaluation.moments import Moment, Passed, Ranker
from streaming.evaluation.nearest_text import LastItemsText, text_vectors
from streaming.evaluation.popularity import DecayedPopularity, Popularity
from streaming.evaluation.protocols import leave_one_out, temporal
from streaming.past import past_of
from streaming.shop import ShopInfo
from tests.streaming.evaluation.logs import START, Event, log_of

TABLES = [CoOccurrenceTable, ItemKnn, VmisKnn]


def _rings(sessions: int, seed: int) -> Log:
    """Each session walks a stretch of one of 20 rings of 10 items, in order."""
    chance = np.random.default_rng(seed)
    events: list[Event] = []
    for number in range(sessions):
        ring, begin = chance.integers(20), chance.integers(10)
        events += [(f"s{number}", f"{ring}-{(begin + n) % 10}", number * 100 + n) for n in range(6)]
    return log_of(events)


def _noise(sessions: int, seed: int) -> Log:
    chance = np.random.default_rng(seed)
    events: list[Event] = []
    for number in range(sessions):
        items = chance.choice(200, 6, replace=False)
        events += [(f"s{number}", str(item), number * 100 + n) for n, item in enumerate(items)]
    return log_of(events)


@pytest.mark.parametrize("kind", TABLES)
def test_structure_is_found_and_noise_is_not(kind: type[Ranker]) -> None:
    for log, low, high in ((_rings(400, 1), 0.95, 1.0), (_noise(400, 1), 0.0, 0.15)):
        split = leave_one_out(log)
        ranker = kind()
        ranker.fit(split.part)
        assert low <= (ask(ranker, split).ranks <= 10).mean() <= high


def test_order_is_known_to_counts_alone() -> None:
    split = leave_one_out(_rings(400, 2))
    ranker = CoOccurrenceTable()
    ranker.fit(split.part)
    assert (ask(ranker, split).ranks <= 1).mean() > 0.9


@pytest.mark.parametrize("kind", [Popularity, DecayedPopularity, CoOccurrenceTable, VmisKnn])
def test_what_passes_is_learned(kind: type[Ranker]) -> None:
    """A new item that everybody takes after `a` is unknown to a frozen table and soon known to one that learns."""
    old: list[Event] = [(f"o{n}", item, 10 * n + p, "train") for n in range(30) for p, item in enumerate("ab")]
    new: list[Event] = [(f"n{n}", item, 10_000 + 10 * n + p, "test") for n in range(60) for p, item in enumerate("az")]
    split = temporal(log_of([*old, *new]), repeats=True)
    frozen, online = kind(), kind()
    frozen.fit(split.part)
    online.fit(split.part)
    assert online.learns
    ranks = ask_and_teach(online, split).ranks
    assert ranks[0] == ask(frozen, split).ranks[-1] > 2
    assert ranks[-1] <= 2


def test_popularity_goes_by_counts() -> None:
    log = log_of([("a", "x", 0), ("b", "y", 1), ("c", "y", 2), ("d", "z", 3)])
    ranker = Popularity()
    ranker.fit(log.part(np.arange(4)))
    found = ranker.rank(_moment(log, 3), 1)
    assert log.catalogue.ids(found.codes) == ["x", "y", "z"]  # two ties below the first: nothing is cut between them
    assert found.scores.tolist() == [1, 2, 1]


def test_decayed_popularity_forgets_and_knows_nothing_that_came_later() -> None:
    """Forty items for forty days, ten times each; then fifteen others, five times each."""
    old: list[Event] = [(f"u{n}", f"old{n % 40}", n * 8640) for n in range(400)]
    new: list[Event] = [(f"w{n}", f"new{n % 15}", (60 * 10 + n) * 8640) for n in range(75)]
    log = log_of([*old, *new])
    ranker = DecayedPopularity()
    ranker.fit(log.part(np.arange(475)))
    assert ranker.half_life_ms <= 7 * DAY_MS
    late, early = (ranker.rank(_moment(log, row), 20) for row in (474, 399))
    best = [log.catalogue.id(code) for _, code in sorted(zip(-late.scores, late.codes.tolist(), strict=True))]
    assert {item[:3] for item in best[:15]} == {"new"}
    assert {item[:3] for item in log.catalogue.ids(early.codes)} == {"old"}
    again = ranker.rank(_moment(log, 474), 20)
    assert dict(zip(again.codes.tolist(), again.scores.tolist(), strict=True)) == pytest.approx(
        dict(zip(late.codes.tolist(), late.scores.tolist(), strict=True))
    )


def test_decayed_popularity_stands_centuries_of_half_lives() -> None:
    log = log_of([("a", "x", n * 3600) for n in range(50)])
    ranker = DecayedPopularity()
    ranker.fit(log.part(np.arange(50)))
    ranker.learn(Passed(0, 0, 0, 0, START + 10**6 * ranker.half_life_ms))
    assert ranker.rank(_moment(log, 49), 1).scores.tolist() == pytest.approx([1.0])


def test_vmis_keeps_the_newest_item_where_sessions_come_back_to_it() -> None:
    info = ShopInfo(repeats_allowed=True)
    for word, kept in (("aabb", True), ("abcd", False)):
        events: list[Event] = [(f"s{n}", item, 10 * n + p) for n in range(50) for p, item in enumerate(word)]
        log = log_of(events, info)
        ranker = VmisKnn()
        ranker.fit(log.part(np.arange(len(events))))
        asked = _moment(log, 0)._replace(session=10**6)
        assert ("a" in log.catalogue.ids(ranker.rank(asked, 20).codes)) == kept


def test_text_finds_items_whose_words_are_near_and_none_without_words() -> None:
    titles = {"a": "green tea", "b": "green tea", "c": "steel hammer", "d": "oak table", "e": "red wine glass", "f": ""}
    log = log_of([("s", item, n) for n, item in enumerate("abcdef")], titles=titles)
    vectors = text_vectors(past_of(log.events, log.items, log.facts, log.info, DummyTextEncoder()), log.catalogue)
    assert (vectors[0] == vectors[1]).all()
    assert not vectors[5].any()
    assert np.linalg.norm(vectors[:5], axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    ranker = LastItemsText(vectors)
    ranker.fit(log.part(np.arange(6)))
    found = ranker.rank(_moment(log, 0), 2)
    assert log.catalogue.ids(found.codes) == ["a", "b"]
    assert found.scores.tolist() == pytest.approx([1, 1])
    assert len(ranker.rank(_moment(log, 5), 2).codes) == 0


def test_items_of_the_same_sessions_are_alike() -> None:
    log = log_of([("s", "a", 0), ("s", "b", 1), ("t", "a", 2), ("t", "b", 3), ("u", "c", 4)])
    alike = alike_by_sessions(log.part(np.arange(5)))(log.catalogue.codes(["a", "b", "c"]))
    assert alike == pytest.approx(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))


def _moment(log: Log, row: int) -> Moment:
    """A session of one event."""
    at = slice(row, row + 1)
    return Moment(int(log.sessions[row]), int(log.users[row]), log.codes[at], log.kinds[at], log.times[at])
