import numpy as np
import pytest

from encoders import text
from encoders.bert import BertTextEncoder
from encoders.errors import EncoderError
from encoders.text import DummyTextEncoder, load_text_encoder
from tests.suites.text_suite import TextSuite


class TestDummyTextEncoder(TextSuite):
    def make(self):
        return DummyTextEncoder()


def test_the_order_and_case_of_words_mean_nothing_to_the_dummy():
    one, two = DummyTextEncoder().encode(["Red KETTLE", "kettle  red"])
    assert (one == two).all()


def test_more_shared_words_are_nearer():
    encoder = DummyTextEncoder()
    base, near, far, none = encoder.encode(["a b c d", "a b c x", "a x y z", "u v w x"])
    assert base @ near > base @ far > base @ none
    assert abs(base @ none) < 0.3


def test_random_texts_are_not_alike():
    vectors = DummyTextEncoder().encode([f"word{number}" for number in range(300)])
    cosines = (vectors @ vectors.T)[~np.eye(300, dtype=bool)]
    assert abs(cosines.mean()) < 0.01
    assert cosines.std() == pytest.approx(1 / 8, abs=0.01)


def test_dummy_is_loaded_by_name():
    assert isinstance(load_text_encoder("dummy"), DummyTextEncoder)


def test_another_name_is_a_bert_with_the_settings_handed_on(monkeypatch):
    asked = []
    monkeypatch.setattr(text, "BertTextEncoder", lambda *args, **settings: asked.append((args, settings)))
    load_text_encoder("some/bert", "cpu", 8, 2, 16)
    told = {"device": "cpu", "batch": 8, "threads": 2, "max_tokens": 16, "adapter": None, "beside": None}
    assert asked == [(("some/bert",), told)]


def test_on_a_cpu_auto_is_int8(tiny, tmp_path):
    chosen = {
        precision: load_text_encoder(str(tiny), "cpu", precision=precision, exports=tmp_path)
        for precision in ("auto", "int8", "float32")
    }
    assert isinstance(chosen["float32"], BertTextEncoder)
    assert chosen["auto"].digest == chosen["int8"].digest != chosen["float32"].digest


def test_what_cannot_go_together_is_refused(tiny, tmp_path):
    with pytest.raises(EncoderError, match="'int8' on 'cuda'"):
        load_text_encoder(str(tiny), "cuda", precision="int8", exports=tmp_path)
    with pytest.raises(EncoderError, match="expected `exports`"):
        load_text_encoder(str(tiny), "cpu", precision="int8")
    with pytest.raises(EncoderError, match="'dummy', expected a BERT"):
        load_text_encoder("dummy", adapter=tmp_path)


def test_no_such_folder_names_what_was_asked_for(tmp_path):
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load_text_encoder(str(tmp_path))
