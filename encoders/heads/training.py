"""Training by gradient, the one file of the heads that imports torch: the head alone, or with its encoder.

Features are standardised on the training part while training; what comes out takes the vectors as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from encoders.bert import BertTextEncoder
from encoders.heads.head import Vectors
from encoders.heads.words import Words

if TYPE_CHECKING:
    import torch

Objective = Literal["classes", "numbers", "listwise", "pairwise"]
Note = Callable[[str, int, int], None]
"""Hears of a stage, how much of it is done, and how much there is."""
Targets = NDArray[Any]

OF_WORDS = (1 / 16, 1.0, 16.0)
"""The penalty's strength on the weights of words, beside that on the vector's: the first is tried with each strength,
the others with the best."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a head is trained."""

    seed: int = 0
    """Of the order of rows, of dropout, and of what is drawn for baselines and intervals."""
    balanced: bool = False
    """Classification: every class weighs the same, whatever its rows."""
    loss: Literal["listwise", "pairwise"] = "listwise"
    """Ranking: the cross-entropy of the two softmaxes over a group (ListNet, Cao et al. 2007), or the logistic loss of
    each pair of different relevance (RankNet, Burges et al. 2005)."""
    words: bool = True
    """Features of the text's words beside its vector (`encoders.heads.words`)."""
    epochs: int = 50
    """Most epochs of the head alone: ten steps of L-BFGS over all rows each."""
    patience: int = 5
    """Epochs without a better loss on the validation part before it stops."""
    penalties: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Strengths of the quadratic penalty that are tried; the one with the least loss on the validation part stays."""
    layers: int | None = None
    """Last layers of the encoder that are trained too, 0: all of it and its embeddings; None: none of it."""
    tune_epochs: int = 4
    """Most passes with the encoder."""
    tune_batch: int = 32
    """Texts of a step with the encoder."""
    tune_rate: float = 3e-5
    """Of the encoder, rising over the first tenth of the steps, then falling to 0; the head's is 30 times it."""

    def as_dict(self) -> dict[str, Any]:
        """As a manifest has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one part teaches, or is looked at with."""

    vectors: Vectors
    """(n, dimension)"""
    targets: Targets
    """(n,): int64 classes, or float numbers."""
    texts: Sequence[str]
    lists: Sequence[NDArray[np.int64]] | None = None
    """Of ranking: the rows of each group."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """An affine map, and how it came about."""

    matrix: Vectors
    """(dimension, outputs)"""
    bias: Vectors
    """(outputs,)"""
    loss: float
    """On the validation part, the least seen."""
    epochs: int
    """After which that was."""
    penalty: float
    words: Words | None = None
    words_matrix: Vectors | None = None
    """(buckets, outputs)"""
    tuned: bool = False
    """Whether the encoder's weights are others than before."""


