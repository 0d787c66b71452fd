import pytest

from encoders.bert import BertTextEncoder
from tests.tiny_bert import tiny_bert


@pytest.fixture(scope="session")
def bert():
    """The default model, loaded once."""
    return BertTextEncoder(device="cpu", threads=2)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a BERT of one layer, 16 wide."""
    return tiny_bert(tmp_path_factory.mktemp("tiny"))
