"""A model folder brings the adapter of its text encoder, and a switch takes both or neither."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from encoders.adapter import FILES, MANIFEST
from encoders.cache import CachedTextEncoder
from encoders.folders import sha256
from encoders.whitening import Whitening
from index.model import ADAPTER, ModelFolder
from index.model import MANIFEST as MODEL_MANIFEST
from streaming.app import WorkerApp, create_app
from streaming.control import Orders
from streaming.errors import InputError
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.ranking import RankingSettings
from streaming.records import Control, Item, Receipt
from streaming.reranking import PARTS
from streaming.settings import EncoderSettings, Settings, TriggerSettings, WorkerSettings
from streaming.text_encoder import TextEncoders, text_encoder
from tests.encoders.heads.table import save_thing
from tests.stories.small_shop import Visitor, offers
from tests.streaming.small_past import model_at, ranking_of
from tests.tiny_bert import tiny_adapter, tiny_bert

GOODS = pl.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(24)],
        "title": [f"{('red', 'blue')[n % 2]} {('kettle', 'mug')[n // 2 % 2]} {n}" for n in range(24)],
    }
)
BY_TEXT = RankingSettings(**(dict.fromkeys(PARTS, 0.0) | {"text": 1.0}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def adapters(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return tiny_adapter(folder / "one", tiny, 1), tiny_adapter(folder / "two", tiny, 2)


def settings_of(tiny: Path, folder: Path, model: Path | None = None, adapter: Path | None = None) -> Settings:
    return Settings(
        no_pseudonyms=True,
        encoder=EncoderSettings(model=str(tiny), device="cpu", threads=1, adapter=adapter),
        triggers=TriggerSettings(offers=3),
        worker=WorkerSettings(id="w0", data_dir=folder / "data", port=0, model=model),
    )


@pytest.fixture(scope="module")
def models(
    tiny: Path, adapters: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path]:
    """Of the base model, and of both adapters."""
    folder = tmp_path_factory.mktemp("models")
    made = []
    for name, adapter in (("base", None), ("one", adapters[0]), ("two", adapters[1])):
        with text_encoder(settings_of(tiny, folder), adapter) as texts:
            told = ranking_of(BY_TEXT)
            made.append(model_at(folder / name, "i0 i1", items=GOODS, texts=texts, told=told, adapter=adapter))
    return made[0], made[1], made[2]


class Worker:
    """A worker without its broker, which can be told to switch."""

    def __init__(self, settings: Settings) -> None:
        self.app: WorkerApp = create_app(settings)
        self.app.shop.upsert(list(items_of(GOODS)))
        self.receipts: list[Receipt] = []
        self.visitors = 0

    def told(self, model: Path, **more: int) -> Receipt:
        async def send(receipt: Receipt) -> None:
            self.receipts.append(receipt)

        async def story() -> None:
            app = self.app
            orders = Orders(
                "w0",
                app.batcher,
                app.pseudonyms,
                in_model_thread=app.in_model_thread,
                open_model=app.switching.open,
                serve_model=app.serve_model,
                drop_model=app.switching.drop,
                send=send,
            )
            await orders.carry_out(Control(control_id="c", action="switch_model", model=str(model), **more), 0)

        asyncio.run(story())
        return self.receipts[-1]

    def asked(self, words: str) -> list[str]:
        self.visitors += 1
        return offers(Visitor(self.app.engine, f"v{self.visitors}").does(self.visitors, "search", query=words))

    @property
    def open(self) -> dict[str, int]:
        """Digest -> users of the text encoders that are loaded."""
        return dict(self.app.encoders._users)


def answers(settings: Settings, model: Path, *words: str) -> list[list[str]]:
    """What a worker that began with this model says."""
    fresh = Worker(settings.model_copy(update={"worker": settings.worker.model_copy(update={"model": model})}))
    return [fresh.asked(each) for each in words]


WORDS = ("red 7", "blue kettle", "mug 20", "kettle 3 red")


def test_a_model_folder_brings_its_adapter_and_is_served_with_it(
    tiny: Path, models: tuple[Path, Path, Path], adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    loaded = ModelFolder.load(models[1])
    assert loaded.adapter == models[1] / ADAPTER
    assert {f"{ADAPTER}/{name}" for name in (*FILES, MANIFEST)} < loaded.manifest.files.keys()
    assert [sha256(models[1] / ADAPTER / name) for name in FILES] == [sha256(adapters[0] / name) for name in FILES]
    assert ModelFolder.load(models[0]).adapter is None
    worker = Worker(settings_of(tiny, tmp_path, models[1]))  # nobody named the adapter
    assert worker.app.shop.texts.digest == loaded.manifest.text
    assert worker.open == {loaded.manifest.text: 1}


def test_a_switch_takes_the_adapter_along_there_and_back(
    tiny: Path, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    settings = settings_of(tiny, tmp_path, models[1])
    wanted = {model: answers(settings, model, *WORDS) for model in models}
    assert wanted[models[0]] != wanted[models[1]] != wanted[models[2]] != wanted[models[0]]
    worker = Worker(settings)
    digests = {model: ModelFolder.load(model).manifest.text for model in models}
    assert [worker.asked(each) for each in WORDS] == wanted[models[1]]
    for before, after in ((1, 2), (2, 0), (0, 1), (1, 1)):
        receipt = worker.told(models[after])
        assert receipt.done
        changed = f", with text encoder {digests[models[after]]} in place of {digests[models[before]]}"
        assert receipt.why == f"serving {models[after]}" + (changed if before != after else "")
        assert [worker.asked(each) for each in WORDS] == wanted[models[after]]
        assert worker.open == {digests[models[after]]: 1}


def test_items_that_come_after_the_switch_are_read_by_the_new_adapter(
    tiny: Path, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    worker = Worker(settings_of(tiny, tmp_path, models[1]))
    new, old = Item(item_id="new", title="blue mug 39"), Item(item_id="old", title="red mug 38")
    worker.app.shop.upsert([old])
    assert worker.told(models[2]).done
    worker.app.shop.upsert([new])
    with text_encoder(settings_of(tiny, tmp_path), models[2] / ADAPTER) as texts:
        for item in (new, old):
            found = worker.app.shop.row_of(item.item_id)
            assert found is not None
            np.testing.assert_allclose(found[: texts.dimension], texts.encode([item.title])[0], atol=1e-5)


def test_a_session_that_goes_on_is_read_anew_by_the_new_adapter(
    tiny: Path, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """No vector is kept in its state: its history is folded again."""
    settings = settings_of(tiny, tmp_path, models[1])
    settings = settings.model_copy(update={"rules": settings.rules.model_copy(update={"quiet_ms": 0, "min_gain": 0})})
    found = []
    for began in (models[1], models[2]):
        worker = Worker(settings.model_copy(update={"worker": settings.worker.model_copy(update={"model": began})}))
        visitor = Visitor(worker.app.engine)
        visitor.does(0, "search", query="red mug")
        if began != models[2]:
            assert worker.told(models[2]).done
        worker.app.engine.forgets = True
        found.append(offers(visitor.does(60_000, "search", query="kettle 11")))
    assert found[0] == found[1]


def test_what_sessions_will_ask_for_is_read_before_the_switch(
    tiny: Path, models: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(settings_of(tiny, tmp_path, models[1]))
    worker.app.shop.upsert([Item(item_id="live", title="blue mug 30")])
    worker.asked("red 7")
    opened = worker.app.switching.open(models[2])
    texts = opened.texts
    assert isinstance(texts, CachedTextEncoder)
    monkeypatch.setattr(texts.inner, "encode", lambda _texts: pytest.fail("encoded at the switch"))
    worker.app.serve_model(opened)
    worker.asked("red 7")


def _cut(model: Path) -> None:
    path = model / ADAPTER / FILES[1]
    path.write_bytes(path.read_bytes()[:-20])


def _gone(model: Path) -> None:
    (model / ADAPTER / FILES[1]).unlink()


def _renewed(model: Path) -> None:
    """Sums of the model's manifest follow what became of its files."""
    path = model / MODEL_MANIFEST
    told = json.loads(path.read_text())
    told["files"] = {name: sha256(model / name) for name in told["files"]}
    path.write_text(json.dumps(told))


