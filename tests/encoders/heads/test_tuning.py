"""The encoder trained with its head: on a BERT of one layer that a seed makes, which knows the words of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from encoders.bert import BertTextEncoder
from encoders.errors import EncoderError
from encoders.heads.classification import Classification
from encoders.heads.fitting import evaluate, fit
from encoders.heads.head import ENCODER, Head
from encoders.heads.training import FitSettings
from tests.encoders.heads.table import COLOURS, THINGS, parts

SETTINGS = FitSettings(layers=0, tune_epochs=12, tune_batch=8, tune_rate=2e-3, words=False, penalties=(1.0,))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", *COLOURS, *THINGS]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def bert(folder: str) -> BertTextEncoder:
    return BertTextEncoder(folder, device="cpu", threads=1)


def test_the_encoder_is_trained_kept_and_read_back(tiny: str, tmp_path: Path) -> None:
    frozen = bert(tiny)
    task = Classification(parts(lambda thing, _: thing), SETTINGS)
    trained = fit(task, "text", "label", frozen, network=bert(tiny))
    report = evaluate(task, trained)
    assert trained.encoder.digest != frozen.digest
    assert report.metrics["accuracy"] > 0.9
    head = trained.save(tmp_path / "head", report)
    own = bert(str(tmp_path / "head" / ENCODER))
    assert own.digest == head.manifest.encoder == trained.encoder.digest
    texts = list(task.parts.test.texts)
    read = Head.load(tmp_path / "head")
    assert read.outputs(texts, own.encode(texts)).tobytes() == head.outputs(texts, own.encode(texts)).tobytes()
    assert any(name.startswith("encoder/") and name.endswith(".safetensors") for name in read.manifest.files)
    assert not [name for name in read.manifest.files if name.endswith((".bin", ".pkl", ".pt"))]


def test_only_the_last_layer_is_trained_where_that_is_asked_for(tiny: str) -> None:
    network = bert(tiny)
    before = {name: tensor.clone() for name, tensor in network.network.state_dict().items()}
    task = Classification(parts(lambda thing, _: thing), FitSettings(**{**SETTINGS.as_dict(), "layers": 1}))
    fit(task, "text", "label", bert(tiny), network=network)
    changed = {name for name, tensor in network.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)


def test_an_encoder_that_gets_worse_stays_as_it_was(tiny: str) -> None:
    frozen, network = bert(tiny), bert(tiny)
    broken = FitSettings(**{**SETTINGS.as_dict(), "tune_rate": 1e3})
    task = Classification(parts(lambda thing, _: thing), broken)
    trained = fit(task, "text", "label", frozen, network=network)
    assert trained.own is None
    assert trained.head.manifest.encoder == frozen.digest
    assert np.array_equal(network.encode(["red lamp"]), frozen.encode(["red lamp"]))


def test_more_layers_than_there_are(tiny: str) -> None:
    task = Classification(parts(lambda thing, _: thing), FitSettings(layers=3))
    with pytest.raises(EncoderError, match="3 layers to train, expected 1 to 2"):
        fit(task, "text", "label", bert(tiny), network=bert(tiny))
