import json
import os

import numpy as np
import pytest

from encoders.whitening import Whitening
from index.co_settings import CoSettings
from index.errors import ModelFolderError
from index.knn_settings import KnnSettings
from index.lesson import Lesson
from index.model import FORMAT, MANIFEST, Manifest, ModelFolder
from index.tables import TableSettings
from tests.index.small_tables import ITEMS, START, fitted, placed

FILES = [
    "behaviour.safetensors",
    "facts.parquet",
    "graph.safetensors",
    "index.json",
    "items.parquet",
    "sessions.parquet",
    "tables.parquet",
    "vectors.npy",
    "vectors.parquet",
    "whitening.safetensors",
]
"""Of a model whose index is small enough to be searched flat."""


@pytest.fixture
def model():
    tables = fitted(settings=TableSettings(counts=CoSettings(window=3, backward=1.0), knn=KnnSettings(k=7)))
    manifest = Manifest(data="0" * 16, text="1" * 16, settings={"until": None}, metrics={"events": 11})
    return ModelFolder(manifest, tables, ITEMS, placed(tables))


def support(model, before, after):
    return model.tables.counts.support(*model.tables.vocabulary.codes([before, after]).tolist())


def test_what_is_saved_is_loaded(model, tmp_path):
    saved = model.save(tmp_path / "shop" / "model")
    loaded = ModelFolder.load(tmp_path / "shop" / "model")
    assert loaded.manifest == saved.manifest
    assert loaded.version == saved.version
    assert loaded.tables.settings == model.tables.settings
    assert loaded.tables.digest == model.tables.digest
    assert loaded.tables.counts.to_frame().equals(model.tables.counts.to_frame())
    assert loaded.items.equals(model.items)
    codes = model.tables.vocabulary.codes(ITEMS["item_id"].to_list())
    assert loaded.index.vectors(codes).tobytes() == model.index.vectors(codes).tobytes()
    asked = model.index.vectors(codes)
    for found, expected in zip(loaded.index.search(asked, 2), model.index.search(asked, 2), strict=True):
        assert found.tolist() == expected.tolist()
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["model"]


def test_a_folder_may_be_called_anything(model, tmp_path):
    saved = model.save(tmp_path / "of [all] shops *" / "what? {model}")
    assert ModelFolder.load(tmp_path / "of [all] shops *" / "what? {model}").version == saved.version


def test_the_manifest_says_what_it_promises(model, tmp_path):
    model.save(tmp_path / "model")
    told = json.loads((tmp_path / "model" / MANIFEST).read_text())
    assert told["format"] == FORMAT == 6
    assert told["data"] == "0" * 16
    assert told["metrics"] == {"events": 11}
    assert told["product"]
    assert sorted(told["files"]) == FILES
    assert {path.name for path in (tmp_path / "model").iterdir()} == {*FILES, MANIFEST}
    assert {"settings", "seeds", "licence", "learned"} <= told.keys()
    assert told["settings"]["until"] is None
    assert TableSettings.from_dict(told["settings"]["tables"]) == model.tables.settings


def test_nothing_of_it_is_a_pickle(model, tmp_path):
    model.save(tmp_path / "model")
    assert np.load(tmp_path / "model" / "vectors.npy", allow_pickle=False).shape == (5, model.tables.layout.dimension)
    assert not [path for path in (tmp_path / "model").iterdir() if path.read_bytes()[:1] == b"\x80"]


def test_a_model_folder_is_replaced_and_its_version_changes(model, tmp_path):
    first = model.save(tmp_path / "model")
    assert model.save(tmp_path / "model").version == first.version
    before = support(model, "tea", "jam")
    model.tables.counts.observe(Lesson("jam", ["tea"], "view", START, 77, 77))
    second = model.save(tmp_path / "model")
    assert second.version != first.version
    assert support(ModelFolder.load(tmp_path / "model"), "tea", "jam") == before + 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nothing_of_the_old_folder_is_left_in_the_new(model, tmp_path):
    model.save(tmp_path / "model")
    (tmp_path / "model" / "stale").write_text("from before")
    model.save(tmp_path / "model")
    assert not (tmp_path / "model" / "stale").exists()


def test_a_fault_while_renaming_puts_the_old_folder_back(model, tmp_path, monkeypatch):
    first = model.save(tmp_path / "model")
    rename = os.rename

    def refuse_the_new(source, target):
        if str(source).endswith(".new"):
            raise OSError("Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse_the_new)
    with pytest.raises(OSError, match="Input/output"):
        model.save(tmp_path / "model")
    assert ModelFolder.load(tmp_path / "model").version == first.version
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_something_else_is_not_overwritten(model, tmp_path):
    (tmp_path / "precious").write_text("mine")
    for place in (tmp_path, tmp_path / "precious"):
        with pytest.raises(ModelFolderError, match="is no model folder"):
            model.save(place)
    assert (tmp_path / "precious").read_text() == "mine"


def test_an_empty_folder_may_be_filled(model, tmp_path):
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    assert len(ModelFolder.load(tmp_path / "model").index) == 5


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_missing_file_is_named(model, tmp_path, name):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=rf"{name}: damaged.*build it anew"):
        ModelFolder.load(tmp_path / "model")
    path.unlink()
    with pytest.raises(ModelFolderError, match=rf"{name}: missing"):
        ModelFolder.load(tmp_path / "model")


@pytest.mark.parametrize("found", [1, 99])
def test_another_format_is_named(model, tmp_path, found):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": found}))
    with pytest.raises(ModelFolderError, match=f"model format {found}, this release reads 6"):
        ModelFolder.load(tmp_path / "model")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 6}', "{"])
def test_a_manifest_that_is_none_is_named(model, tmp_path, content):
    model.save(tmp_path / "model")
    (tmp_path / "model" / MANIFEST).write_text(content)
    with pytest.raises(ModelFolderError, match="not a manifest"):
        ModelFolder.load(tmp_path / "model")


@pytest.mark.parametrize("tables", [None, {}, {"counts": {"window": 0}}, {"counts": {"no such": 1}}])
def test_settings_of_tables_that_are_none_are_named(model, tmp_path, tables):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / MANIFEST
    told = json.loads(path.read_text())
    if tables is not None:
        tables = told["settings"]["tables"] | tables if tables else tables
    path.write_text(json.dumps(told | {"settings": {"tables": tables}}))
    with pytest.raises(ModelFolderError, match="cannot be read.*build it anew"):
        ModelFolder.load(tmp_path / "model")


def test_no_folder_is_named(tmp_path):
    with pytest.raises(ModelFolderError, match="beforehand build"):
        ModelFolder.load(tmp_path / "nowhere")


def test_a_fault_while_writing_leaves_what_was_there(model, tmp_path, monkeypatch):
    first = model.save(tmp_path / "model")
    monkeypatch.setattr(Whitening, "save", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        model.save(tmp_path / "model")
    assert ModelFolder.load(tmp_path / "model").version == first.version
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
