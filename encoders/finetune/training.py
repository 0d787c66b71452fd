"""The training of an adapter: batches, the contrastive loss, masked words, checkpoints. Imports torch, and peft."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from encoders.adapter import drop
from encoders.bert import base_digest, on_gpu
from encoders.errors import EncoderError
from encoders.finetune.pairs import Pair

if TYPE_CHECKING:
    import torch

    from encoders.finetune.tuning import TuneSettings

MASK_SHARE = 0.15
"""Of the tokens, what is asked for (Devlin et al. 2019): 8 in 10 of these are masked, one is another, one stays."""
TEXTS_AT_ONCE = 128
TARGETS = ["query", "value"]
"""Names of the matrices beside which LoRA learns, as BERT has them."""


class Checkpoint:
    """Where training stands, in safetensors and JSON; one folder, written beside and renamed."""

    def __init__(self, folder: Path, data: str) -> None:
        self.folder = folder
        self.data = data

    def write(self, told: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Replaces what was there."""
        from safetensors.torch import save_file  # noqa: PLC0415  imports torch

        beside = self.folder.with_name(f"{self.folder.name}.{os.getpid()}")
        drop(beside)
        beside.mkdir(parents=True)
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside / "state.safetensors"
        )
        (beside / "state.json").write_text(json.dumps(told), encoding="utf-8")
        drop(self.folder)
        os.replace(beside, self.folder)

    def read(self, key: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """What stood there, where it is whole and of this training; else None."""
        from safetensors.torch import load_file  # noqa: PLC0415  imports torch

        try:
            told = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
            tensors = load_file(self.folder / "state.safetensors")
        except (OSError, ValueError, SafetensorError):
            return None
        return (told, tensors) if told.get("key") == key else None


class Trainer:
    """A BERT with an adapter, and one training of it."""

    def __init__(
        self,
        tokenizer: Any,
        model: Any,
        settings: TuneSettings,
        *,
        device: str,
        checkpoint: Checkpoint,
        log_dir: Path | None,
    ) -> None:
        import torch  # noqa: PLC0415  seconds, and whoever only encodes needs none of it
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415  as torch

        if device == "cuda" and not torch.cuda.is_available():
            raise EncoderError("device 'cuda': torch sees no GPU here; use 'auto' or 'cpu'")
        self._torch = torch
        self._its = settings
        self._device = "cuda" if on_gpu(device) else "cpu"
        self._tokenizer = tokenizer
        self.base = base_digest(tokenizer, model)
        """Of the model before."""
        self._checkpoint = checkpoint
        torch.manual_seed(settings.seed)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=TARGETS,
            bias="none",
        )
        try:
            self._model = get_peft_model(model, config).to(self._device)
        except ValueError as exc:
            raise EncoderError(
                f"text model {type(model).__name__}: has no matrices named {' and '.join(TARGETS)} ({exc}); "
                "expected a BERT"
            ) from exc
        self._learning = {name: its for name, its in self._model.named_parameters() if its.requires_grad}
        self._guide: dict[str, NDArray[np.float32]] = {}
        self._log = _log_to(log_dir)

    def save(self, folder: Path) -> None:
        """The adapter as peft writes it."""
        self._model.save_pretrained(str(folder), safe_serialization=True)
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = None  # a path of this machine; the manifest names the base by digest
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")

    def ranks(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """(n,): of each pair where its positive stands among all distinct positives by cosine, from 1; equals share the
        middle. The anchor itself does not compete."""
        positives = {text: place for place, text in enumerate(dict.fromkeys(pair.positive for pair in pairs))}
        right = np.array([positives[pair.positive] for pair in pairs])
        anchors = self._encoded([pair.anchor for pair in pairs])
        scores = anchors @ self._encoded(list(positives)).T  # (n, distinct)
        for row, pair in enumerate(pairs):
            if pair.anchor in positives:
                scores[row, positives[pair.anchor]] = -2
        own = scores[np.arange(len(pairs)), right][:, None]
        ranks: NDArray[np.float64] = 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
        return ranks

    def read_guide(self, pairs: Iterable[Pair], note: Callable[[int, int], None]) -> None:
        """What the model says of every positive before it is tuned."""
        texts = list(dict.fromkeys(pair.positive for pair in pairs))
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = texts[start : start + TEXTS_AT_ONCE]
            self._guide |= zip(part, self._encoded(part), strict=True)
            note(start + len(part), len(texts))

    def train(
        self,
        texts: Sequence[str],
        pairs: Sequence[Pair],
        held: Sequence[Pair],
        over: Callable[[], bool],
        note: Callable[[str, int, int], None],
    ) -> int:
        """Trains, and leaves the adapter as it was at its best look at the held-out pairs.

        Args:
            over: asked before each step: whether to stop.

        Returns:
            steps on pairs that were made.
        """
        its, torch = self._its, self._torch
        per_epoch = math.ceil(len(pairs) / its.batch)
        total, between = per_epoch * its.epochs, max(1, per_epoch // its.checks)
        optimiser = torch.optim.AdamW(self._learning.values(), lr=its.learning_rate, weight_decay=0.01)
        key = f"{self._checkpoint.data} {self.base} {self._its}"
        step, best, waited, kept = 0, -1.0, 0, self._weights()
        if (found := self._checkpoint.read(key)) is not None:
            told, tensors = found
            step, best, waited = told["step"], told["best"], told["waited"]
            kept = {name: tensors[f"best {name}"] for name in self._learning}
            self._resume(optimiser, tensors)
        else:
            self._read_masked(texts, over, note)
            best = self._recall(held)
            kept = self._weights()
        known = {(pair.anchor, pair.positive) for pair in pairs}
        while step < total and waited < its.patience and not over():
            epoch, place = divmod(step, per_epoch)
            order = np.random.default_rng((its.seed, epoch)).permutation(len(pairs))
            batch = [pairs[row] for row in order[place * its.batch : (place + 1) * its.batch]]
            for group in optimiser.param_groups:
                group["lr"] = its.learning_rate * _share(step, total)
            torch.manual_seed(its.seed * 1_000_003 + step)  # so that what goes on from a checkpoint draws the same
            loss = self._step(optimiser, batch, known)
            step += 1
            self._tell("loss", loss, step)
            note("pairs", step, total)
            if step % between == 0 or step == total:
                recall = self._recall(held)
                self._tell("held_out_mrr", recall, step)
                waited = 0 if recall > best else waited + 1
                if recall > best:
                    best, kept = recall, self._weights()
                state = {f"best {name}": tensor for name, tensor in kept.items()} | self._state(optimiser)
                self._checkpoint.write({"key": key, "step": step, "best": best, "waited": waited}, state)
        with torch.no_grad():
            for name, parameter in self._learning.items():
                parameter.copy_(kept[name])
        if self._log is not None:
            self._log.close()
        return step

    def _step(self, optimiser: Any, batch: Sequence[Pair], known: set[tuple[str, str]]) -> float:
        """One step of symmetric InfoNCE; what is no wrong answer is left out of the softmax."""
        torch = self._torch
        self._model.train()
        vectors = self._forward([pair.anchor for pair in batch] + [pair.positive for pair in batch])
        anchors, positives = vectors[: len(batch)], vectors[len(batch) :]
        scores = anchors @ positives.T / self._its.temperature  # (b, b)
        out = torch.from_numpy(not_wrong(batch, self._guide, known, self._its.duplicate)).to(scores.device)
        scores = scores.masked_fill(out, -torch.inf)
        right = torch.arange(len(batch), device=scores.device)
        loss = (
            torch.nn.functional.cross_entropy(scores, right) + torch.nn.functional.cross_entropy(scores.T, right)
        ) / 2
        return self._learn(optimiser, loss)

    def _learn(self, optimiser: Any, loss: Any) -> float:
        optimiser.zero_grad()
        loss.backward()
        self._torch.nn.utils.clip_grad_norm_(self._learning.values(), 1.0)
        optimiser.step()
        return float(loss.detach())

    def _read_masked(
        self, texts: Sequence[str], over: Callable[[], bool], note: Callable[[str, int, int], None]
    ) -> None:
        """The catalogue with words masked, told from what is left: masked-language pretraining of the adapter. The
        layer that turns a token's vector to a word's is learned with it and forgotten."""
        its, torch = self._its, self._torch
        batches = math.ceil(len(texts) / its.batch)
        total = its.masked_epochs * batches
        if not total:
            return
        words = self._model.get_input_embeddings().weight.detach()  # (vocabulary, dimension)
        turn = torch.nn.Sequential(torch.nn.Linear(words.shape[1], words.shape[1]), torch.nn.LayerNorm(words.shape[1]))
        turn.to(self._device)
        optimiser = torch.optim.AdamW([*self._learning.values(), *turn.parameters()], lr=its.learning_rate)
        special = torch.tensor(self._tokenizer.all_special_ids)
        self._model.train()
        for step in range(total):
            if over():
                return
            epoch, place = divmod(step, batches)
            order = np.random.default_rng((its.seed, epoch, 1)).permutation(len(texts))
            part = [texts[row] for row in order[place * its.batch : (place + 1) * its.batch]]
            torch.manual_seed(its.seed * 1_000_033 + step)
            tokens = self._tokens(part)
            ids = tokens["input_ids"]
            asked = (torch.rand(ids.shape) < MASK_SHARE) & ~torch.isin(ids, special)
            kind = torch.rand(ids.shape)
            shown = torch.where(asked & (kind < 0.8), self._tokenizer.mask_token_id, ids)
            other = torch.randint(len(words), ids.shape)
            shown = torch.where(asked & (kind >= 0.9), other, shown)
            if not asked.any():
                continue
            hidden = self._model(
                input_ids=shown.to(self._device), attention_mask=tokens["attention_mask"].to(self._device)
            ).last_hidden_state[asked.to(self._device)]  # (asked, dimension)
            loss = torch.nn.functional.cross_entropy(turn(hidden) @ words.T, ids[asked].to(self._device))
            self._tell("masked_loss", self._learn(optimiser, loss), step)
            note("masked", step + 1, total)

    def _forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors, (n, dimension), with what is needed to learn from them; equal texts run once."""
        torch = self._torch
        distinct = {text: place for place, text in enumerate(sorted(set(texts), key=len))}
        parts = []
        its = list(distinct)
        for start in range(0, len(its), TEXTS_AT_ONCE):  # of like length, so that little is padding
            tokens = {
                name: its.to(self._device) for name, its in self._tokens(its[start : start + TEXTS_AT_ONCE]).items()
            }
            hidden = self._model(**tokens).last_hidden_state  # (b, t, dimension)
            weights = tokens["attention_mask"].unsqueeze(-1).float()
            parts.append((hidden * weights).sum(dim=1) / weights.sum(dim=1))
        vectors = torch.nn.functional.normalize(torch.cat(parts), dim=1)
        found: Any = vectors[torch.tensor([distinct[text] for text in texts], device=vectors.device)]
        return found  # type: ignore[no-any-return]

    def _tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        told = self._tokenizer(
            clean, truncation=True, max_length=self._its.max_tokens, padding="longest", return_tensors="pt"
        )
        return {name: told[name] for name in ("input_ids", "attention_mask")}

    def _encoded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self._model.eval()
        with self._torch.inference_mode():
            vectors: NDArray[np.float32] = self._forward(texts).cpu().numpy()
            return vectors

    def _recall(self, held: Sequence[Pair]) -> float:
        """Mean reciprocal rank of the held-out pairs: finer than recall, so that few of them tell more."""
        return float((1 / self.ranks(held)).mean())

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: its.detach().clone() for name, its in self._learning.items()}

    def _state(self, optimiser: Any) -> dict[str, torch.Tensor]:
        """Adapter and optimiser by name."""
        state = {f"now {name}": its for name, its in self._learning.items()}
        for name, parameter in self._learning.items():
            state |= {f"{kind} {name}": tensor for kind, tensor in optimiser.state[parameter].items()}
        return state

    def _resume(self, optimiser: Any, tensors: dict[str, torch.Tensor]) -> None:
        with self._torch.no_grad():
            for name, parameter in self._learning.items():
                parameter.copy_(tensors[f"now {name}"])
        for name, parameter in self._learning.items():
            optimiser.state[parameter] = {
                kind: tensors[f"{kind} {name}"].to("cpu" if kind == "step" else self._device)
                for kind in ("step", "exp_avg", "exp_avg_sq")
            }

    def _tell(self, name: str, value: float, step: int) -> None:
        if self._log is not None:
            self._log.add_scalar(name, value, step)


def not_wrong(
    batch: Sequence[Pair], guide: dict[str, NDArray[np.float32]], known: set[tuple[str, str]], duplicate: float
) -> NDArray[np.bool_]:
    """(b, b): of each anchor, which positives of other pairs are no wrong answers: those that are known to belong to
    it, that are the anchor itself, or that say almost what its own positive says. Never its own."""
    vectors = np.stack([guide[pair.positive] for pair in batch])
    out: NDArray[np.bool_] = vectors @ vectors.T > duplicate
    for row, pair in enumerate(batch):
        for column, other in enumerate(batch):
            its = (pair.anchor, other.positive)
            out[row, column] |= its in known or its[::-1] in known or its[0] == its[1]
    np.fill_diagonal(out, False)
    return out


def _share(step: int, total: int) -> float:
    """Of the learning rate: up over a tenth of the steps, then down to 0."""
    rise = max(1, total // 10)
    return (step + 1) / rise if step < rise else (total - step) / max(1, total - rise)


def _log_to(folder: Path | None) -> Any:
    if folder is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  as torch

    return SummaryWriter(str(folder))
