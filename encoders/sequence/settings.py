"""What the sequence network is, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

INPUT_KINDS = ("view", "click", "search", "cart_add", "purchase")
"""Kinds of event that the network tells apart; every other is of none of them."""
EXTRAS = len(INPUT_KINDS) + 1
"""Numbers of an input besides the item's vector: which kind, and the gap."""
LONGEST = 20
"""Events of a session that the network is trained on at a time: as many as a session keeps."""


Network = Literal["gru", "bert", "text"]
"""A GRU or a causal BERT over the items' vectors, or the shop's text encoder over the session's words."""
NETWORKS: tuple[Network, ...] = get_args(Network)
Joint = Literal["no", "yes", "choose"]


@dataclass(frozen=True, slots=True)
class SequenceSettings:
    """The defaults are the best of a few on Amazon Beauty's validation items."""

    network: Network = "gru"
    """What turns a session to a direction in the items' space."""
    joint: Joint = "no"
    """Whether text and facts are trained along with the clicks; `choose`: both ways, and so where it ranks better."""
    text_weight: float = 0.1
    """Of the text term of joint training; 0: off."""
    graph_weight: float = 0.1
    """Of its graph term; 0: off."""
    teacher: Literal["none", "bert"] = "none"
    """Whether a causal BERT over the same item vectors is trained first, for the GRU to learn from."""
    text: int = 64
    """Numbers of an item's vector that are those of its whitened text, which training leaves as they are."""
    free: int = 64
    """Numbers of it that training finds."""
    hidden: int = 128
    """Numbers of the GRU's state."""
    dropout: float = 0.25
    epochs: int = 15
    """Times that every session is seen, at most."""
    patience: int = 3
    """Epochs without a gain on sessions set aside after which training comes to its end."""
    learning_rate: float = 0.002
    """Of AdamW, at its height."""
    decay: float = 1e-4
    """Of AdamW: what a step takes off each weight."""
    batch: int = 128
    """Sessions of a step."""
    negatives: int = 2000
    """Items drawn for each step that the next one is told from, all sessions sharing them."""
    most: int = 200_000
    """Newest sessions that are learned from, so that a large past does not take hours."""
    budget_s: float = 600.0
    """Processor time of the thread that trains after which no further epoch begins."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.text, self.free - 1, self.hidden - 1, self.epochs - 1, self.patience - 1) < 0:
            raise ValueError(f"{self}: expected text of at least 0, free, hidden, epochs and patience of at least 1")
        if min(self.batch, self.negatives, self.most) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"{self}: expected batch, negatives and most of at least 1, dropout from 0 to below 1")
        if self.learning_rate <= 0 or self.decay < 0 or self.budget_s <= 0:
            raise ValueError(f"{self}: expected learning_rate and budget_s above 0, decay of at least 0")

        if min(self.text_weight, self.graph_weight) < 0:
            raise ValueError(f"{self}: expected text_weight and graph_weight of at least 0")
        if self.network not in NETWORKS or (self.teacher != "none" and self.network != "gru"):
            raise ValueError(f"{self}: expected a network of {', '.join(NETWORKS)}, and a teacher of a gru alone")

    @property
    def dimension(self) -> int:
        """Of an item's vector."""
        return self.text + self.free
