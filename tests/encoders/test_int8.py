import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from transformers import AutoTokenizer, BertModel

from encoders.bert import DEFAULT_MODEL, BertTextEncoder
from encoders.errors import EncoderError
from encoders.int8 import GRAPH, MANIFEST, Int8TextEncoder
from encoders.int8_export import exported
from tests.suites.text_suite import TextSuite


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def folder(tiny, exports):
    return exported(str(tiny), exports)


class TestInt8TextEncoder(TextSuite):
    @pytest.fixture(autouse=True)
    def _made(self, exports):
        self.folder = exported(DEFAULT_MODEL, exports)

    def make(self):
        return Int8TextEncoder(self.folder)


def test_it_is_near_the_float32_model_at_every_length(exports, bert):
    texts = ["tea", "OPI nail lacquer, red, 15 ml", "shampoo for dry hair " * 8, "whole milk one litre " * 40]
    int8 = Int8TextEncoder(exported(DEFAULT_MODEL, exports)).encode(texts)
    assert (int8 * bert.encode(texts)).sum(axis=1).min() > 0.975


def test_a_text_has_the_same_vector_to_the_bit_whatever_stands_beside_it(folder):
    encoder = Int8TextEncoder(folder)
    texts = [" ".join(["red", "mug", "blue", "7", "kettle"][: 1 + n % 5]) + f" {n}" for n in range(20)]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert (encoder.encode(texts) == alone).all()


def test_a_text_put_together_of_tokens_is_read_as_the_text(folder):
    encoder = Int8TextEncoder(folder, max_tokens=12)
    texts = ["red mug", "blue kettle 7 mug", "mug " * 30, ""]
    rows = [encoder.tokens(text) for text in texts]
    assert [len(row) for row in rows] == [2, 4, encoder.room, 0]
    assert encoder.room == 10
    assert encoder.read(rows).tobytes() == encoder.encode(texts).tobytes()
    both = encoder.read([rows[0] + rows[1]])
    assert both.tobytes() == encoder.encode([" ".join(texts[:2])]).tobytes()


def test_weights_are_integers(folder):
    import onnx  # noqa: PLC0415  for one test

    operators = [node.op_type for node in onnx.load(folder / GRAPH).graph.node]
    assert operators.count("MatMulInteger") == 6  # query, key, value, what leaves attention, up and down
    assert operators.count("MatMul") == 2  # of two that are both computed: scores and values of attention


def test_it_is_made_once_and_found_again(tiny, folder, exports):
    made = (folder / GRAPH).stat().st_mtime_ns
    assert exported(str(tiny), exports) == folder
    assert (folder / GRAPH).stat().st_mtime_ns == made
    assert [path.name for path in exports.glob(".*")] == []


def test_serving_loads_neither_torch_nor_transformers(folder):
    program = (
        "import sys\nfrom pathlib import Path\nfrom encoders.int8 import Int8TextEncoder\n"
        f"print(Int8TextEncoder(Path({str(folder)!r})).encode(['mug']).shape, 'torch' in sys.modules,"
        " 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 16) False False\n"


def test_the_digest_follows_weights_and_length(tiny, folder, exports, tmp_path):
    digest = Int8TextEncoder(folder).digest
    assert Int8TextEncoder(folder, threads=2).digest == digest
    assert Int8TextEncoder(folder, max_tokens=16).digest != digest
    assert BertTextEncoder(str(tiny), device="cpu").digest != digest
    other = BertModel.from_pretrained(tiny)
    other.encoder.layer[0].output.dense.bias.data += 0.01
    other.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    assert Int8TextEncoder(exported(str(tmp_path), exports)).digest != digest


def test_a_longer_text_is_cut(folder):
    one, two = Int8TextEncoder(folder, max_tokens=6).encode(["red blue mug kettle 1 2 3", "red blue mug kettle 9 8"])
    assert (one == two).all()


@pytest.mark.parametrize("harm", ["cut", "gone", "told"])
def test_a_folder_that_is_not_whole_is_refused(folder, tmp_path, harm):
    copy = shutil.copytree(folder, tmp_path / "copy")
    if harm == "cut":
        (copy / GRAPH).write_bytes((copy / GRAPH).read_bytes()[:-9])
    elif harm == "gone":
        (copy / GRAPH).unlink()
    else:
        (copy / MANIFEST).write_text(json.dumps({"format": 1}))
    with pytest.raises(EncoderError, match="remove the folder, it is made anew"):
        Int8TextEncoder(copy)


def test_where_nothing_can_be_written_the_remedy_is_named(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EncoderError, match="BEFOREHAND_ENCODER__CACHE_DIR"):
        exported(str(tiny), tmp_path / "file")


def test_wrong_arguments_are_refused(folder):
    with pytest.raises(EncoderError, match="threads 0"):
        Int8TextEncoder(folder, threads=0)
