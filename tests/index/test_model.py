import json
import os

import polars as pl
import pytest

from encoders.whitening import Whitening
from index.counts import Counts, CountSettings
from index.errors import ModelFolderError
from index.model import Manifest, ModelFolder


@pytest.fixture
def model():
    counts = Counts.fit(["s", "s", "t", "t"], ["tea", "mug", "tea", "milk"], CountSettings(window=3, backward=1.0))
    items = pl.DataFrame({"item_id": ["tea", "mug"], "title": ["Green tea", "Mug"]})
    manifest = Manifest(data="0" * 16, text="1" * 16, settings={"until": None}, metrics={"events": 4})
    return ModelFolder(manifest, counts, Whitening.identity(4), items)


def test_what_is_saved_is_loaded(model, tmp_path):
    saved = model.save(tmp_path / "shop" / "model")
    loaded = ModelFolder.load(tmp_path / "shop" / "model")
    assert loaded.manifest == saved.manifest
    assert loaded.version == saved.version
    assert loaded.counts.settings == CountSettings(window=3, backward=1.0)
    assert loaded.counts.neighbours([("tea", 1.0)], 5) == model.counts.neighbours([("tea", 1.0)], 5)
    assert loaded.whitening.digest == model.whitening.digest
    assert loaded.items.equals(model.items)
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["model"]


def test_the_manifest_says_what_it_promises(model, tmp_path):
    model.save(tmp_path / "model")
    told = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert told["format"] == 1
    assert told["data"] == "0" * 16
    assert told["metrics"] == {"events": 4}
    assert told["product"]
    assert sorted(told["files"]) == ["items.parquet", "tables.parquet", "whitening.safetensors"]
    assert {"settings", "seeds", "licence", "learned"} <= told.keys()


def test_a_model_folder_is_replaced_and_its_version_changes(model, tmp_path):
    first = model.save(tmp_path / "model")
    assert model.save(tmp_path / "model").version == first.version
    model.counts.observe("tea", "milk", "view")
    second = model.save(tmp_path / "model")
    assert second.version != first.version
    assert ModelFolder.load(tmp_path / "model").counts.support("tea", "milk") == 2
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
    assert len(ModelFolder.load(tmp_path / "model").counts) == 3


@pytest.mark.parametrize("name", ["items.parquet", "tables.parquet", "whitening.safetensors"])
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


def test_another_format_is_named(model, tmp_path):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ModelFolderError, match="model format 99, this release reads 1"):
        ModelFolder.load(tmp_path / "model")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', "{"])
def test_a_manifest_that_is_none_is_named(model, tmp_path, content):
    model.save(tmp_path / "model")
    (tmp_path / "model" / "manifest.json").write_text(content)
    with pytest.raises(ModelFolderError, match="not a manifest"):
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
