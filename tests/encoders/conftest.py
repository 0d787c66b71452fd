import pytest

from encoders.bert import BertTextEncoder


@pytest.fixture(scope="session")
def bert():
    """The default model, loaded once."""
    return BertTextEncoder(device="cpu", threads=2)