def _cut_and_signed(model: Path) -> None:
    _cut(model)
    _renewed(model)


def _nothing_in_it(model: Path) -> None:
    path = model / ADAPTER / MANIFEST
    (model / ADAPTER / FILES[1]).write_bytes(b"")
    told = json.loads(path.read_text())
    told["files"][FILES[1]] = sha256(model / ADAPTER / FILES[1])
    path.write_text(json.dumps(told))
    _renewed(model)


def _another_base(model: Path) -> None:
    path = model / ADAPTER / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base": "0" * 16}))
    _renewed(model)


def _another_adapter(model: Path) -> None:
    shutil.rmtree(model / ADAPTER)
    shutil.copytree(model.parent / "other", model / ADAPTER)
    _renewed(model)


def _another_dimension(model: Path) -> None:
    Whitening.identity(64).save(model / "whitening.safetensors")
    _renewed(model)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_cut, f"{ADAPTER}/{FILES[1]}: damaged"),
        (_gone, f"{ADAPTER}/{FILES[1]}: missing"),
        (_cut_and_signed, "it is damaged, tune the texts anew"),
        (_nothing_in_it, "the adapter cannot be loaded"),
        (_another_base, "tuned on text model 0000000000000000, expected"),
        (_another_adapter, "built with text encoder"),
        (_another_dimension, "takes text vectors of 64 numbers, expected 16"),
    ],
)
def test_an_adapter_that_is_not_right_is_refused_and_nothing_changes(
    tiny: Path,
    models: tuple[Path, Path, Path],
    adapters: tuple[Path, Path],
    tmp_path: Path,
    harm: Callable[[Path], None],
    why: str,
) -> None:
    worker = Worker(settings_of(tiny, tmp_path, models[1]))
    before, open_before, said = worker.app.shop, worker.open, [worker.asked(each) for each in WORDS]
    shutil.copytree(adapters[0], tmp_path / "other")
    broken = Path(shutil.copytree(models[2], tmp_path / "broken"))
    harm(broken)
    receipt = worker.told(broken)
    assert not receipt.done
    assert why in receipt.why
    assert worker.app.shop is worker.app.engine.shop is before
    assert worker.open == open_before
    assert [worker.asked(each) for each in WORDS] == said
    assert worker.told(models[2]).done


