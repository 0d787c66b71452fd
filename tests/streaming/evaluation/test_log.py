"""The log numbers what it holds, and a part holds its own rows alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from streaming.errors import InputError, LeakError
from streaming.evaluation.log import Log, refuse_leak
from streaming.shop import ShopInfo
from tests.streaming.evaluation.logs import log_of, sequences


def test_events_that_are_not_on_an_item_or_do_not_teach_are_left_out() -> None:
    events = pl.DataFrame(
        {
            "kind": ["search", "purchase", "impression", "view"],
            "session_id": ["a"] * 4,
            "time": [4, 3, 2, 1],
            "item_id": [None, "tea", "mug", "mug"],
            "user_id": [None, "u", None, None],
        }
    )
    items = pl.DataFrame({"item_id": ["pot", "tea"], "title": ["Pot", "Tea"]})
    log = Log.of(events, items, pl.DataFrame(), ShopInfo())
    assert log.catalogue.all() == ["pot", "tea", "mug"]  # the table's, then what events alone name
    assert log.catalogue.ids(log.codes) == ["mug", "tea"]  # in time order
    assert log.users.tolist() == [0, 1]  # without a user the session stands for one
    with pytest.raises(InputError, match="2 events and none"):
        Log.of(events.filter(pl.col("kind").is_in(["search", "impression"])), items, pl.DataFrame(), ShopInfo())


def test_a_part_has_its_rows_and_no_others() -> None:
    log = log_of(sequences("abc abd"))
    part = log.part(np.array([3, 0]))
    assert part.rows.tolist() == [0, 3]
    assert part.events["item_id"].to_list() == log.catalogue.ids(part.codes) == ["a", "b"]
    assert part.counts().tolist() == [1, 1, 0, 0]
    assert "split" not in part.events.columns


def test_whole_days_are_seen() -> None:
    assert log_of([("a", "x", 0), ("a", "y", 86_400)]).by_day
    assert not log_of([("a", "x", 0), ("a", "y", 86_401)]).by_day


def test_a_target_in_the_training_part_is_refused_and_named() -> None:
    log = log_of(sequences("abc abd"))
    refuse_leak(log.part(np.array([0, 1])), np.array([4, 5]))
    with pytest.raises(
        LeakError, match=r"holds 1 of 2 targets.*click of 'd' in session 's1' at 2017-07-14 00:02:01 UTC"
    ):
        refuse_leak(log.part(np.array([0, 1, 5])), np.array([4, 5]))
