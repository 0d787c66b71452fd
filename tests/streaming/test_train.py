"""A model with all that can be learned: trained by the command, served by the engine, measured by `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from encoders.text import DummyTextEncoder
from index.forest import Forest
from index.model import FOREST, ModelFolder
from index.tables import SEQUENCE
from streaming.cli import application
from streaming.errors import InputError
from streaming.items import Shop, items_of
from streaming.learning import JointTrial
from streaming.reranking import FADING, FEATURES, RISING, reordered, shortlist
from tests.stories.small_shop import Visitor, engine_for, offers

T = 1_483_228_800_000
MINUTE = 60_000
WORDS = ("tea", "mug", "jam", "pot", "cup", "tin", "bag", "box")
ITEMS = [f"{word}-{n}" for word in WORDS for n in range(5)]


def write_shop(folder: Path, sessions: int = 900) -> Path:
    """A shop in which each item is mostly followed by the next of a fixed round, and sometimes by any."""
    source = np.random.default_rng(7)
    follows = source.permutation(len(ITEMS))
    rows = []
    for number in range(sessions):
        at = int(source.integers(len(ITEMS)))
        for place in range(5):
            rows.append((f"s{number}", T + number * 10 * MINUTE + place * MINUTE, ITEMS[at], "view"))
            at = int(follows[at]) if source.random() < 0.7 else int(source.integers(len(ITEMS)))
    folder.mkdir()
    events = pl.DataFrame(rows, schema=["session_id", "time", "item_id", "kind"], orient="row")
    events.sort("time", maintain_order=True).write_csv(folder / "events.csv")
    titles = [item_id.replace("-", " number ") for item_id in ITEMS]
    pl.DataFrame({"item_id": ITEMS, "title": titles}).write_csv(folder / "items.csv")
    return folder


def run(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(application(list(arguments)), list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Shop, model, and what the command said of it."""
    place = tmp_path_factory.mktemp("trained")
    shop = write_shop(place / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
        patch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(place / "vectors"))
        told = run(
            "train", str(shop), str(place / "model"), "--graph", "svd", "--json",
            "--checkpoints", str(place / "left"), "--log", str(place / "log"),
        )  # fmt: skip
    return shop, place / "model", json.loads(told.stdout)


