"""Fine-tuning of a text encoder on a shop's own texts and log."""

from encoders.finetune.pairs import Pair, fact_pairs, next_item_pairs, query_pairs, sampled
from encoders.finetune.tuning import TunedText, TuneSettings, tune_text

__all__ = [
    "Pair",
    "TuneSettings",
    "TunedText",
    "fact_pairs",
    "next_item_pairs",
    "query_pairs",
    "sampled",
    "tune_text",
]
