"""Vectors kept by text and model, so that a text is encoded once in the life of a shop."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np

from encoders.text import TextEncoder, Vectors

logger = logging.getLogger(__name__)

TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
KEYS_PER_QUERY = 500
"""SQLite takes a bounded number of parameters in one statement."""


class CachedTextEncoder:
    """A text encoder that asks `inner` only for texts that it has not met: in memory first, then on disk.

    The disk holds float32, at twice the room of float16, so that a vector out of the cache equals the one
    that went in to the bit and a run gives the same answers with a cold cache and a warm one. Several
    processes may share a folder. A file that is damaged is set aside and begun anew; a disk that is full or
    may not be written costs the cache and not the encoder: it is logged once, and texts are encoded as they
    come.
    """

    def __init__(self, inner: TextEncoder, folder: Path | None, *, memory: int = 20_000) -> None:
        """
        Args:
            folder: holds one file a model, `<digest>.sqlite`; made if it is not there. None: memory only.
            memory: most vectors held in memory, least recently used dropped first.
        """
        self._inner = inner
        self._memory: OrderedDict[bytes, Vectors] = OrderedDict()  # key -> (dimension,)
        self._most = memory
        self._lock = threading.Lock()
        self._disk = None if folder is None else _Disk(folder / f"{inner.digest}.sqlite", inner.dimension)

    @property
    def inner(self) -> TextEncoder:
        """What encodes."""
        return self._inner

    @property
    def dimension(self) -> int:
        return self._inner.dimension

    @property
    def digest(self) -> str:
        return self._inner.digest

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As the protocol says; each distinct text is looked up or encoded once."""
        by_key = {_key(text): text for text in texts}
        found = self._look_up(by_key)
        missing = [key for key in by_key if key not in found]
        if missing:
            fresh = dict(zip(missing, self._inner.encode([by_key[key] for key in missing]), strict=True))
            found |= fresh
            with self._lock:
                self._remember(fresh.items())
                if self._disk:
                    self._disk.write(fresh)
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.stack([found[_key(text)] for text in texts])

    def close(self) -> None:
        """Closes the file; encoding goes on without it."""
        with self._lock:
            if self._disk:
                self._disk.close()
            self._disk = None

    def __enter__(self) -> CachedTextEncoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look_up(self, keys: Iterable[bytes]) -> dict[bytes, Vectors]:
        with self._lock:
            found = {key: self._memory[key] for key in keys if key in self._memory}
            for key in found:
                self._memory.move_to_end(key)
            asked = [key for key in keys if key not in found]
            if self._disk and asked:
                read = self._disk.read(asked)
                self._remember(read.items())
                found |= read
        return found

    def _remember(self, vectors: Iterable[tuple[bytes, Vectors]]) -> None:
        for key, vector in vectors:
            self._memory[key] = vector.copy()  # a row of its own, so that it does not keep its whole batch
        while len(self._memory) > self._most:
            self._memory.popitem(last=False)


class _Disk:
    """One SQLite file of vectors. No error leaves it: a lost cache is slower, not wrong."""

    def __init__(self, path: Path, dimension: int) -> None:
        self._path = path
        self._bytes = 4 * dimension
        self._connection: sqlite3.Connection | None = None
        self._open()

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        waiting = iter(keys)
        while self._connection and (part := list(islice(waiting, KEYS_PER_QUERY))):
            marks = ",".join("?" * len(part))
            try:
                rows = self._connection.execute(
                    f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part
                ).fetchall()
            except sqlite3.Error as exc:
                self._trouble(exc)
                return found
            found |= {key: np.frombuffer(blob, dtype="<f4") for key, blob in rows if self._whole(blob)}
        return found

    def write(self, vectors: dict[bytes, Vectors]) -> None:
        if not self._connection:
            return
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except sqlite3.Error as exc:
            self._trouble(exc)

    def close(self) -> None:
        if self._connection:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _open(self, again: bool = True) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")  # a crash may cost the last vectors only
            self._connection.execute(TABLE)
        except (OSError, sqlite3.Error) as exc:
            self._trouble(exc, again)

    def _trouble(self, exc: Exception, again: bool = True) -> None:
        """A damaged file is set aside and begun anew, once; after anything else the disk is left alone."""
        self.close()
        damaged = getattr(exc, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        if damaged and again:
            aside = self._path.with_suffix(f".damaged-{os.getpid()}")
            with contextlib.suppress(OSError):
                os.replace(self._path, aside)
                for side in ("-wal", "-shm"):
                    Path(f"{self._path}{side}").unlink(missing_ok=True)
                logger.warning("vector cache %s is damaged (%s): begun anew, kept as %s", self._path, exc, aside)
                return self._open(again=False)
        logger.warning("vector cache %s cannot be used (%s): texts are encoded without it", self._path, exc)
        return None

    def _whole(self, blob: object) -> bool:
        return isinstance(blob, bytes) and len(blob) == self._bytes


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
