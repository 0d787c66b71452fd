"""SASRec (Kang and McAuley 2018) and GRU4Rec (Hidasi et al. 2016), trained by sampled softmax; torch from its own door.

Loss and negatives tell more than the architecture (Klenitskiy and Vasilev 2023; Petrov and Macdonald 2023): each step
is told from 1,000 and more items that the whole batch shares, drawn from all alike and from the batch's own targets,
each corrected by how often it is drawn. One table of items is read at the entrance and at the exit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from encoders.baselines.losses import draw, expected, sampled_softmax
from encoders.baselines.sequences import Numbers, Sequences, batches, padded
from encoders.baselines.stopping import Course, Note, Patience, Scores, Weights, trained


@dataclass(frozen=True, slots=True)
class SequenceSettings:
    """A network and its training."""

    network: Literal["sasrec", "gru4rec"] = "sasrec"
    dimension: int = 64
    """Numbers of an item's vector, and of a state."""
    blocks: int = 2
    """Layers of SASRec; GRU4Rec has one."""
    heads: int = 2
    """Of SASRec's attention."""
    dropout: float = 0.5
    longest: int = 50
    """Newest items of a history that are read."""
    tokens: int = 1024
    """Steps of a batch, about."""
    uniform: int = 1024
    """Wrong items of a batch, drawn from all alike."""
    shared: int = 512
    """Wrong items of a batch, drawn from its targets."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    """Of AdamW."""
    epochs: int = 200
    waits: int = 5
    minutes: float = 20.0
    """As `Patience`."""
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.dimension, self.blocks, self.heads, self.longest, self.tokens, self.uniform, self.epochs)
        if min(sizes) < 1 or self.shared < 0 or self.dimension % self.heads or not 0 <= self.dropout < 1:
            raise ValueError(
                f"{self}: expected sizes of at least 1, a dimension that the heads divide, dropout below 1"
            )


class Network(nn.Module, ABC):
    """Items so far to a state after each of them; what comes next is near it."""

    def __init__(self, count: int, settings: SequenceSettings) -> None:
        super().__init__()
        wide = settings.dimension
        self.items = nn.Embedding(count + 1, wide, padding_idx=count)  # the last one fills up
        nn.init.normal_(self.items.weight, std=0.02)
        self.dropout = nn.Dropout(settings.dropout)
        self.scale = math.sqrt(wide)

    @abstractmethod
    def forward(self, rows: Tensor) -> Tensor:
        """(b, L) to (b, L, dimension)."""


class Sasrec(Network):
    """A causal transformer, normalised first; positions are learned."""

    def __init__(self, count: int, settings: SequenceSettings) -> None:
        super().__init__(count, settings)
        self.places = nn.Embedding(settings.longest, settings.dimension)
        nn.init.normal_(self.places.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            settings.dimension,
            settings.heads,
            4 * settings.dimension,
            settings.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(settings.dimension)
        self.body = nn.TransformerEncoder(layer, settings.blocks, norm, enable_nested_tensor=False)

    def forward(self, rows: Tensor) -> Tensor:
        """As its base says. What fills a row up stands behind, where nothing before it can see it."""
        long = rows.shape[1]
        seen = self.dropout(self.items(rows) * self.scale + self.places(torch.arange(long)))  # (b, L, d)
        mask = nn.Transformer.generate_square_subsequent_mask(long)
        states: Tensor = self.body(seen, mask=mask, is_causal=True)
        return states


class Gru4Rec(Network):
    """One gated recurrent layer."""

    def __init__(self, count: int, settings: SequenceSettings) -> None:
        super().__init__(count, settings)
        self.body = nn.GRU(settings.dimension, settings.dimension, batch_first=True)
        self.exit = nn.Linear(settings.dimension, settings.dimension)

    def forward(self, rows: Tensor) -> Tensor:
        """As its base says."""
        states, _ = self.body(self.dropout(self.items(rows) * self.scale))  # (b, L, d)
        found: Tensor = self.exit(self.dropout(states))
        return found


NETWORKS: dict[str, type[Network]] = {"sasrec": Sasrec, "gru4rec": Gru4Rec}


class SequenceModel:
    """A trained network that says what comes next. Not for two threads at once."""

    def __init__(self, network: Network, settings: SequenceSettings, seen: Numbers) -> None:
        """`seen`: items that training saw; of the others nothing can be said."""
        self._network = network.eval()
        self._settings = settings
        self._seen = seen
        self._unseen = np.setdiff1d(np.arange(network.items.num_embeddings - 1), seen)

    def scores(self, histories: Sequence[Numbers]) -> Scores:
        """float32 (b, items); -inf for items that training never saw, of which the network knows nothing."""
        table = self._network.items.weight[:-1]
        filler = len(table)
        rows, sizes = padded(list(histories), self._settings.longest, filler)
        with torch.no_grad():
            states = self._network(torch.from_numpy(rows))  # (b, L, d)
            last = states[torch.arange(len(rows)), torch.from_numpy(sizes) - 1]
            found: Scores = (last @ table.T).numpy()
        found[:, self._unseen] = -np.inf
        return found

    def weights(self) -> Weights:
        """By name, with what was seen."""
        return {**{name: tensor.numpy() for name, tensor in self._network.state_dict().items()}, "seen": self._seen}

    @classmethod
    def of(cls, weights: Weights, count: int, settings: SequenceSettings) -> SequenceModel:
        """From what `weights` gave.

        Raises:
            KeyError, RuntimeError: they are of another network.
        """
        network = NETWORKS[settings.network](count, settings)
        tensors = {name: torch.from_numpy(array) for name, array in weights.items() if name != "seen"}
        network.load_state_dict(tensors)
        return cls(network, settings, weights["seen"])


def fit_sequences(
    sequences: Sequences, settings: SequenceSettings, note: Note = lambda _done, _most: None
) -> tuple[SequenceModel, Course]:
    """The network with the weights of its best epoch, and how training went.

    Blocks for minutes, at most about `settings.minutes` of CPU time. Uses as many threads as torch has; one thread and
    one seed give equal weights on one machine.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        chance = np.random.default_rng(settings.seed)
        parted = sequences.parted(settings.seed)
        network = NETWORKS[settings.network](sequences.count, settings)
        model = SequenceModel(network, settings, np.unique(parted.rest.items))
        optimiser = torch.optim.AdamW(
            network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        drawn = expected(parted.rest.counts, settings.uniform, settings.shared)
        best: dict[str, Tensor] = {}

        def epoch() -> float:
            network.train()
            total, steps = 0.0, 0
            for pieces in batches(parted.rest, settings.longest, settings.tokens, chance):
                rows, sizes = padded(pieces, settings.longest + 1, sequences.count)
                loss = _loss(network, torch.from_numpy(rows), drawn, settings)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
                count = int(sizes.sum()) - len(sizes)
                total, steps = total + float(loss.detach()) * count, steps + count
            network.eval()
            return total / max(steps, 1)

        def keep() -> None:
            best.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

        patience = Patience(settings.epochs, settings.waits, settings.minutes)
        course = trained(sequences, parted, patience, epoch, model.scores, keep, note)
        network.load_state_dict(best)
        return model, course


def _loss(network: Network, rows: Tensor, drawn: Tensor, settings: SequenceSettings) -> Tensor:
    """Of each step of a batch, (b, L + 1) items with the filler behind."""
    table, filler = network.items.weight, network.items.num_embeddings - 1
    wanted = rows[:, 1:]
    real = wanted != filler
    states, targets = network(rows[:, :-1])[real], wanted[real]  # (t, d), (t,)
    return sampled_softmax(states, targets, table, draw(targets, filler, settings.uniform, settings.shared), drawn)
