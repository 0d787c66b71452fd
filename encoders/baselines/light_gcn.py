"""LightGCN (He et al. 2020) as PyTorch Geometric has it: vectors smoothed over the graph of sessions and items. A door
to torch and to that library.

Trained by sampled softmax over items of a batch and uniform ones, which is stronger than the paper's one negative (Wu
et al. 2024). A session that the graph has not, or that has gone on since, is what its items say by the same smoothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn.models import LightGCN

from encoders.baselines.losses import draw, expected, sampled_softmax
from encoders.baselines.sequences import Numbers, Sequences
from encoders.baselines.stopping import Course, Note, Patience, Scores, Weights, trained


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """The model and its training."""

    dimension: int = 64
    layers: int = 2
    batch: int = 8192
    """Pairs of session and item of a step."""
    uniform: int = 1024
    shared: int = 512
    """Wrong items of a batch, as `SequenceSettings` has them."""
    temperature: float = 0.15
    """Of the softmax over cosines."""
    learning_rate: float = 0.01
    epochs: int = 100
    waits: int = 5
    minutes: float = 20.0
    """As `Patience`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.dimension, self.layers, self.batch, self.uniform, self.epochs) < 1 or self.temperature <= 0:
            raise ValueError(f"{self}: expected sizes of at least 1, a temperature above 0")


class GraphModel:
    """Trained vectors that say what goes with a history, in whatever order it came."""

    def __init__(self, layers: Tensor, degrees: Tensor) -> None:
        """
        Args:
            layers: (layers + 1, items, dimension): the items' vectors before and after each smoothing.
            degrees: (items,), sessions of each.
        """
        self._layers, self._degrees = layers, degrees
        self._table = nn.functional.normalize(layers.mean(dim=0), dim=1)  # (items, d)
        self._unseen = (degrees == 0).nonzero()[:, 0]

    def scores(self, histories: Sequence[Numbers]) -> Scores:
        """float32 (b, items); -inf for items that training never saw."""
        ends = np.cumsum([len(history) for history in histories])
        items = torch.from_numpy(np.concatenate(list(histories)))
        # After each smoothing a session is the sum of its items before it; its own first vector is not known.
        before = self._layers[:-1].sum(dim=0)  # (items, d)
        weights = 1 / self._degrees.clamp(min=1).sqrt()
        starts = torch.from_numpy(np.concatenate([[0], ends[:-1]]))
        asked = nn.functional.embedding_bag(
            items, before, starts, mode="sum", per_sample_weights=weights[items]
        )  # (b, d)
        found: Scores = (nn.functional.normalize(asked, dim=1) @ self._table.T).numpy()
        found[:, self._unseen.numpy()] = -np.inf
        return found

    def weights(self) -> Weights:
        """By name."""
        return {"layers": self._layers.numpy(), "degrees": self._degrees.numpy()}

    @classmethod
    def of(cls, weights: Weights) -> GraphModel:
        """From what `weights` gave.

        Raises:
            KeyError: they are of another model.
        """
        return cls(torch.from_numpy(weights["layers"]), torch.from_numpy(weights["degrees"]))


def fit_graph(
    sequences: Sequences, settings: GraphSettings, note: Note = lambda _done, _most: None
) -> tuple[GraphModel, Course]:
    """The vectors of the best epoch, and how training went; as `fit_sequences`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        parted = sequences.parted(settings.seed)
        training = _Training(parted.rest, settings)
        best: list[GraphModel] = []

        def keep() -> None:
            best[:] = [training.model()]

        patience = Patience(settings.epochs, settings.waits, settings.minutes)
        course = trained(
            sequences, parted, patience, training.epoch, lambda asked: training.model().scores(asked), keep, note
        )
        return best[0], course


class _Training:
    """Nodes are sessions, then items."""

    def __init__(self, sequences: Sequences, settings: GraphSettings) -> None:
        self._settings = settings
        self._sessions = len(sequences)
        of = np.repeat(np.arange(len(sequences)), np.diff(sequences.ends, prepend=0))
        pairs = np.unique(np.stack([of, sequences.items], axis=1), axis=0)  # each once
        self._pairs = torch.from_numpy(pairs)  # (pairs, 2)
        degrees = np.bincount(pairs[:, 1], minlength=sequences.count).astype(np.float32)
        self._degrees = torch.from_numpy(degrees)
        nodes = len(sequences) + sequences.count
        self._graph = _smoothing(pairs, len(sequences), nodes)
        self._net: Any = LightGCN(nodes, settings.dimension, settings.layers, normalize=False)
        nn.init.normal_(self._net.embedding.weight, std=0.1)
        self._optimiser = torch.optim.Adam(self._net.parameters(), settings.learning_rate, fused=True)
        self._drawn = expected(degrees.astype(np.int64), settings.uniform, settings.shared)

    def epoch(self) -> float:
        """Trains on each pair once; the mean loss."""
        total = 0.0
        for places in torch.split(torch.randperm(len(self._pairs)), self._settings.batch):
            loss = self._loss(self._pairs[places])
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            total += float(loss.detach()) * len(places)
        return total / max(len(self._pairs), 1)

    def _loss(self, pairs: Tensor) -> Tensor:
        its = self._settings
        vectors = nn.functional.normalize(self._net.get_embedding(self._graph), dim=1)  # (nodes, d)
        items = vectors[self._sessions :]
        asked, targets = vectors[pairs[:, 0]], pairs[:, 1].contiguous()  # (b, d), (b,)
        wrong = draw(targets, len(items), its.uniform, its.shared)
        return sampled_softmax(asked / its.temperature, targets, items, wrong, self._drawn)

    def _smoothed(self) -> list[Tensor]:
        """(nodes, d) before and after each smoothing."""
        layers = [self._net.embedding.weight]
        for convolution in self._net.convs:
            layers.append(convolution(layers[-1], self._graph))
        return layers

    def model(self) -> GraphModel:
        """With the vectors as they are."""
        with torch.no_grad():
            layers = torch.stack([layer[self._sessions :] for layer in self._smoothed()])
        return GraphModel(layers.clone(), self._degrees)


def _smoothing(pairs: Numbers, sessions: int, nodes: int) -> Tensor:
    """(nodes, nodes), sparse: 1 / sqrt of both degrees where a session had an item."""
    rows = np.concatenate([pairs[:, 0], pairs[:, 1] + sessions])
    columns = np.concatenate([pairs[:, 1] + sessions, pairs[:, 0]])
    degrees = np.maximum(np.bincount(rows, minlength=nodes), 1)
    values = (1 / np.sqrt(degrees[rows] * degrees[columns])).astype(np.float32)
    places = torch.from_numpy(np.stack([rows, columns]))
    graph = torch.sparse_coo_tensor(places, torch.from_numpy(values), (nodes, nodes), check_invariants=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support")  # in beta; the products that we need are there
        return graph.coalesce().to_sparse_csr()
