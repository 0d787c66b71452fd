"""A BERT made into 8-bit integers, once: traced by torch, rounded by ONNX Runtime, kept by the model's digest.

The graph takes one text's tokens and gives its vector: mean over the tokens and length 1 are in it. Weights are rounded
by column: by tensor, Beauty's titles kept a cosine of .955 with their float32 vectors, by column .993. It is traced by
the TorchScript exporter: the one of `torch.export` takes eight seconds and a library more for an equally fast graph.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from encoders.adapter import INT8, read_adapter
from encoders.bert import BertTextEncoder, model_path
from encoders.errors import EncoderError
from encoders.int8 import FORMAT, GRAPH, MANIFEST, TOKENIZER

logger = logging.getLogger(__name__)

OPSET = 17
"""Has LayerNormalization as one operator; every ONNX Runtime since 1.12 reads it."""
_SOURCE_ENDINGS = {".json", ".txt", ".model", ".safetensors", ".bin"}
"""Files of a model folder that decide its vectors."""


def exported(model: str, root: Path, adapter: Path | None = None) -> Path:
    """The folder of a BERT as `encoders.int8` reads it: made if it is not there, which takes some ten seconds.

    Several processes may ask at once: each writes beside and renames, one of equal folders stays.

    Args:
        model: as `encoders.bert` takes it.
        root: holds one folder a model, `<digest>.int8`.
        adapter: a folder that `encoders.finetune` wrote for this model; merged. Where it holds their int8 form, that
            is it.

    Raises:
        EncoderError: the model or its adapter cannot be loaded or made into such a graph, or nothing can be written.
    """
    path = Path(model_path(model))
    bert = None
    if path.is_dir():
        source = _folder_digest(path)
        if adapter is not None:
            source = hashlib.sha256(f"{source} {read_adapter(adapter).digest}".encode()).hexdigest()[:16]
    else:
        bert = BertTextEncoder(model, device="cpu", adapter=adapter)
        source = bert.digest
    if adapter is not None and _source_of(adapter / INT8) == source:
        return adapter / INT8
    folder = root / f"{source}.int8"
    if not (folder / MANIFEST).is_file():
        bert = bert or BertTextEncoder(model, device="cpu", adapter=adapter)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{source}-") as scratch:
                _write(Path(scratch) / "new", bert, source)
                _place(Path(scratch) / "new", folder)
        except OSError as exc:
            raise EncoderError(
                f"{folder}: the int8 text model cannot be written ({exc}); name another folder by "
                "BEFOREHAND_ENCODER__CACHE_DIR, or set BEFOREHAND_ENCODER__PRECISION=float32"
            ) from exc
    return folder


def _write(folder: Path, bert: BertTextEncoder, source: str) -> None:
    import onnx  # noqa: PLC0415  seconds, and whoever finds the folder made needs none of it
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415  as onnx

    folder.mkdir()
    tokenizer, model = bert.parts
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise EncoderError(
            f"tokenizer {type(tokenizer).__name__}: has no fast form, which int8 needs; "
            "set BEFOREHAND_ENCODER__PRECISION=float32"
        )
    backend.save(str(folder / TOKENIZER))
    _trace(model, folder / "float32.onnx")
    quiet = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it advises on the root logger
    try:
        quantize_dynamic(
            folder / "float32.onnx",
            folder / GRAPH,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.getLogger().setLevel(quiet)
    (folder / "float32.onnx").unlink()
    told = {
        "format": FORMAT,
        "source": source,
        "dimension": bert.dimension,
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (GRAPH, TOKENIZER)},
    }
    (folder / MANIFEST).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _trace(model: Any, path: Path) -> None:
    import torch  # noqa: PLC0415  as onnx

    class Vector(torch.nn.Module):
        """One text's tokens to its vector."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            """(1, t) -> (1, dimension)"""
            hidden = self.bert(input_ids=input_ids).last_hidden_state  # (1, t, dimension)
            return torch.nn.functional.normalize(hidden.mean(dim=1), dim=1)

    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the plainest graph
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Vector().eval(),
                (torch.tensor([[1, 2, 3, 4, 5, 6, 7]]),),
                str(path),
                input_names=["input_ids"],
                output_names=["vector"],
                dynamic_axes={"input_ids": {1: "tokens"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as exc:  # torch raises whatever its parts raise
        why = " ".join(f"{type(exc).__name__}: {exc}".split())
        raise EncoderError(
            f"{type(model).__name__} cannot be made int8 ({why}); set BEFOREHAND_ENCODER__PRECISION=float32"
        ) from exc
    finally:
        model.set_attn_implementation(attention)


def _place(new: Path, folder: Path) -> None:
    """Renames, unless another process was first."""
    try:
        os.replace(new, folder)
    except OSError:
        if not (folder / MANIFEST).is_file():
            raise


def _source_of(folder: Path) -> str | None:
    """What an int8 folder was made of; None: it is none."""
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _folder_digest(folder: Path) -> str:
    """16 hex characters of the files that decide a model's vectors."""
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _SOURCE_ENDINGS:
            with path.open("rb") as file:
                content.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return content.hexdigest()[:16]
