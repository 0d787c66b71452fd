"""A BERT in 8-bit integers by ONNX Runtime: the text encoder of a CPU. The one door to that library.

Weights are int8, one scale a column; the inputs of each matrix product are rounded to uint8 as they come, one scale for
all tokens of the call. So a text's vector would depend on what stands beside it; therefore texts run one by one, which
needs no padding either. `encoders.int8_export` makes the folder that is read here; torch is not loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.errors import EncoderError

FORMAT = 1
GRAPH, TOKENIZER, MANIFEST = "model.onnx", "tokenizer.json", "manifest.json"

Vectors = NDArray[np.float32]


class Int8TextEncoder:
    """As `encoders.text.TextEncoder` says, to the bit whatever stands beside a text. Any thread may call."""

    def __init__(self, folder: Path, *, threads: int = 1, max_tokens: int = 128) -> None:
        """
        Args:
            folder: that `encoders.int8_export.exported` gave.
            threads: for one forward pass.
            max_tokens: a longer text is cut.

        Raises:
            EncoderError: the folder is not whole.
        """
        import onnxruntime  # noqa: PLC0415  whoever encodes nothing need not wait for it
        from tokenizers import Tokenizer  # noqa: PLC0415  as onnxruntime

        if threads < 1 or max_tokens < 3:
            raise EncoderError(f"threads {threads}, max_tokens {max_tokens}: expected at least 1 and 3")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle encoder takes no CPU
        try:
            told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files = {name: (folder / name).read_bytes() for name in (GRAPH, TOKENIZER)}
            if wrong := [name for name in files if hashlib.sha256(files[name]).hexdigest() != told["files"][name]]:
                raise EncoderError(f"{folder}: {wrong[0]} is damaged; remove the folder, it is made anew")
            self._session = onnxruntime.InferenceSession(files[GRAPH], options, providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_buffer(files[TOKENIZER])
            self.dimension = int(told["dimension"])
            source = str(told["source"])
        except EncoderError:
            raise
        except Exception as exc:  # both libraries raise plain exceptions
            why = " ".join(f"{type(exc).__name__}: {exc}".split())
            raise EncoderError(f"{folder}: no int8 text model ({why}); remove the folder, it is made anew") from exc
        self.folder = folder
        """Where it lies."""
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._max_tokens = max_tokens
        frame = self._tokenizer.encode("").ids
        self._frame = frame[:1], frame[1:]
        self.device = "cpu"
        self.digest = hashlib.sha256(f"int8 {FORMAT} {source} {max_tokens}".encode()).hexdigest()[:16]

    @property
    def room(self) -> int:
        """Tokens that a text may have, without those that every text begins and ends with."""
        return self._max_tokens - sum(map(len, self._frame))

    def tokens(self, text: str) -> list[int]:
        """Of a text, without those; at most `room`."""
        clean = text.encode("utf-8", "replace").decode()
        ids: list[int] = self._tokenizer.encode(clean, add_special_tokens=False).ids
        return ids[: self.room]

    def read(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of texts that are put together of tokens, at most `room` each: as `encode`."""
        begin, end = self._frame
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        for place, row in enumerate(rows):
            ids = np.array([[*begin, *row, *end]], dtype=np.int64)  # (1, t)
            vectors[place] = self._session.run(None, {"input_ids": ids})[0][0]
        return vectors

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As the protocol says. Equal texts run once."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        clean = [text.encode("utf-8", "replace").decode() for text in rows]  # a lone surrogate has no tokens
        for row, tokens in enumerate(self._tokenizer.encode_batch_fast(clean)):
            ids = np.array([tokens.ids], dtype=np.int64)  # (1, t)
            vectors[row] = self._session.run(None, {"input_ids": ids})[0][0]
        return vectors[[rows[text] for text in texts]]
