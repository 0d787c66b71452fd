"""A head's folder: what is written is read, and what is damaged is refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from encoders.errors import EncoderError
from encoders.heads.head import MANIFEST, WEIGHTS, Head, Manifest
from encoders.heads.words import Words

TEXTS = ["red lamp", "blue saw", ""]
SOURCE = np.random.default_rng(0)
VECTORS = SOURCE.normal(size=(3, 8)).astype(np.float32)


def head(labels: tuple[str, ...] = ("a", "b"), words: bool = True) -> Head:
    made = Words.fit(["red lamp", "green lamp"], len(labels)) if words else None
    return Head(
        Manifest(task="classification", text="title", label="kind", encoder="0" * 16, labels=labels, seed=4),
        SOURCE.normal(size=(8, len(labels))).astype(np.float32),
        np.zeros(len(labels), np.float32),
        made,
        SOURCE.normal(size=(made.buckets, len(labels))).astype(np.float32) if made is not None else None,
    )


@pytest.mark.parametrize("words", [True, False])
def test_what_is_written_is_read(tmp_path: Path, words: bool) -> None:
    written = head(words=words).save(tmp_path / "head")
    read = Head.load(tmp_path / "head")
    assert read.manifest == written.manifest
    assert read.version == written.version
    assert read.outputs(TEXTS, VECTORS).tobytes() == written.outputs(TEXTS, VECTORS).tobytes()
    assert read.answers(TEXTS, VECTORS) == written.answers(TEXTS, VECTORS)
    assert {path.name for path in (tmp_path / "head").iterdir()} == {MANIFEST, WEIGHTS}
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def test_a_batch_is_to_the_bit_as_its_rows() -> None:
    served = head()
    alone = [served.outputs([text], row[None, :])[0] for text, row in zip(TEXTS, VECTORS, strict=True)]
    assert served.outputs(TEXTS, VECTORS).tobytes() == np.array(alone).tobytes()
    assert served.outputs([], VECTORS[:0]).shape == (0, 2)


def test_scaling_is_folded_into_the_numbers() -> None:
    served = head()
    scaled = served.scaled(3.0, 2.0, {"spread": 3.0})
    assert scaled.outputs(TEXTS, VECTORS) == pytest.approx(3 * served.outputs(TEXTS, VECTORS) + 2, rel=1e-4)
    assert scaled.manifest.settings == {"spread": 3.0}


def test_a_head_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    folder = tmp_path / "head"
    first = head().save(folder)
    second = head(("a", "b", "c")).save(folder)
    assert Head.load(folder).version == second.version != first.version
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(EncoderError, match="exists and is no head"):
        head().save(tmp_path / "other")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / MANIFEST).write_text('{"format": 2, "data": "x"}')  # as `beforehand build` writes one
    with pytest.raises(EncoderError, match="this is no head"):
        head().save(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "model", "other"]


def test_damage_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "head"
    with pytest.raises(EncoderError, match=r"no manifest.json there; expected the folder of a head"):
        Head.load(folder)
    head().save(folder)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-1])
    with pytest.raises(EncoderError, match="damaged, its SHA-256 begins"):
        Head.load(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(EncoderError, match="missing from the head's folder"):
        Head.load(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 99}, "head format 99, this release reads 1"),
        ({"task": "magic"}, "task 'magic', expected one of classification, regression, ranking"),
        ({"files": {}}, "names no head.safetensors"),
        ({"labels": ["only"]}, r"no head \(matrix \(8, 2\), bias"),
        ({"own_encoder": True}, "lacks its encoder"),
    ],
)
def test_a_manifest_of_something_else(tmp_path: Path, change: dict[str, object], told: str) -> None:
    folder = tmp_path / "head"
    head().save(folder)
    content = json.loads((folder / MANIFEST).read_text()) | change
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(EncoderError, match=told):
        Head.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_a_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(EncoderError, match="not a manifest"):
        Head.load(tmp_path)


def test_numbers_that_are_not_finite_are_no_head(tmp_path: Path) -> None:
    whole = head(words=False)
    with pytest.raises(ValueError, match="NaN or infinity"):
        Head(whole.manifest, np.full((8, 2), np.nan, np.float32), whole.bias)
    with pytest.raises(ValueError, match=r"expected \(3, 8\)"):
        whole.outputs(TEXTS, VECTORS[:, :4])
    save_file({"matrix": whole.matrix}, tmp_path / WEIGHTS)  # no bias


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_from: object, _to: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("encoders.heads.head.os.rename", full)
    with pytest.raises(EncoderError, match="cannot be written .*No space left"):
        head().save(tmp_path / "head")
    assert list(tmp_path.iterdir()) == []
