"""The settings name a text encoder, and where its vectors are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming.errors import InputError
from streaming.settings import Settings
from streaming.text_encoder import text_encoder


def settings(folder: Path, **encoder: object) -> Settings:
    return Settings.from_environment(encoder=encoder, worker={"data_dir": folder / "data"})


def test_vectors_are_kept_under_the_data_folder_unless_a_place_is_named(tmp_path: Path) -> None:
    for named, kept in ((None, tmp_path / "data" / "vectors"), (tmp_path / "there", tmp_path / "there")):
        with text_encoder(settings(tmp_path, model="dummy", cache_dir=named)) as texts:
            assert texts.encode(["red tea"]).shape == (1, texts.dimension)
        assert [path.name for path in kept.glob("*.sqlite")] == [f"{texts.digest}.sqlite"]


def test_a_model_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such-model"):
        text_encoder(settings(tmp_path, model=str(tmp_path / "no-such-model")))
