"""A BERT made to know a shop: contrastive fine-tuning of a low-rank adapter on pairs of texts.

    tuned = tune_text(texts, pairs, base="all-MiniLM-L6-v2", out=Path("adapter"))
    encoder = load_text_encoder("all-MiniLM-L6-v2", adapter=tuned.folder)

Vectors of the tuned encoder are others than those of its base: whatever was fitted on them, the whitening first, is
fitted anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.adapter import AdapterManifest, drop, refuse_other, write_adapter
from encoders.bert import load_bert
from encoders.errors import EncoderError
from encoders.finetune.pairs import TIMELESS, Pair, digest_of
from encoders.finetune.training import Checkpoint, Trainer

Note = Callable[[str, int, int], None]
"""Hears of the stage, what is done of it, and the total."""
Ranks = NDArray[np.float64]

LEAST = 20
"""Pairs that can be told from chance."""


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How an adapter is trained."""

    rank: int = 16
    """Of the low-rank matrices beside the queries' and the values' (LoRA, Hu et al. 2021, arXiv:2106.09685)."""
    alpha: int = 32
    """Their scale, times `rank`."""
    dropout: float = 0.05
    """Of their input."""
    temperature: float = 0.05
    """Of the softmax over cosines (InfoNCE, van den Oord et al. 2018, arXiv:1807.03748)."""
    learning_rate: float = 5e-4
    """Of AdamW, at its highest; it rises over a tenth of the steps and falls to 0."""
    batch: int = 128
    """Pairs of a step: a text is told from the positives of all others in it."""
    epochs: int = 1
    """Times that every pair is seen."""
    max_tokens: int = 32
    """A longer text is cut, in training alone."""
    duplicate: float = 0.9
    """A text whose cosine with the right one is above this, by the model before tuning, is no wrong one."""
    masked_epochs: int = 0
    """Times that the catalogue is read with words masked, before the pairs are."""
    held_out: int = 500
    """Newest pairs that training stops by, a fifth of all at most; they are not trained on."""
    checks: int = 4
    """Times an epoch that these are looked at."""
    patience: int = 3
    """Looks without a better one that end the training."""
    seed: int = 0
    """Of first weights, batches, dropout and masks."""

    def __post_init__(self) -> None:
        whole = (self.rank, self.alpha, self.epochs, self.held_out, self.checks, self.patience)
        if min(whole) < 1 or self.batch < 2 or self.max_tokens < 3 or self.masked_epochs < 0:
            raise ValueError(
                f"{self}: expected rank, alpha, epochs, held_out, checks and patience of at least 1, batch of 2, "
                "max_tokens of 3"
            )
        if not (self.temperature > 0 and self.learning_rate > 0 and 0 <= self.dropout < 1):
            raise ValueError(f"{self}: expected temperature and learning_rate above 0, dropout from 0 to below 1")


@dataclass(frozen=True, slots=True)
class TunedText:
    """An adapter, and what it made of the pairs that it had not seen."""

    folder: Path
    manifest: AdapterManifest
    ranks_before: Ranks
    """Of each held-out pair: where the right text stands among those of all, by cosine, from 1; before tuning."""
    ranks_after: Ranks
    metrics: dict[str, float] = field(default_factory=dict)
    """held_out, accuracy (first of all) and recall_10 before and after, steps, seconds; as in the manifest."""


def tune_text(
    texts: Mapping[str, str],
    pairs: Sequence[Pair],
    *,
    base: str,
    out: Path,
    settings: TuneSettings | None = None,
    device: str = "auto",
    budget_s: float | None = None,
    note: Note | None = None,
    log_dir: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TunedText:
    """Trains an adapter of `base` and writes it to `out`, beside and renamed.

    It goes on from a checkpoint, `.<name>.checkpoint` beside `out`, that an earlier call of equal input left when it
    was stopped; a call that ends removes it. Equal input gives an equal adapter on one machine with one number of
    threads, unless the budget cuts it. About 15 minutes of one core for 20,000 pairs of titles on the default model.

    Args:
        texts: of the catalogue, by item id: what is read with words masked, where the settings ask for it.
        pairs: of the training window alone.
        base: a BERT, as `encoders.bert` takes it.
        device: `auto`, `cpu` or `cuda`.
        budget_s: seconds after which training stops with what is best so far.
        note: hears of "reading", "masked" and "pairs".
        log_dir: where TensorBoard's logs go; needs the package tensorboard.

    Raises:
        EncoderError: too few pairs, no such model or device, or `out` cannot be written or is something else.
    """
    its = settings or TuneSettings()
    refuse_other(out)
    training, held = _parted(pairs, its)
    tokenizer, model = load_bert(base)
    checkpoint = Checkpoint(out.parent / f".{out.name}.checkpoint", digest_of(texts, pairs))
    begun = clock()
    trainer = Trainer(tokenizer, model, its, device=device, checkpoint=checkpoint, log_dir=log_dir)
    say = note or (lambda _stage, _done, _total: None)
    before = trainer.ranks(held)
    trainer.read_guide(training, lambda done, total: say("reading", done, total))

    def over() -> bool:
        return budget_s is not None and clock() - begun > budget_s

    steps = trainer.train(list(dict.fromkeys(texts.values())), training, held, over, lambda *told: say(*told))
    after = trainer.ranks(held)
    metrics = {
        "pairs": float(len(training)),
        "held_out": float(len(held)),
        "accuracy_before": float((before <= 1).mean()),
        "accuracy": float((after <= 1).mean()),
        "recall_10_before": float((before <= 10).mean()),
        "recall_10": float((after <= 10).mean()),
        "steps": float(steps),
        "tune_s": round(clock() - begun, 1),
    }
    manifest = AdapterManifest(trainer.base, checkpoint.data, its.seed, asdict(its), metrics)
    manifest = write_adapter(out, trainer.save, manifest)
    drop(checkpoint.folder)
    return TunedText(out, manifest, before, after, metrics)


def _parted(pairs: Sequence[Pair], settings: TuneSettings) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and the newest ones that visitors made, whose texts in that order no other pair has."""
    made = sorted((pair for pair in pairs if pair.time > TIMELESS), key=lambda pair: pair.time)
    count = min(settings.held_out, len(made) // 5)
    if count < LEAST:
        raise EncoderError(
            f"{len(made)} pairs that visitors made, expected at least {5 * LEAST}: fewer do not tell learning from "
            "chance; give more of the log"
        )
    held = made[-count:]
    told = {(pair.anchor, pair.positive) for pair in held}
    told |= {(positive, anchor) for anchor, positive in told}
    training = [pair for pair in pairs if (pair.anchor, pair.positive) not in told]
    if len(training) < 2:
        raise EncoderError(f"{len(pairs)} pairs, of which {len(training)} are not held out; give more of the log")
    return training, held
