"""Lists of texts as arrays, so that they stand in one safetensors file with the numbers that they name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pack(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """UTF-8 bytes of all texts, (bytes,), and where each ends, (n,).

    >>> unpack(*pack(["tea", "", "茶"]))
    ['tea', '', '茶']
    """
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    content = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    return content, np.cumsum([len(text) for text in encoded], dtype=np.int64)


def unpack(content: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[str]:
    """The texts that `pack` was given.

    Raises:
        ValueError: the ends do not fit the bytes.
    """
    if (np.diff(ends, prepend=0) < 0).any() or (ends[-1] if len(ends) else 0) != len(content):
        raise ValueError(f"{len(content)} bytes of {len(ends)} texts: expected ends that rise to the last byte")
    whole = content.tobytes()
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    return [
        whole[start:end].decode("utf-8", "surrogatepass")
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