def test_the_folder_holds_network_forest_and_curves(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    _, folder, told = trained
    model = ModelFolder.load(folder)
    assert model.version == told["version"]
    assert model.forest is not None
    shop = Shop.of(model, DummyTextEncoder())
    assert shop.gate.fitted
    assert shop.gate.model.quality is not None
    assert 0.5 < told["gate_auc"] == shop.gate.model.quality.auc
    share = told["gate_hits"] / told["gate_n"]
    assert told["gate_brier"] < share * (1 - share)  # it knows more than how often something comes
    assert {name: head.why.split(" among")[0] for name, head in shop.intents.items()} == {
        "purchase": "no purchase",
        "leaving": "",
    }
    assert told["leaving_ece"] < 0.1
    assert model.tables.sequence is not None
    assert {SEQUENCE, FOREST, "training.json"} <= model.manifest.files.keys()
    assert model.manifest.seeds == {"behaviour": 0, "sequence": 0, "forest": 0}
    curves = json.loads((folder / "training.json").read_text())["curves"]
    assert {curve["metric"] for curve in curves} == {"loss", "ndcg_10"}
    assert all(len(curve["x"]) == len(curve["y"]) > 0 for curve in curves)
    assert list((folder.parent / "log").rglob("events.out.tfevents*"))
    assert len(list((folder.parent / "left").glob("*.safetensors"))) == 2


def test_the_engine_serves_it(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    shop = served(trained[1])
    visitor = Visitor(engine_for(shop))
    decision = visitor.does(0, "view", "tea-1")
    assert offers(decision)
    assert decision.prediction is not None
    assert decision.prediction.calibrated
    assert decision.prediction.model == trained[2]["version"]
    scores = [offer.score for offer in decision.prediction.items]
    assert scores == sorted(scores, reverse=True)


def served(folder: Path) -> Shop:
    shop = Shop.open(folder, DummyTextEncoder())
    shop.upsert(list(items_of(ModelFolder.load(folder).items)))
    return shop


def test_evaluate_learns_it_anew(trained: tuple[Path, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    shop, folder, _ = trained
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(folder.parent / "vectors"))
    told = json.loads(run("evaluate", str(folder), str(shop), "--protocol", "next-item", "--json").stdout)
    assert told["metrics"]["hr_10"] > 0.6


def test_evaluate_holds_networks_side_by_side(
    trained: tuple[Path, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, folder, _ = trained
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(folder.parent / "vectors"))
    common = ("evaluate", str(folder), str(shop), "--protocol", "next-item", "--no-ablations", "--baselines", "fast")
    told = json.loads(run(*common, "--networks", "gru,bert", "--json").stdout)
    lines = {name: line["mrr_20"] for name, line in told["variants"].items()}
    assert lines.keys() == {"network gru", "network bert"}
    assert lines["network gru"] == told["metrics"]["mrr_20"]  # the model's own, trained the same way
    assert lines["network bert"] > 0.4
    assert lines["network bert"] != lines["network gru"]
    wrong = run(*common, "--networks", "gru,lstm", code=1)
    assert "--networks 'lstm', expected some of gru, bert, text" in str(wrong.exception)
    built = folder.parent / "built"
    run("build", str(shop), str(built), "--graph", "none")
    wrong = run("evaluate", str(built), str(shop), "--networks", "bert", code=1)
    assert "without a network, expected one of `beforehand train`" in str(wrong.exception)


def test_joint_training_is_chosen_where_it_ranks_better_and_its_figures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    shop = write_shop(tmp_path / "shop", 300)
    run("train", str(shop), str(tmp_path / "model"), "--graph", "svd", "--joint", "choose", "--budget", "3")
    told = json.loads((tmp_path / "model" / "training.json").read_text())
    trial = told["joint"]
    assert trial["low"] <= trial["joint"] - trial["separate"] <= trial["high"]
    assert trial["taken"] == (trial["low"] > 0)
    assert trial["sessions"] > 10
    names = {curve["name"] for curve in told["curves"] if not curve["name"].startswith("forest")}
    assert names == {"gru, without the last part", "gru, joint, without the last part", "gru"}
    tables = ModelFolder.load(tmp_path / "model").tables
    assert tables.settings.sequence is not None
    assert tables.settings.sequence.joint == ("yes" if trial["taken"] else "no")
    assert tables.sequence is not None
    assert (tables.sequence.unmet is not None) == trial["taken"]


def test_joint_training_is_taken_where_an_interval_of_its_gain_lies_above_nothing() -> None:
    source = np.random.default_rng(0)
    plain = source.random(500).astype(np.float32)
    better = plain + source.normal(0.05, 0.1, 500).astype(np.float32)
    noise = plain + source.normal(0, 0.1, 500).astype(np.float32)
    won = JointTrial.of(plain, better)
    assert won.taken
    assert 0 < won.low < won.joint - won.separate < won.high
    for other in (noise, plain, plain - np.float32(0.05)):
        assert not JointTrial.of(plain, other).taken


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--network", "bert", "--teacher", "bert"), "--teacher bert with --network bert, expected gru"),
        (("--network", "text"), "reads no sessions, expected a BERT"),
    ],
)
def test_a_network_that_cannot_be_trained_here_is_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    shop = write_shop(tmp_path / "shop", 60)
    result = run("train", str(shop), str(tmp_path / "model"), "--graph", "none", *arguments, code=1)
    assert said in str(result.exception)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", [SEQUENCE, FOREST])
def test_a_folder_that_was_cut_short_is_refused(
    trained: tuple[Path, Path, dict[str, Any]], tmp_path: Path, name: str
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in trained[1].iterdir():
        content = path.read_bytes()
        (broken / path.name).write_bytes(content[:-20] if path.name == name else content)
    with pytest.raises(InputError, match=r"damaged.*build it anew"):
        Shop.open(broken, DummyTextEncoder())


def test_a_past_too_short_to_learn_from_gives_a_model_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    shop = write_shop(tmp_path / "shop", sessions=4)
    run("train", str(shop), str(tmp_path / "model"), "--graph", "svd")
    model = ModelFolder.load(tmp_path / "model")
    assert (model.forest, model.tables.sequence) == (None, None)
    shop_of_it = Shop.of(model, DummyTextEncoder())
    assert (shop_of_it.gate.fitted, shop_of_it.gate.thresholds) == (False, ())
    assert shop_of_it.gate.model.why
    assert not any(head.fitted for head in shop_of_it.intents.values())


def test_a_gpu_that_is_not_there_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    result = run("train", str(write_shop(tmp_path / "shop", 4)), str(tmp_path / "model"), "--device", "cuda", code=1)
    assert "sees no GPU" in str(result.exception)
    assert not (tmp_path / "model").exists()


# ------------------------------------------------------------------------------------------------ the best, once more
def test_what_is_below_the_best_stays_below_in_its_order(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    forest = Forest.load(trained[1] / FOREST)
    source = np.random.default_rng(0)
    z = source.random(20)
    places = np.argsort(-z)[:8]
    told = reordered(z, places, source.random((8, len(FEATURES))).astype(np.float32), forest)
    rest = np.setdiff1d(np.arange(20), places)
    assert told[places].min() > told[rest].max()
    assert np.array_equal(np.argsort(-told[rest]), np.argsort(-z[rest]))


def test_losing_what_speaks_for_it_never_lifts_an_offer(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    forest = Forest.load(trained[1] / FOREST)
    rows = np.random.default_rng(1).random((200, len(FEATURES))).astype(np.float32)
    before = forest.scores(rows)
    for column, way in enumerate(RISING):
        if way:
            worse = rows.copy()
            worse[:, column] -= way * np.float32(0.5)
            assert (forest.scores(worse) <= before + 1e-12).all(), FEATURES[column]


def test_what_a_forest_is_told_of_a_candidate(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    shop = served(trained[1])
    codes = shop.vocabulary.codes(["tea-0", "mug-1", "jam-2"])
    known = shop.vocabulary.codes(["jam-2", "pot-3"])
    parts = np.zeros((3, 7))
    parts[:, 0], parts[:, 5] = (0.2, 0.6, 0.4), (0.9, 0.1, 0.3)
    best = shortlist(codes, parts, np.array([0.1, 0.3, 0.2]), known, shop.links.around(known, fading=FADING), shop)
    assert best.places.tolist() == [1, 2, 0]
    told = {name: best.rows[:, place].round(6).tolist() for place, name in enumerate(FEATURES)}
    assert told["counts"] == pytest.approx([0.6, 0.4, 0.2])
    assert told["place"] == [0, 1, 2]
    assert told["counts_behind"] == pytest.approx([0, -0.2, -0.4])
    assert told["score_behind"] == pytest.approx([0, -0.1, -0.2])
    assert told["sequence_place"] == [2, 1, 0]
    assert told["best_sequence"] == pytest.approx([0.9] * 3)
    assert told["history"] == [2, 2, 2]
    assert told["steps_back"] == [0, 0.5, 0]
    assert told["log_seen"] == pytest.approx(np.log1p(shop.counts.seen(codes[[1, 2, 0]])), abs=1e-5)
    text = shop.layout.slices[0]
    jam, pot, mug = (shop.row_of(item)[text] for item in ("jam-2", "pot-3", "mug-1"))  # type: ignore[index]
    assert told["text_last"][0] == pytest.approx(float(mug @ pot), abs=1e-5)
    assert told["text_recent"][0] == pytest.approx(max(float(mug @ pot), float(mug @ jam)), abs=1e-5)
    after = shop.counts.together(known[1:], np.ones(1), 100)
    by_code = dict(zip(after.codes.tolist(), after.scores.tolist(), strict=True))
    counts = [by_code.get(code, 0.0) for code in codes[[1, 2, 0]].tolist()]
    assert max(counts) > 0
    assert told["counts_last"] == pytest.approx(counts, abs=1e-6)
    assert told["counts_last_behind"] == pytest.approx(np.array(counts) - max(counts), abs=1e-6)
    times = shop.knn.newest(codes[[1, 2, 0]], np.array([1, 4]))
    assert (times > 0).all()
    for place, name in enumerate(("since_last", "since_fourth")):
        hours = (shop.counts.latest - times[:, place]) / 3_600_000
        assert told[name] == pytest.approx(np.log1p(hours), abs=1e-5)
    first = shop.knn.newest(codes[[1, 2, 0]], np.array([0]))[:, 0]
    whole = shop.counts.latest - shop.knn.oldest()
    assert told["age_share"] == pytest.approx((shop.counts.latest - first) / whole, abs=1e-6)
    assert 0 < min(told["age_share"]) <= max(told["age_share"]) <= 1
    pot = shop.counts.latest - shop.knn.newest(known[1:], np.array([0]))[0, 0]
    assert told["newest_age_share"] == pytest.approx([pot / whole] * 3, abs=1e-6)
    even = shop.counts.together(known, np.ones(2), 100)
    by_code = dict(zip(even.codes.tolist(), even.scores.tolist(), strict=True))
    assert told["counts_even"] == pytest.approx(
        [by_code.get(code, 0.0) for code in codes[[1, 2, 0]].tolist()], abs=1e-6
    )
    unjoined = shop.links.around(known[:0], fading=FADING)
    nothing = shortlist(codes, parts, np.array([0.1, 0.3, 0.2]), known[:0], unjoined, shop)
    assert nothing.rows[:, FEATURES.index("newest_age_share")].tolist() == [-1] * 3
    for name in ("text_last", "counts_last", "brand_last", "category_share"):
        assert not nothing.rows[:, FEATURES.index(name)].any()
