"""Text and facts beside the clicks: two more terms of a sequence network's loss, over the same item table.

Both speak of the numbers that training finds (the free ones), since the text's own are frozen:

* the text term tells an item's free numbers from those of other items by a linear projection of its text;
* the graph term tells the tail of a fact (head item, relation, tail) from other tails by the head's free numbers,
  turned by the relation as DistMult does (Yang et al. 2015).

Each is InfoNCE (van den Oord et al. 2018) over cosines. What they learn says what an item that no session had would
stand for: `encoders.sequence.unmet`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from encoders.graph.facts import GOES_WITH, Fact
from encoders.graph.vectors import GraphVectors, feature
from encoders.sequence.unmet import NAME, Unmet
from encoders.session import Vector

SHARPNESS = 14.0
"""What cosines are multiplied by before the softmax."""
SOFT = 0.05
"""Added, squared, to the squared length of what is brought to length 1: numbers that begin at 0 have no direction yet,
and would be thrown about."""
AT_ONCE = 512
"""Items, and facts, of a step."""
ROOM = 1024
"""Other tails that a fact's is told from, at most."""
LEAST_HEADS = 2
"""What one item alone has says nothing of others."""

Indices = NDArray[np.int64]


class Triples(NamedTuple):
    """Facts of items, by number."""

    heads: Indices
    """(facts,): codes of items."""
    tails: Indices
    """(facts,): places among `keys`."""
    relations: Indices
    """(keys,)"""
    kinds: int
    """Relations there are."""
    keys: list[str]
    """Of tails: relation and what it leads to, as `graph.vectors.feature` has it."""
    weights: Vector
    """(keys,): log(items / heads)."""

    @classmethod
    def of(cls, facts: Sequence[Sequence[Fact]]) -> Triples:
        """Of each item's; without what visitors have shown, which is what clicks say already."""
        keys: dict[str, int] = {}
        relations: dict[str, int] = {}
        of_key: list[int] = []
        pairs: dict[tuple[int, int], None] = {}
        for head, its in enumerate(facts):
            for fact in its:
                if fact.relation != GOES_WITH:
                    tail = keys.setdefault(feature(fact), len(keys))
                    if tail == len(of_key):
                        of_key.append(relations.setdefault(fact.relation.casefold(), len(relations)))
                    pairs[head, tail] = None
        heads, tails = np.array(list(pairs), np.int64).reshape(-1, 2).T
        often = np.bincount(tails, minlength=len(keys))
        kept = np.flatnonzero(often >= LEAST_HEADS)
        place = np.full(len(keys), -1, np.int64)
        place[kept] = np.arange(len(kept))
        known, names = place[tails] >= 0, list(keys)
        return cls(
            heads[known],
            place[tails[known]],
            np.array(of_key, np.int64)[kept],
            len(relations),
            [names[number] for number in kept.tolist()],
            np.log(max(len(facts), 1) / np.maximum(often[kept], 1)).astype(np.float32),
        )


class JointTerms(nn.Module):
    """The two terms, and what they learn."""

    def __init__(self, texts: Vector, triples: Triples, free: int) -> None:
        """
        Args:
            texts: (items, whitened dimension). free: numbers of an item.
        """
        super().__init__()
        self.texts: torch.Tensor
        self.register_buffer("texts", torch.from_numpy(np.ascontiguousarray(texts)), persistent=False)
        self._worded, self._triples = np.flatnonzero(texts.any(axis=1)), triples
        self.read = nn.Linear(texts.shape[1], free, bias=False)
        self.tails = nn.Parameter(torch.randn(len(triples.keys), free) * 0.1)
        self.turns = nn.Parameter(torch.ones(max(triples.kinds, 1), free))

    @property
    def digest(self) -> bytes:
        """Of what the terms are trained on."""
        content = hashlib.blake2b(self.texts.cpu().numpy().tobytes(), digest_size=16)
        for numbers in (self._worded, self._triples.heads, self._triples.tails, self._triples.relations):
            content.update(numbers.tobytes())
        return content.digest()

    def text_loss(self, free: torch.Tensor, source: np.random.Generator) -> torch.Tensor:
        """Some items' texts told apart by their free numbers, and the other way round.

        Args:
            free: (items, free), of all items.
        """
        if len(self._worded) < 2:
            return free.sum() * 0
        drawn = source.choice(self._worded, min(AT_ONCE, len(self._worded)), replace=False)
        codes = torch.from_numpy(drawn).to(free.device)
        scores = _unit(self.read(self.texts[codes])) @ _unit(free[codes]).T * SHARPNESS  # (b, b)
        right = torch.arange(len(codes), device=free.device)
        return (functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)) / 2

    def graph_loss(self, free: torch.Tensor, source: np.random.Generator) -> torch.Tensor:
        """Some facts' tails told from others; those that the same head leads to as well are left out of the others
        only where they are the very same tail."""
        triples = self._triples
        if len(triples.heads) < 2 or len(triples.keys) < 2:
            return free.sum() * 0
        drawn = source.integers(0, len(triples.heads), min(AT_ONCE, len(triples.heads)))
        others = source.choice(len(triples.keys), min(ROOM, len(triples.keys)), replace=False)
        heads, tails, relations, among = (
            torch.from_numpy(each).to(free.device)
            for each in (triples.heads[drawn], triples.tails[drawn], triples.relations[triples.tails[drawn]], others)
        )
        asked = _unit(free[heads]) * self.turns[relations]  # (b, free)
        right = (asked * _unit(self.tails[tails])).sum(dim=1, keepdim=True) * SHARPNESS  # (b, 1)
        wrong = asked @ _unit(self.tails[among]).T * SHARPNESS  # (b, others)
        wrong = wrong.masked_fill(among[None, :] == tails[:, None], -1e9)
        return functional.cross_entropy(torch.cat([right, wrong], dim=1), torch.zeros_like(tails))

    def unmet(self, free: Vector, facts: Sequence[Sequence[Fact]]) -> Unmet:
        """What was learned, for items that no session had.

        Args:
            free: (items, free), as trained. facts: of each item.
        """
        triples = self._triples
        with torch.no_grad():
            turned = self.turns[torch.from_numpy(triples.relations).to(self.turns.device)] * _unit(self.tails)
            rows = functional.normalize(turned, dim=1).cpu().numpy() * triples.weights[:, None]
            text = np.ascontiguousarray(self.read.weight.detach().cpu().numpy().T)
        learned = Unmet(text, GraphVectors(NAME, triples.keys, rows), np.ones(3, np.float32))
        return learned.fitted(self.texts.cpu().numpy(), facts, free)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / torch.sqrt((rows * rows).sum(dim=-1, keepdim=True) + SOFT**2)
