"""Items by number: one numbering that counts, neighbours and vectors share, so that they can be joined as arrays."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
"""Numbers of items."""


class Vocabulary:
    """Item ids and their numbers, 0 and up. Append only: an item that leaves the shop keeps its number.

    Numbers depend on the order in which ids came and differ between workers; what leaves a process names ids.
    Any thread may call.

    >>> items = Vocabulary(["tea", "mug"])
    >>> items.add("milk"), items.code("mug"), items.code("beer"), items.ids(np.array([2, 0]))
    (2, 1, -1, ['milk', 'tea'])
    """

    def __init__(self, item_ids: Iterable[str] = ()) -> None:
        self._ids: list[str] = []
        self._codes: dict[str, int] = {}
        self._lock = threading.Lock()
        for item_id in item_ids:
            self.add(item_id)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._codes

    def add(self, item_id: str) -> int:
        """The number of an item, which gets the next one if it has none."""
        code = self._codes.get(item_id)
        if code is not None:
            return code
        with self._lock:
            code = self._codes.get(item_id)
            if code is None:
                code = len(self._ids)
                self._ids.append(item_id)
                self._codes[item_id] = code  # last: whoever finds the number finds the id
            return code

    def add_all(self, item_ids: Iterable[str]) -> Codes:
        """The numbers of several items; (n,)."""
        return np.fromiter(map(self.add, item_ids), np.int32)

    def code(self, item_id: str) -> int:
        """The number of an item; -1: it has none."""
        return self._codes.get(item_id, -1)

    def codes(self, item_ids: Sequence[str]) -> Codes:
        """Numbers, (n,); -1 where there is none."""
        code_of = self._codes.get
        return np.array([code_of(item_id, -1) for item_id in item_ids], np.int32)

    def id(self, code: int) -> str:
        """The item that has this number."""
        return self._ids[code]

    def ids(self, codes: Iterable[int] | Codes) -> list[str]:
        """The items that have these numbers."""
        ids = self._ids
        numbers = codes.tolist() if isinstance(codes, np.ndarray) else codes
        return [ids[code] for code in numbers]

    def all(self) -> list[str]:
        """Every id, by number; a copy."""
        return self._ids[:]
