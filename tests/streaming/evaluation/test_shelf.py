"""Networks as baselines: trained once, kept by what decides what training gives, and never named what is unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from streaming.errors import InputError
from streaming.evaluation.answers import ask
from streaming.evaluation.moments import RanksMany, Split, highest
from streaming.evaluation.protocols import temporal
from streaming.evaluation.shelf import Shelf, sequences_of
from tests.streaming.evaluation.past_rankers import SMALL, log_of_rows, rows_of

ONE = {"SASRec": SMALL["SASRec"]}


@pytest.fixture(scope="module")
def split() -> Split:
    return temporal(log_of_rows(rows_of()), repeats=True)


def test_each_is_trained_once_and_gives_the_same_from_its_file(split: Split, tmp_path: Path) -> None:
    shelf, heard = Shelf(tmp_path, networks=SMALL), []
    assert shelf.rankers(split.part, train=False) == []
    for ranker in shelf.rankers(split.part, train=True, note=lambda *told: heard.append(told)):
        ranker.fit(split.part)
        (again,) = [each for each in shelf.rankers(split.part, train=False) if each.name == ranker.name]
        again.fit(split.part)
        assert (ask(ranker, split).lists == ask(again, split).lists).all()
        assert again.course is not None
        assert ranker.course is not None
        assert again.course.to_dict() == ranker.course.to_dict()
    assert {stage for stage, _, _ in heard} == {"SASRec: epochs", "GRU4Rec: epochs", "LightGCN: epochs"}
    assert len(list(tmp_path.iterdir())) == 3


def test_other_events_another_seed_and_a_longer_time_train_anew(split: Split, tmp_path: Path) -> None:
    hurried = Shelf(tmp_path, minutes=1e-6, networks=ONE)
    (ranker,) = hurried.rankers(split.part, train=True)
    ranker.fit(split.part)
    assert ranker.course is not None
    assert ranker.course.ended == "budget"
    assert len(hurried.rankers(split.part, train=False)) == 1
    assert replace(hurried, minutes=1).rankers(split.part, train=False) == []
    assert replace(hurried, seed=1).rankers(split.part, train=False) == []
    other = temporal(log_of_rows(rows_of(seed=4)), repeats=True)
    assert hurried.rankers(other.part, train=False) == []


def test_a_file_that_was_cut_short_is_made_anew(split: Split, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, networks=ONE)
    (ranker,) = shelf.rankers(split.part, train=True)
    ranker.fit(split.part)
    (path,) = tmp_path.iterdir()
    whole = load_file(path)
    path.write_bytes(path.read_bytes()[:5000])
    assert shelf.rankers(split.part, train=False) == []
    ranker.fit(split.part)
    again = load_file(path)
    assert all((again[name] == array).all() for name, array in whole.items())  # one seed, one thread


def test_a_shelf_that_cannot_be_written_is_an_error(split: Split, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (ranker,) = Shelf(tmp_path / "file" / "shelf", networks=ONE).rankers(split.part, train=True)
    with pytest.raises(InputError, match="cannot be written"):
        ranker.fit(split.part)


def test_asked_at_once_and_one_by_one_it_says_the_same(split: Split, tmp_path: Path) -> None:
    (ranker,) = Shelf(tmp_path, networks=ONE).rankers(split.part, train=True)
    ranker.fit(split.part)
    assert isinstance(ranker, RanksMany)
    for moment, together in zip(split.moments[:5], ranker.rank_many(split.moments[:5], 4), strict=True):
        alone = ranker.rank(moment, 4)
        assert together.codes.tolist() == alone.codes.tolist()
        assert together.scores == pytest.approx(alone.scores, abs=1e-5)


def test_the_highest_scores_come_with_all_ties_and_what_is_unknown_never() -> None:
    found = highest(np.array([-1.0, -np.inf, -2.0, -1.0, -3.0]), 1)
    assert (found.codes.tolist(), found.scores.tolist()) == ([0, 3], [-1, -1])
    assert highest(np.array([-1.0, -np.inf]), 5).codes.tolist() == [0]


def test_sequences_are_those_of_the_sessions(split: Split) -> None:
    sequences = sequences_of(split.part)
    assert len(sequences) == len(np.unique(split.part.sessions))
    assert next(iter(sequences)).tolist() == split.part.codes[split.part.sessions == 0].tolist()