def test_a_folder_without_its_adapter_is_served_with_the_one_that_is_named(
    tiny: Path, models: tuple[Path, Path, Path], adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    """As those of earlier releases are."""
    named = settings_of(tiny, tmp_path, adapter=adapters[0])
    with text_encoder(named) as texts:
        bare = model_at(tmp_path / "bare", "i0 i1", items=GOODS, texts=texts, told=ranking_of(BY_TEXT))
    assert not (bare / ADAPTER).exists()
    encoders = TextEncoders(named)
    own = encoders.of_folder(bare)
    assert own.digest == texts.digest == ModelFolder.load(models[1]).manifest.text
    base = encoders.of_folder(models[0])  # whatever is named: the folder says which
    assert base.digest == ModelFolder.load(models[0]).manifest.text != own.digest
    assert encoders.of_folder(models[1]) is own
    with pytest.raises(InputError, match=r"built with text encoder .*BEFOREHAND_ENCODER__ADAPTER, where it had one"):
        Shop.open(bare, TextEncoders(settings_of(tiny, tmp_path)).of_folder(bare))


def test_an_encoder_is_loaded_once_and_goes_with_its_last_user(
    tiny: Path, models: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoders = TextEncoders(settings_of(tiny, tmp_path))
    one = encoders.of_folder(models[1])
    assert encoders.of_folder(models[1]) is one
    encoders.share(one.digest)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            encoders.release(one.digest)
            assert "let go" not in caplog.text
        encoders.release(one.digest)
    assert f"text encoder {one.digest} is let go" in caplog.text
    assert encoders.of_folder(models[1]) is not one
    assert sorted(path.name for path in (tmp_path / "data" / "vectors").iterdir())[0].startswith(one.digest)


def test_a_worker_does_not_begin_with_an_adapter_that_is_damaged(
    tiny: Path, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(models[1], tmp_path / "broken"))
    _cut(broken)
    with pytest.raises(InputError, match=f"{ADAPTER}: .*is damaged"):
        create_app(settings_of(tiny, tmp_path, broken))


def test_heads_go_on_with_the_encoder_that_they_were_trained_on(
    tiny: Path, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    began = settings_of(tiny, tmp_path, models[1])
    with text_encoder(began, models[1] / ADAPTER) as texts:
        save_thing(tmp_path / "head", texts)
    worker = Worker(began.model_copy(update={"heads": (f"thing={tmp_path / 'head'}",)}))
    digests = [ModelFolder.load(model).manifest.text for model in models]
    assert worker.open == {digests[1]: 2}
    assert worker.told(models[2]).done
    assert worker.open == {digests[1]: 1, digests[2]: 1}
    assert worker.told(models[1]).done
    assert worker.open == {digests[1]: 2}


def test_in_int8_the_folder_brings_base_and_adapter_in_one_and_torch_is_not_needed(
    tiny: Path, adapters: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def int8(folder: Path, model: Path | None = None) -> Settings:
        its = settings_of(tiny, folder, model)
        return its.model_copy(update={"encoder": its.encoder.model_copy(update={"precision": "int8"})})

    models = []
    for number, adapter in enumerate(adapters):
        with text_encoder(int8(tmp_path / "built"), adapter) as texts:
            made = tmp_path / f"model-{number}"
            models.append(model_at(made, "i0 i1", items=GOODS, texts=texts, told=ranking_of(BY_TEXT), adapter=adapter))
    monkeypatch.setattr("encoders.int8_export.BertTextEncoder", lambda *_, **__: pytest.fail("torch was asked"))
    worker = Worker(int8(tmp_path / "served", models[0]))
    assert worker.told(models[1]).done
    assert [worker.asked(each) for each in WORDS] == answers(int8(tmp_path / "other", None), models[1], *WORDS)
    assert not list((tmp_path / "served").rglob("*.int8"))
    broken = Path(shutil.copytree(models[0], tmp_path / "broken"))
    graph = broken / ADAPTER / "int8" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-20])
    assert "int8/model.onnx: damaged" in worker.told(broken).why
    _renewed(broken)
    assert "model.onnx is damaged" in worker.told(broken).why
    assert worker.open == {ModelFolder.load(models[1]).manifest.text: 1}