def fit_head(
    train: Sample, valid: Sample, outputs: int, objective: Objective, settings: FitSettings, note: Note
) -> Fitted:
    """The head on vectors that stay as they are, and on words."""
    import torch  # noqa: PLC0415  takes a second, and whoever serves needs none of it

    mean = train.vectors.mean(axis=0, dtype=np.float64)
    spread = train.vectors.std(axis=0, dtype=np.float64)
    spread = np.where(spread > 1e-6, spread, 1.0)
    words = Words.fit(train.texts, outputs) if settings.words else None
    learned, looked = (_features(each, mean, spread, words) for each in (train, valid))
    weights = _class_weights(train.targets, outputs) if settings.balanced and objective == "classes" else None
    shapes = (learned.dense.shape[1], outputs), (words.buckets if words else 0, outputs), (outputs,)

    def descended(penalty: float, of_words: float) -> tuple[float, int, list[torch.Tensor], float]:
        """Least loss on the validation part, when that was, the parameters then, and the penalty."""
        parameters = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        descent = torch.optim.LBFGS(parameters, max_iter=10, history_size=20, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            descent.zero_grad()
            loss = _loss(learned(parameters), learned.targets, learned.grid, objective, weights)
            loss = loss + penalty / 2 * (parameters[0].square().sum() + of_words * parameters[1].square().sum())
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        best: tuple[float, int, list[torch.Tensor]] = (float("inf"), 0, [])
        for epoch in range(1, settings.epochs + 1):
            descent.step(closure)  # type: ignore[no-untyped-call]
            with torch.no_grad():
                seen = float(_loss(looked(parameters), looked.targets, looked.grid, objective, weights))
            if seen < best[0] - 1e-6:
                best = (seen, epoch, [each.detach().clone() for each in parameters])
            elif epoch - best[1] >= settings.patience:
                break
        return *best, penalty

    pairs = [(penalty, OF_WORDS[0]) for penalty in settings.penalties]
    total = len(pairs) + (len(OF_WORDS) - 1 if words is not None else 0)
    tried: list[tuple[float, int, list[torch.Tensor], float]] = []
    while len(tried) < total:
        note("training", len(tried), total)
        if len(tried) == len(settings.penalties):
            pairs += [(min(tried, key=lambda each: each[0])[3], of_words) for of_words in OF_WORDS[1:]]
        tried.append(descended(*pairs[len(tried)]))
    note("training", total, total)
    loss, epochs, (matrix, over_words, bias), penalty = min(tried, key=lambda each: each[0])
    plain = matrix.numpy().astype(np.float64) / spread[:, None]
    shift = bias.numpy().astype(np.float64) - mean @ plain
    named = over_words.numpy() if words is not None else None
    return Fitted(plain.astype(np.float32), shift.astype(np.float32), loss, epochs, penalty, words, named)


@dataclass(frozen=True, slots=True)
class _Features:
    """One part on torch's side; called, it gives the outputs (n, k) of matrix, matrix over words, and bias."""

    dense: torch.Tensor
    """(n, dimension), standardised"""
    sparse: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None
    targets: torch.Tensor
    grid: torch.Tensor | None
    """Rows of each group, (groups, longest), -1 where there is none; None: rows stand alone."""

    def __call__(self, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        outputs = self.dense @ parameters[0] + parameters[2]
        return outputs if self.sparse is None else outputs + _bags(self.sparse, parameters[1])


def _features(sample: Sample, mean: Any, spread: Any, words: Words | None) -> _Features:
    dense = _on(((sample.vectors - mean) / spread).astype(np.float32), "cpu")
    return _Features(dense, _sparse(words, sample.texts), _targets(sample.targets), _grid(sample.lists))


def tune(
    encoder: BertTextEncoder,
    start: Fitted,
    train: Sample,
    valid: Sample,
    objective: Objective,
    settings: FitSettings,
    note: Note,
) -> Fitted:
    """The encoder with the head, from a head that was fitted before (Kumar et al. 2022, arXiv:2202.10054).

    The encoder's weights are changed in place, to those of the best pass; they are as before where no pass had a lower
    loss on the validation part than the start.
    """
    import torch  # noqa: PLC0415  as in fit_head

    network, device = encoder.network, encoder.device
    trained = _unfrozen(network, settings.layers or 0)
    matrix = torch.tensor(start.matrix, device=device, requires_grad=True)
    bias = torch.tensor(start.bias, device=device, requires_grad=True)
    groups = [{"params": trained, "lr": settings.tune_rate}, {"params": [matrix, bias], "lr": 30 * settings.tune_rate}]
    descent = torch.optim.AdamW(groups, weight_decay=0.01)
    weights = _class_weights(train.targets, len(start.bias)) if settings.balanced and objective == "classes" else None
    torch.manual_seed(settings.seed)  # dropout
    order = torch.Generator().manual_seed(settings.seed)
    y, y_valid = _targets(train.targets).to(device), _targets(valid.targets).to(device)
    by_words, by_words_valid = (_by_words(start, each).to(device) for each in (train, valid))
    count = sum(1 for _ in _steps(train, settings.tune_batch, torch.Generator()))
    total = count * settings.tune_epochs
    pace = torch.optim.lr_scheduler.LambdaLR(
        descent, lambda step: min((step + 1) / max(1, total // 10), (total - step) / max(1, total - total // 10))
    )
    grid_valid = _grid(valid.lists)

    def looked() -> float:
        network.eval()
        with torch.no_grad():
            outputs = _on(encoder.encode(valid.texts), device) @ matrix + bias + by_words_valid
            return float(_loss(outputs, y_valid, _moved(grid_valid, device), objective, weights))

    best = (looked(), 0, _copied(network), matrix.detach().clone(), bias.detach().clone())
    for epoch in range(1, settings.tune_epochs + 1):
        network.train()
        for step, (rows, grid) in enumerate(_steps(train, settings.tune_batch, order)):
            note("training with the encoder", (epoch - 1) * count + step, total)
            vectors = _pooled(encoder, [train.texts[row] for row in rows])
            outputs = vectors @ matrix + bias + by_words[rows]
            loss = _loss(outputs, y[rows], _moved(grid, device), objective, weights)
            descent.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            descent.step()
            pace.step()
        seen = looked()
        if seen < best[0]:
            best = (seen, epoch, _copied(network), matrix.detach().clone(), bias.detach().clone())
    note("training with the encoder", total, total)
    loss_, epochs, weights_of, matrix_, bias_ = best
    network.load_state_dict(weights_of)
    network.eval().requires_grad_(False)
    return replace(
        start,
        matrix=matrix_.cpu().numpy(),
        bias=bias_.cpu().numpy(),
        loss=loss_,
        epochs=epochs,
        tuned=epochs > 0,
    )


def _by_words(fitted: Fitted, sample: Sample) -> torch.Tensor:
    """What the words add to each row's outputs, (n, outputs), or (n, 1) of zeros."""
    import torch  # noqa: PLC0415  as in fit_head

    sparse = _sparse(fitted.words, sample.texts)
    return torch.zeros(len(sample.texts), 1) if sparse is None else _bags(sparse, torch.tensor(fitted.words_matrix))


def _moved(grid: torch.Tensor | None, device: str) -> torch.Tensor | None:
    return None if grid is None else grid.to(device)


# ----------------------------------------------------------------------------------------------------------- losses
def _loss(
    outputs: torch.Tensor,
    targets: torch.Tensor,
    grid: torch.Tensor | None,
    objective: Objective,
    weights: torch.Tensor | None,
) -> torch.Tensor:
    """Mean loss over rows, of ranking over groups. outputs (n, k), targets (n,), grid as `_Features.grid`."""
    import torch  # noqa: PLC0415  as in fit_head

    functions = torch.nn.functional
    if objective == "classes":
        return functions.cross_entropy(outputs, targets, weight=None if weights is None else weights.to(outputs))
    if objective == "numbers" or grid is None:
        return functions.mse_loss(outputs[:, 0], targets)
    there = grid >= 0  # (g, longest)
    places = grid.clamp(min=0)
    scores, relevance = outputs[:, 0][places], targets[places]
    if objective == "listwise":
        said = scores.masked_fill(~there, -1e9).log_softmax(1)
        asked = relevance.masked_fill(~there, -1e9).softmax(1)
        return -(asked * said).sum(1).mean()
    better = (relevance[:, :, None] > relevance[:, None, :]) & there[:, :, None] & there[:, None, :]
    losses = functions.softplus(scores[:, None, :] - scores[:, :, None]) * better  # (g, longest, longest)
    return (losses.sum((1, 2)) / better.sum((1, 2)).clamp(min=1)).mean()


def _class_weights(targets: Targets, classes: int) -> torch.Tensor:
    """n / (classes * rows of the class), as scikit-learn's `balanced`."""
    import torch  # noqa: PLC0415  as in fit_head

    counts = np.maximum(np.bincount(targets, minlength=classes), 1)
    return torch.tensor(len(targets) / (classes * counts), dtype=torch.float32)


# ------------------------------------------------------------------------------------------------------------ tensors
def _steps(sample: Sample, batch: int, order: torch.Generator) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Rows of each step of one pass, in a new order; of ranking whole groups, and their grid over these rows."""
    import torch  # noqa: PLC0415  as in fit_head

    if sample.lists is None:
        rows = torch.randperm(len(sample.targets), generator=order).numpy()
        for start in range(0, len(rows), batch):
            yield rows[start : start + batch], None
        return
    chosen: list[NDArray[np.int64]] = []
    places = torch.randperm(len(sample.lists), generator=order).tolist()
    for number, place in enumerate(places, start=1):
        chosen.append(sample.lists[place])
        if sum(map(len, chosen)) >= batch or number == len(places):
            starts = np.cumsum([0, *map(len, chosen)])
            yield np.concatenate(chosen), _grid([np.arange(*pair) for pair in pairwise(starts)])
            chosen = []


def _grid(lists: Sequence[NDArray[np.int64]] | None) -> torch.Tensor | None:
    import torch  # noqa: PLC0415  as in fit_head

    if lists is None:
        return None
    grid = np.full((len(lists), max(map(len, lists))), -1, np.int64)
    for row, places in zip(grid, lists, strict=True):
        row[: len(places)] = places
    return torch.tensor(grid)


def _sparse(words: Words | None, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Buckets, values and starts, as `embedding_bag` takes them."""
    import torch  # noqa: PLC0415  as in fit_head

    if words is None:
        return None
    places, values, starts = words.rows(texts)
    return torch.tensor(places), torch.tensor(values), torch.tensor(starts)


def _bags(sparse: tuple[torch.Tensor, torch.Tensor, torch.Tensor], matrix: torch.Tensor) -> torch.Tensor:
    """Sparse rows times a matrix: (n, outputs)."""
    import torch  # noqa: PLC0415  as in fit_head

    places, values, starts = sparse
    return torch.nn.functional.embedding_bag(places, matrix, starts, mode="sum", per_sample_weights=values)


def _targets(targets: Targets) -> torch.Tensor:
    import torch  # noqa: PLC0415  as in fit_head

    whole = np.issubdtype(targets.dtype, np.integer)
    return torch.tensor(targets, dtype=torch.int64 if whole else torch.float32)


def _on(vectors: Vectors, device: str) -> torch.Tensor:
    import torch  # noqa: PLC0415  as in fit_head

    return torch.tensor(vectors, device=device)


# ------------------------------------------------------------------------------------------------------- the encoder
def _pooled(encoder: BertTextEncoder, texts: Sequence[str]) -> torch.Tensor:
    """Vectors as `encoder.encode` gives them, (n, dimension), with gradients."""
    import torch  # noqa: PLC0415  as in fit_head

    vectors: list[torch.Tensor] = [torch.empty(0)] * len(texts)
    for rows, tokens in encoder.pre(texts):
        on_device = {name: tensor.to(encoder.device) for name, tensor in tokens.items()}
        hidden = encoder.network(**on_device).last_hidden_state.float()  # (b, t, dimension)
        mask = on_device["attention_mask"].unsqueeze(-1).float()  # (b, t, 1)
        pooled = torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=1)
        for row, vector in zip(rows, pooled, strict=True):
            vectors[row] = vector
    return torch.stack(vectors)


def _unfrozen(network: Any, layers: int) -> list[torch.Tensor]:
    """The parameters that are trained: of the last `layers` layers, 0: all."""
    network.requires_grad_(layers == 0)
    if layers:
        for layer in network.encoder.layer[-layers:]:
            layer.requires_grad_(True)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _copied(network: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
