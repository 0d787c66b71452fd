"""A head learns what is there to be learned, learns nothing from noise, and refuses what says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from encoders.errors import EncoderError
from encoders.heads.classification import Classification
from encoders.heads.examples import Examples, Parts
from encoders.heads.fitting import TASKS, Trained, encode, evaluate, fit, silent
from encoders.heads.head import softmax
from encoders.heads.metrics import Report
from encoders.heads.ranking import Ranking
from encoders.heads.regression import Regression
from encoders.heads.training import FitSettings, Sample, fit_head
from encoders.text import DummyTextEncoder
from tests.encoders.heads.table import THINGS, noise, parts

ENCODER = DummyTextEncoder()


def learned(name: str, rows: Parts, settings: FitSettings | None = None) -> tuple[Trained, Report]:
    task = TASKS[name](rows, settings or FitSettings())
    trained = fit(task, "text", "label", ENCODER)
    return trained, evaluate(task, trained)


def test_classes_that_words_tell_apart_are_told_apart() -> None:
    trained, report = learned("classification", parts(lambda thing, _: thing))
    assert report.metrics["accuracy"] == report.metrics["macro_f1"] == 1
    assert report.metrics["log_loss"] < 0.05
    assert report.baselines["majority class"]["accuracy"] < 0.6
    assert report.gains["majority class"]["low"] > 0.2
    assert report.detail["labels"] == ["boot", "lamp", "saw"]
    assert report.detail["classes"]["boot"]["recall"] == 1
    assert np.diag(report.detail["confusion"]).sum() == report.n == 40
    (answer,) = trained.head.answers(["a saw"], ENCODER.encode(["a saw"]))
    assert answer.label == next(iter(answer.probabilities)) == "saw"
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.value is None


def test_from_noise_nothing_is_learned_and_the_head_says_that_it_is_not_sure() -> None:
    _, report = learned("classification", parts(noise, (200, 100, 200)))
    assert 0.35 < report.metrics["accuracy"] < 0.65
    assert report.metrics["log_loss"] < np.log(2) + 0.05
    assert report.metrics["ece"] < 0.15


def test_without_words_the_vector_alone_is_read() -> None:
    trained, report = learned("classification", parts(lambda thing, _: thing), FitSettings(words=False))
    assert trained.head.words is None
    assert report.metrics["accuracy"] > 0.9


def test_a_head_on_constant_vectors_reads_the_words_alone() -> None:
    class Blank(DummyTextEncoder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.full((len(texts), self.dimension), 0.125, np.float32)

    task = Classification(parts(lambda thing, _: thing), FitSettings())
    assert evaluate(task, fit(task, "text", "label", Blank())).metrics["accuracy"] == 1


def test_balanced_classes_weigh_the_same() -> None:
    """Of texts that are all alike, a class has its share of the rows, or, balanced, an equal share."""
    targets = np.array([0] * 9 + [1])
    alike = Sample(np.ones((10, 4), np.float32), targets, ["a lamp"] * 10)
    shares = []
    for balanced in (False, True):
        fitted = fit_head(alike, alike, 2, "classes", FitSettings(balanced=balanced), silent)
        assert fitted.words is not None
        assert fitted.words_matrix is not None
        places, values = fitted.words.of("a lamp")
        outputs = np.ones((1, 4)) @ fitted.matrix + fitted.bias + values @ fitted.words_matrix[places]
        shares.append(softmax(outputs)[0, 1])
    assert shares == pytest.approx([0.1, 0.5], abs=0.02)


def test_numbers_come_out_in_their_own_unit() -> None:
    trained, report = learned("regression", parts(lambda thing, _: str(THINGS[thing])))
    assert report.metrics["mae"] < 2
    assert report.metrics["r2"] > 0.9
    assert report.baselines["mean"]["r2"] <= 0
    (answer,) = trained.head.answers(["white boot"], ENCODER.encode(["white boot"]))
    assert answer.value == pytest.approx(20, abs=2)
    assert (answer.label, answer.probabilities) == (None, {})


@pytest.mark.parametrize("loss", ["listwise", "pairwise"])
def test_candidates_are_ordered_within_their_group(loss: str) -> None:
    rows = parts(lambda thing, _: "2" if thing == "lamp" else "0", group=8)
    trained, report = learned("ranking", rows, FitSettings(loss=loss))  # type: ignore[arg-type]
    assert report.metrics == {"ndcg_10": 1, "mrr": 1}
    assert report.baselines["random order"]["ndcg_10"] < 0.9
    assert report.n <= 5
    better, worse = trained.head.answers(["red lamp", "red saw"], ENCODER.encode(["red lamp", "red saw"]))
    assert better.value is not None
    assert worse.value is not None
    assert better.value > worse.value


def test_equal_seeds_give_equal_heads() -> None:
    rows = parts(lambda thing, _: thing)
    first, second = (learned("classification", rows, FitSettings(seed=3))[0].head for _ in range(2))
    assert first.version == second.version
    assert first.matrix.tobytes() == second.matrix.tobytes()
    assert first.words_matrix.tobytes() == second.words_matrix.tobytes()


def test_the_test_part_teaches_nothing() -> None:
    rows = parts(lambda thing, _: thing)
    other = replace(rows, test=Examples(rows.test.texts, tuple(reversed(rows.test.labels))))
    first, second = learned("classification", rows)[0].head, learned("classification", other)[0].head
    assert first.matrix.tobytes() == second.matrix.tobytes()
    assert first.bias.tobytes() == second.bias.tobytes()


def test_equal_texts_are_encoded_once_and_in_their_order() -> None:
    asked: list[str] = []

    class Counting(DummyTextEncoder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            asked.extend(texts)
            return super().encode(texts)

    vectors = encode(Counting(), ["b", "a", "b"])
    assert asked == ["b", "a"]
    assert np.array_equal(vectors, ENCODER.encode(["b", "a", "b"]))
    assert encode(ENCODER, []).shape == (0, 64)


def examples(*labels: str, groups: Sequence[str] = ()) -> Examples:
    return Examples(tuple(f"text {row}" for row in range(len(labels))), labels, tuple(groups))


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ((("a", "a"), ("a",), ("a",)), "every label is 'a', expected two classes or more"),
        ((("a", "b", "a"), ("a",), ("a",)), r"1 class \('b'\) with one row only, .* --rare 2"),
        ((("a", "a"), ("b",), ("b",)), r"1 class \('b'\) without a row in the part to learn from"),
        ((("a", "b"), (), ("a", "b")), "no rows in the part valid of 4 rows"),
        (((), (), ()), "no rows in the part train, valid, test"),
        ((tuple(map(str, range(1001))), ("1",), ("1",)), "1001 distinct labels, .* --task regression"),
    ],
)
def test_classes_that_are_none(labels: Sequence[Sequence[str]], told: str) -> None:
    with pytest.raises(EncoderError, match=told):
        Classification(Parts(*(examples(*part) for part in labels)), FitSettings())


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ((("1", "x"), ("1",), ("1",)), "the label 'x' is no finite number, .* --task classification"),
        ((("1", "2"), ("1",), ("nan",)), "the label 'nan' is no finite number"),
        ((("1", "2"), ("inf",), ("1",)), "the label 'inf' is no finite number"),
        ((("7", "7.0"), ("1",), ("2",)), "every label to learn from is 7, expected numbers that differ"),
    ],
)
def test_numbers_that_are_none(labels: Sequence[Sequence[str]], told: str) -> None:
    with pytest.raises(EncoderError, match=told):
        Regression(Parts(*(examples(*part) for part in labels)), FitSettings())


def test_groups_in_which_nothing_can_be_ranked() -> None:
    good = examples("1", "0", groups=("g", "g"))
    with pytest.raises(EncoderError, match="the relevance -1 is below 0"):
        Ranking(Parts(examples("-1", "0", groups=("g", "g")), good, good), FitSettings())
    with pytest.raises(EncoderError, match="no group of the part test has candidates of different relevance"):
        Ranking(Parts(good, good, examples("1", "0", groups=("g", "h"))), FitSettings())
    with pytest.raises(EncoderError, match="give --group"):
        Ranking(Parts(examples("1", "0"), good, good), FitSettings())


def test_an_encoder_that_cannot_be_trained() -> None:
    task = Classification(parts(lambda thing, _: thing), FitSettings(layers=0))
    with pytest.raises(EncoderError, match="expected a BERT"):
        fit(task, "text", "label", ENCODER)
