import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from encoders.bert import BertTextEncoder

WORDS = ["red", "blue", "kettle", "mug"]


@pytest.fixture(scope="session")
def bert():
    """The default model, loaded once."""
    return BertTextEncoder(device="cpu", threads=2)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a BERT of one layer, 16 wide, with weights that a seed gives."""
    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *map(str, range(40))]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return folder
