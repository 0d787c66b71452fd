"""No ranker knows what comes: not the product, not what it is measured against; and a ranker that does is caught.

A temporal replay is run on two pasts that differ only after some event. What was said up to that event has to be the
same. An item whose first event lies in the test period is named by nobody before that event, with one exception that
is none: where it stands in the shop's table of items, the shop had it, and rankers that read words may offer it cold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders.text import DummyTextEncoder
from streaming.evaluation.counting import CoOccurrenceTable
from streaming.evaluation.evaluation import Entry, ask_all
from streaming.evaluation.log import Log, TrainingPart
from streaming.evaluation.moments import Split
from streaming.evaluation.product import Workshop
from streaming.evaluation.protocols import temporal
from streaming.holdout import MOMENTS
from streaming.past import past_of, table_settings
from tests.streaming.evaluation.logs import START
from tests.streaming.evaluation.past_rankers import ITEMS, LENGTH, SESSIONS, TEST, answered, log_of_rows, rows_of

Lists = Mapping[str, NDArray[np.int32]]
CUT = (TEST + SESSIONS) // 2
"""The session after which the future is another one."""
PLANTED = "planted"
READERS = ("beforehand", "without", "shuffled", "last item's text")
"""How the names of those begin that know an item by its words."""


class Knowing(CoOccurrenceTable):
    """A leak: it learns from the whole log, whatever it is given."""

    name = "knowing"

    def __init__(self, log: Log) -> None:
        self._log = log

    def fit(self, part: TrainingPart) -> None:
        super().fit(self._log.part(np.arange(len(self._log))))


def changed_before(split: Split, one: Lists, other: Lists, time: int) -> dict[str, int]:
    """By ranker: moments whose answer came by `time` and whose lists are not the same in both."""
    past = split.target_times <= time
    found = {name: int((lists != other[name])[past].any(axis=1).sum()) for name, lists in one.items()}
    return {name: count for name, count in found.items() if count}


def named_before(split: Split, lists: Lists, item: int, time: int) -> dict[str, int]:
    """By ranker: moments whose answer came before `time` and whose list names the item."""
    before = split.target_times < time
    found = {name: int((each[before] == item).any(axis=1).sum()) for name, each in lists.items()}
    return {name: count for name, count in found.items() if count}


def _shuffled_after(rows: list[tuple[str, str, int]], session: int) -> list[tuple[str, str, int]]:
    """The same events, but that items of later sessions change places."""
    later = [place for place, (_, _, second) in enumerate(rows) if second >= session * 3600]
    items = np.random.default_rng(1).permutation([rows[place][1] for place in later]).tolist()
    changed = list(rows)
    for place, item in zip(later, items, strict=True):
        changed[place] = (rows[place][0], item, rows[place][2])
    return changed


def _planted(rows: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """From `CUT` on everybody's second item is the planted one."""
    return [
        (session, PLANTED if second >= CUT * 3600 and second % 3600 == 10 else item, second)
        for session, item, second in rows
    ]


def _told_of_knowing(log: Log) -> tuple[Split, Lists]:
    split = temporal(log, repeats=True)
    told = ask_all(split, [Entry(Knowing(log), "product")])
    return split, {each.name: each.answers.lists for each in told}


@pytest.mark.parametrize("online", [True, False], ids=["online", "frozen"])
def test_another_future_changes_nothing_that_was_said_before(online: bool, tmp_path: Path) -> None:
    rows = rows_of()
    split, one = answered(log_of_rows(rows), tmp_path / "one", online=online)
    _, other = answered(log_of_rows(_shuffled_after(rows, CUT)), tmp_path / "other", online=online)
    until = START + (CUT * 3600 - 1) * 1000
    assert {"SASRec", "GRU4Rec", "LightGCN", "beforehand", "co-occurrence", "VMIS-kNN", "popularity"} <= set(one)
    assert changed_before(split, one, other, until) == {}
    everything = changed_before(split, one, other, 2**62)
    assert "beforehand" in everything  # the two futures are not the same


def test_a_ranker_that_knows_the_future_is_caught_by_changing_it() -> None:
    rows = rows_of()
    split, one = _told_of_knowing(log_of_rows(rows))
    _, other = _told_of_knowing(log_of_rows(_shuffled_after(rows, CUT)))
    assert changed_before(split, one, other, START + (CUT * 3600 - 1) * 1000)["knowing"] > 0


@pytest.mark.parametrize("online", [True, False], ids=["online", "frozen"])
def test_what_nobody_has_had_yet_is_named_by_nobody(online: bool, tmp_path: Path) -> None:
    log = log_of_rows(_planted(rows_of()))
    split, lists = answered(log, tmp_path, online=online)
    item = int(log.catalogue.codes([PLANTED])[0])
    first = START + (CUT * 3600 + 10) * 1000
    assert int((split.targets == item).sum()) == SESSIONS - CUT
    assert named_before(split, lists, item, first) == {}
    later = named_before(split, lists, item, 2**62)
    learning = {"beforehand", "co-occurrence", "VMIS-kNN", "popularity", "decayed popularity"}
    assert later.keys() >= learning if online else later == {}


def test_an_item_of_the_catalogue_is_offered_cold_by_those_alone_who_read_its_words(tmp_path: Path) -> None:
    log = log_of_rows(_planted(rows_of()), [*ITEMS, PLANTED])
    split, lists = answered(log, tmp_path, online=True)
    early = named_before(split, lists, int(log.catalogue.codes([PLANTED])[0]), START + (CUT * 3600 + 10) * 1000)
    assert "last item's text" in early
    assert [name for name in early if not name.startswith(READERS)] == []


def test_a_ranker_that_knows_the_future_is_caught_by_what_it_names() -> None:
    log = log_of_rows(_planted(rows_of()))
    split, lists = _told_of_knowing(log)
    item = int(log.catalogue.codes([PLANTED])[0])
    assert named_before(split, lists, item, START + (CUT * 3600 + 10) * 1000)["knowing"] > 0


def test_the_graph_of_behaviour_is_of_the_training_window_alone() -> None:
    """In the test period, and there alone, the first item of each session is i0 and the second i15."""
    rows = rows_of()
    for place in range(TEST * LENGTH, len(rows), LENGTH):
        for at, item in ((place, "i0"), (place + 1, "i15")):
            rows[at] = (rows[at][0], item, rows[at][2])
    log = log_of_rows(rows)
    texts = DummyTextEncoder()
    past = past_of(log.events, log.items, log.facts, log.info, texts)
    split = temporal(log, repeats=True)
    whole = log.part(np.arange(len(log)))

    def leads_to(part: TrainingPart) -> set[str]:
        shop = Workshop(texts, table_settings(log.info), None, MOMENTS, past).shop_of(part, anew=False)
        return {fact.tail for fact in shop.tables.graph.facts("i0")}

    assert "i15" not in leads_to(split.part)
    assert leads_to(split.part) & {"i1", "i2", "i3"}
    assert "i15" in leads_to(whole)  # had it been built on everything, it would be there
