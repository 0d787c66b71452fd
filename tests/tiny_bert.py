"""A BERT that is made and loaded in no time, and adapters of it."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from encoders.adapter import AdapterManifest, write_adapter
from encoders.bert import base_digest, load_bert

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


def tiny_adapter(folder: Path, base: Path, seed: int = 0) -> Path:
    """Writes an adapter of it, with weights that a seed gives: far from nothing, so that vectors are others."""
    tokenizer, model = load_bert(str(base))
    digest = base_digest(tokenizer, model)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], bias="none"))
    torch.manual_seed(seed)
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=1.0)
    write_adapter(
        folder, lambda place: tuned.save_pretrained(str(place)), AdapterManifest(digest, "0" * 16, seed, {}, {})
    )
    return folder
