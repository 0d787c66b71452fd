"""Rankers asked, measured and compared; what saw a target is refused; hidden items; what a report says."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from encoders.baselines.stopping import Course
from streaming.errors import InputError, LeakError
from streaming.evaluation import metrics
from streaming.evaluation.cold import cold_test
from streaming.evaluation.counting import CoOccurrenceTable
from streaming.evaluation.curves import TRAINING, of_model, of_networks
from streaming.evaluation.evaluation import Entry, Evaluation, ask_all, measured
from streaming.evaluation.log import Log
from streaming.evaluation.moments import Split
from streaming.evaluation.page import page_of, picture_of
from streaming.evaluation.popularity import Popularity
from streaming.evaluation.protocols import leave_one_out
from streaming.evaluation.report import Report, json_of
from streaming.evaluation.shelf import Network
from streaming.evaluation.slices import popularity_classes, slices_of
from streaming.evaluation.trial import Plan, refuse_built_later, split_of, warnings_of
from streaming.shop import ShopInfo
from tests.streaming.evaluation.logs import START, Event, Fixed, log_of, sequences
from tests.streaming.evaluation.past_rankers import SMALL


class _Named(CoOccurrenceTable):
    """Counts, called as the product is."""

    name = "ours"


def _walks() -> Log:
    """Each of 300 sessions walks five items of one of ten rings of six, in order."""
    chance = np.random.default_rng(5)
    events: list[Event] = []
    for number in range(300):
        ring, begin = chance.integers(10), chance.integers(6)
        events += [(f"s{number}", f"{ring}-{(begin + n) % 6}", number * 100 + n) for n in range(5)]
    return log_of(events)


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(_walks())


@pytest.fixture(scope="module")
def found(split: Split) -> Evaluation:
    entries = [Entry(_Named(), "product"), Entry(_Named(), "variant", frozen=True), Entry(Popularity(), "baseline")]
    return measured(split, ask_all(split, entries), _stranger)


def _stranger(codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.eye(len(codes))


def _report(found: Evaluation, **changes: Any) -> Report:
    data = {"events": 1500, "items": 60, "learned": 900, "left_out": 0, "repeats": False, "groups": "users"}
    return Report(shop="<Rings & Co>", model="abc", data=data, evaluation=found, **changes)


def test_the_product_is_told_beside_what_it_has_to_beat(found: Evaluation) -> None:
    assert [line.name for line in found.lines] == ["ours", "ours, frozen", "popularity"]
    assert found.n == found.groups == 300
    assert found.product.means["hr_1"] > 0.9
    assert found.best_baseline.name == "popularity"
    assert found.product.means["diversity_20"] == 1
    for line in found.lines:
        for name, (low, high) in line.intervals.items():
            assert low <= line.means[name] <= high


def test_a_difference_that_is_there_is_sure_and_one_that_is_none_is_not(found: Evaluation) -> None:
    twin, popularity = found.comparisons
    assert (twin.difference, twin.low, twin.high, twin.p_holm) == (0, 0, 0, 1)
    assert popularity.low > 0.5
    assert popularity.p_holm == pytest.approx(2 * 2 / 2001)


def test_slices_share_the_moments_out(found: Evaluation) -> None:
    for name, labels in found.sizes.items():
        assert sum(labels.values()) == found.n, name
        whole = sum(size * found.product.by_slice[name][label]["hr_10"] for label, size in labels.items()) / found.n
        assert whole == pytest.approx(found.product.means["hr_10"])


def test_slices_are_what_they_say() -> None:
    info = ShopInfo(repeats_allowed=True)
    train: list[Event] = [(f"t{n}", item, n) for n, item in enumerate("aaaaaabbbbccd")]
    day = 86_400
    test: list[Event] = [("x", "a", day, "test"), ("x", "b", day + 60, "test"), ("x", "a", 2 * day, "test")]
    asked = split_of(Plan("temporal"), log_of([*train, *test], info))
    masks = {name: {label: mask.tolist() for label, mask in each.items()} for name, each in slices_of(asked).items()}
    assert masks["target's day"] == {"that of the item before": [True, False], "later": [False, True]}
    assert masks["items of the history"] == {"1": [True, False], "2": [False, True]}
    assert masks["target stood in the history"] == {"no": [True, False], "yes": [False, True]}
    assert masks["target"] == {"head": [False, True], "torso": [True, False]}
    assert "kind" not in masks  # one label alone
    assert popularity_classes(asked.part).tolist() == [0, 1, 2, 2]


def test_a_part_that_holds_a_target_is_refused_before_anything_is_fitted(split: Split) -> None:
    log = _walks()
    leaking = replace(split, part=log.part(np.append(split.part.rows, split.target_rows[7])))
    ranker = Fixed([])
    with pytest.raises(LeakError, match="holds 1 of 300 targets"):
        ask_all(leaking, [Entry(ranker, "product")])
    assert not hasattr(ranker, "_ranked")


@pytest.mark.parametrize(("until", "early"), [(None, 3), (START + 900_000_000, 3), (START + 121_000, 1), (START, 0)])
def test_a_model_built_on_a_target_is_refused(until: int | None, early: int) -> None:
    """Targets are 120, 181 and 242 seconds after the start."""
    log = log_of([(s, item, place * (60 + int(s[1]))) for s, item, place in _numbered("abc bca cab")])
    split = leave_one_out(log)
    model: Any = SimpleNamespace(manifest=SimpleNamespace(settings={"until": until}))
    if not early:
        refuse_built_later(model, log, split)
        return
    with pytest.raises(LeakError, match=rf"among them {early} of 3 targets.*first is the click of 'c' in session 's0'"):
        refuse_built_later(model, log, split)


def _numbered(words: str) -> list[tuple[str, str, int]]:
    return [(f"s{n}", item, place) for n, word in enumerate(words.split()) for place, item in enumerate(word)]


def test_plans_that_make_no_sense_are_refused() -> None:
    log = log_of(sequences("abc bca"), ShopInfo(evaluate_last_only=True))
    for plan, why in (
        (Plan("temporal"), "use --protocol next-item"),
        (Plan("next-item", cold=True), "expected leave-one-out"),
        (Plan("leave-one-out", cold=True, as_built=True), "cannot be hidden"),
        (Plan("yesterday"), "expected leave-one-out, temporal or next-item"),
    ):
        with pytest.raises(InputError, match=why):
            split_of(plan, log)


def test_hidden_items_are_found_by_none_who_has_to_have_seen_them(split: Split) -> None:
    log = _walks()
    hidden = np.zeros(len(log.catalogue), dtype=bool)
    hidden[::6] = True
    blind = leave_one_out(log, hidden)
    shown = ask_all(split, [Entry(_Named(), "product")])
    test = cold_test(hidden, shown, ask_all(blind, [Entry(_Named(), "product")]), blind)
    line = test.lines["ours"]
    assert test.n + test.warm == 300
    assert test.n == hidden[split.targets].sum() > 10
    assert line.cold["hr_1"] == 0
    assert line.warm["hr_10"] > 0.9
    assert line.warm_loss == 1 - line.warm["hr_10"] / line.warm_unhidden["hr_10"]
    with pytest.raises(LeakError, match="events of hidden items"):
        cold_test(hidden, shown, shown, split)
    with pytest.raises(ValueError, match="0 of 300 targets are hidden"):
        cold_test(np.zeros_like(hidden), shown, shown, split)


def test_the_json_keeps_the_contract(found: Evaluation) -> None:
    told = json.loads(json.dumps(_report(found).as_json()))
    assert {"protocol", "data", "n", "metrics", "intervals", "baselines", "slices", "versions", "machine"} <= set(told)
    assert {"hr_10", "ndcg_10", "hr_20", "mrr_20", "coverage_20"} <= set(told["metrics"])
    assert set(told["intervals"]) == set(metrics.NAMES)
    assert set(told["baselines"]) == {"popularity"}
    assert {"hr_10", "ndcg_10", "hr_20", "mrr_20", "coverage_20", "intervals"} <= set(told["baselines"]["popularity"])
    assert told["comparisons"][1]["against"] == told["best_baseline"] == "popularity"
    for slice_ in told["slices"].values():
        for label in slice_.values():
            assert set(label) == {"n", "metrics", "interval", "best_baseline"}


def test_the_table_fits_a_terminal(found: Evaluation) -> None:
    out = io.StringIO()
    _report(found).show(Console(file=out, width=80))
    text = out.getvalue()
    assert "popularity" in text
    assert "…" not in text
    assert f"{found.product.means['ndcg_10']:.4f}" in text


def test_the_page_stands_alone_and_is_the_same_each_time(found: Evaluation) -> None:
    first, again = (page_of([_report(found)]).html() for _ in range(2))
    assert first == again
    assert "&lt;Rings &amp; Co&gt;" in first
    assert "<Rings" not in first
    assert first.count("<svg") == 3 + len(found.sizes)  # with what the channels are worth
    for away in ("<script", "<link", 'src="http', "@import"):
        assert away not in first


def test_several_protocols_make_one_report(found: Evaluation) -> None:
    one, other = _report(found), _report(replace(found, protocol="temporal"))
    page = page_of([one, other]).html()
    assert "leave-one-out: All rankers" in page
    assert "temporal: What each channel is worth" in page
    told = json_of([one, other])
    assert told["protocols"] == {"leave-one-out": one.as_json(), "temporal": other.as_json()}
    assert json_of([one]) == one.as_json()


def test_whoever_is_best_stands_out(split: Split) -> None:
    """A baseline that wins is shown to win."""
    entries = [Entry(Popularity(), "product"), Entry(_Named(), "baseline")]
    lost = measured(split, ask_all(split, entries), _stranger)
    warnings = warnings_of(Plan("leave-one-out", networks="none"), lost, [])
    assert warnings[0].startswith("ours ranks better than popularity: NDCG@10 ")
    page = page_of([_report(lost, warnings=warnings)]).html()
    assert f'<td class="best">{lost.lines[1].means["hr_10"]:.4f}</td>' in page
    assert "ours ranks better than popularity" in page
    out = io.StringIO()
    _report(lost, warnings=warnings).show(Console(file=out, width=200, force_terminal=True))
    text = out.getvalue()
    assert f"\x1b[1m{lost.lines[1].means['hr_10']:.4f}\x1b[0m" in text
    assert f"\x1b[1m{lost.lines[0].means['hr_10']:.4f}\x1b[0m" not in text


def test_what_has_not_converged_or_is_not_there_is_said(found: Evaluation) -> None:
    ranker = Network("SASRec", SMALL["SASRec"], Path("nowhere"), lambda _name, _done, _total: None)
    ranker.course = Course([1.0], [0.5], 9.0, "budget")
    told = warnings_of(Plan("leave-one-out"), found, [ranker])
    assert told == [
        "GRU4Rec, LightGCN: not trained on these events yet. --baselines all trains what is missing.",
        "SASRec was still getting better when its training ended, after 1 epochs: it may rank better with more"
        " --minutes.",
    ]
    ranker.course.ended = "no better"
    assert len(warnings_of(Plan("leave-one-out"), found, [ranker])) == 1


def test_the_picture_has_whoever_is_best_first(found: Evaluation) -> None:
    svg = picture_of(_report(found), "svg").decode()
    assert svg.index(">ours<") < svg.index(">popularity<")
    assert "frozen" not in svg
    assert f">{found.product.means['ndcg_10']:.4f}<".replace("0.", ".") in svg


def test_training_curves_of_a_folder_are_drawn(found: Evaluation, tmp_path: Path) -> None:
    assert of_model(tmp_path) == []
    told = {"curves": [{"name": "GRU", "metric": "loss", "x": [1, 2], "y": [3.0, 2.5], "x_name": "step"}]}
    (tmp_path / TRAINING).write_text(json.dumps(told))
    curves = of_model(tmp_path)
    report = _report(found, curves=[*curves, *of_networks([("SASRec", Course([2.0], [0.25], 9.0, "epochs"))])])
    assert report.as_json()["training"][0] == told["curves"][0]
    assert report.as_json()["training"][1]["y"] == [0.25]
    page = page_of([report]).html()
    assert page.count("<svg") == page_of([_report(found)]).html().count("<svg") + 2  # one for each metric
    assert "<h2>Training</h2>" in page
    assert "<h2>Training</h2>" not in page_of([_report(found)]).html()


@pytest.mark.parametrize(
    "content",
    ['{"curves"', '{"curves": [{"name": "x"}]}', '{"curves": [{"name": "x", "metric": "m", "x": [1], "y": []}]}'],
)
def test_curves_that_cannot_be_drawn_are_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / TRAINING).write_text(content)
    with pytest.raises(InputError, match="no training curves"):
        of_model(tmp_path)
