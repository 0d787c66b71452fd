"""What each protocol learns from, asks, and expects."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest

from streaming.errors import InputError
from streaming.evaluation.log import Log
from streaming.evaluation.moments import Split
from streaming.evaluation.protocols import LONGEST, cold, leave_one_out, next_item, temporal
from tests.streaming.evaluation.logs import log_of, sequences


def _learned(log: Log, split: Split) -> list[str]:
    return sorted(
        f"{s}{log.catalogue.id(c)}" for s, c in zip(split.part.events["session_id"], split.part.codes, strict=True)
    )


def _asked(log: Log, split: Split) -> list[str]:
    ids = log.catalogue.ids
    return [
        f"{''.join(ids(moment.items))}>{ids([int(target)])[0]}"
        for moment, target in zip(split.moments, split.targets, strict=True)
    ]


def test_leave_one_out_learns_all_but_the_last_two_and_asks_for_the_last() -> None:
    log = log_of(sequences("abcd bca"))
    split = leave_one_out(log)
    assert _learned(log, split) == ["s0a", "s0b", "s1b"]
    assert sorted(_asked(log, split)) == ["abc>d", "bc>a"]  # the last but one joins the history when asked
    assert not np.isin(split.target_rows, split.part.rows).any()


def test_leave_one_out_counts_an_item_where_a_user_first_had_it() -> None:
    log = log_of(sequences("abacb ab"))
    split = leave_one_out(log)
    assert _asked(log, split) == ["ab>c"]  # a, b, c; and two items are too few
    assert _learned(log, split) == ["s0a"]


def test_leave_one_out_needs_three_items_of_somebody() -> None:
    with pytest.raises(InputError, match="no user has three items"):
        leave_one_out(log_of(sequences("ab cd")))


def test_hidden_items_teach_nothing_and_stay_in_histories_and_catalogue() -> None:
    log = log_of(sequences("abcd bcad"))
    hidden = np.array([item == "b" for item in log.catalogue.all()])
    split, whole = leave_one_out(log, hidden), leave_one_out(log)
    assert _learned(log, split) == ["s0a", "s1c"]
    assert _asked(log, split) == _asked(log, whole)
    assert "b" in split.part.catalogue


def test_one_item_in_twenty_is_cold_by_its_id() -> None:
    log = log_of([("s", f"item-{n}", n) for n in range(400)])
    hidden = cold(log)
    assert [crc32(item.encode()) % 20 == 0 for item in log.catalogue.all()] == hidden.tolist()
    assert 5 <= hidden.sum() <= 40


def test_next_item_asks_at_every_place_of_a_test_session() -> None:
    log = log_of([(*event, "test" if event[0] == "s1" else "train") for event in sequences("abc bcab")])
    split = next_item(log, repeats=True)
    assert _learned(log, split) == ["s0a", "s0b", "s0c"]
    assert _asked(log, split) == ["b>c", "bc>a", "bca>b"]
    assert split.groups.tolist() == [0, 0, 0]
    assert _asked(log, next_item(log, repeats=True, last_only=True)) == ["bca>b"]


def test_without_repeats_a_place_that_repeats_is_not_asked() -> None:
    log = log_of([(*event, "test" if event[0] == "s1" else "train") for event in sequences("abc bcab")])
    split = next_item(log, repeats=False)
    assert _asked(log, split) == ["b>c", "bc>a"]
    assert split.left_out == 1


def test_a_history_is_cut_at_its_newest_events() -> None:
    log = log_of([(*event, "test" if event[0] == "s1" else "train") for event in sequences("ab " + "ab" * 20)])
    assert max(len(moment.items) for moment in next_item(log, repeats=True).moments) == LONGEST


def test_what_was_set_aside_to_choose_by_teaches_only_before_the_test() -> None:
    train = [("t", "a", 0, "train"), ("t", "b", 1, "train")]
    test = [("x", "a", 100, "test"), ("x", "b", 160, "test")]
    before = log_of([*train, ("v", "c", 50, "valid"), *test])
    assert _learned(before, next_item(before, repeats=True)) == ["ta", "tb", "vc"]
    beside = log_of([*train, ("v", "c", 130, "valid"), *test])
    assert _learned(beside, next_item(beside, repeats=True)) == ["ta", "tb"]


def test_a_split_that_parts_sessions_gives_way_to_time() -> None:
    """As of a shop cut for leave-one-out: then the newest tenth is tested."""
    events = [("s", str(n), n, "test" if n == 3 else "train") for n in range(4)]
    later = [("u", str(n), 100 + n, None) for n in range(3)]
    log = log_of([*events, *later])  # type: ignore[list-item]
    split = temporal(log, repeats=True)
    assert split.target_rows.tolist() == [6]
    with pytest.raises(InputError, match="nothing to ask"):
        next_item(log, repeats=True)


def test_temporal_asks_in_time_order_and_keeps_the_history_from_before() -> None:
    log = log_of([("a", "p", 0), ("b", "q", 5), ("c", "r", 6, "test"), ("a", "q", 7, "test"), ("c", "p", 8, "test")])
    split = temporal(log, repeats=True)
    assert _learned(log, split) == ["ap", "bq"]
    assert _asked(log, split) == ["p>q", "r>p"]
    assert split.asked.tolist() == [-1, 0, 1]
    assert [log.catalogue.id(passed.item) for passed in split.passed] == ["r", "q", "p"]


def test_nothing_before_the_test_is_an_error() -> None:
    with pytest.raises(InputError, match="expected some before the test period"):
        temporal(log_of([("a", "p", 0), ("a", "q", 0)]), repeats=True)
