"""A BERT that is made and loaded in no time."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = ["red", "blue", "kettle", "mug"]
"""What it knows beside the numbers below 40."""


def tiny_bert(folder: Path) -> Path:
    """Writes one of one layer, 16 wide, with weights that a seed gives."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *map(str, range(40))]
    tokenizer = BertWordPieceTokenizer({word: number for number, word in enumerate(words)})
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), words, strict=False))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return folder
