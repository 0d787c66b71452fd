"""Training by gradient, the one file of the heads that imports torch: the head alone, or with its encoder.

Features are standardised on the training part while training; what comes out takes the vectors as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from encoders.bert import BertTextEncoder
from encoders.heads.head import Vectors

if TYPE_CHECKING:
    import torch

Objective = Literal["classes", "numbers", "listwise", "pairwise"]
Note = Callable[[str, int, int], None]
"""Hears of a stage, how much of it is done, and how much there is."""
Targets = NDArray[Any]

ROWS_AT_ONCE = 4096
"""Of a pass that only looks."""


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
    epochs: int = 100
    """Most passes of the head alone."""
    patience: int = 8
    """Passes without a better loss on the validation part before it stops."""
    batch: int = 256
    """Rows of a step; of a large table a hundredth of its rows."""
    rate: float = 1e-2
    """Adam's."""
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
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
    lists: Sequence[NDArray[np.int64]] | None = None
    """Of ranking: the rows of each group."""
    texts: Sequence[str] = ()
    """Of those who train the encoder too."""


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
    tuned: bool = False
    """Whether the encoder's weights are others than before."""


def fit_head(
    train: Sample, valid: Sample, outputs: int, objective: Objective, settings: FitSettings, note: Note
) -> Fitted:
    """The head on vectors that stay as they are."""
    import torch  # noqa: PLC0415  takes a second, and whoever serves needs none of it

    mean = train.vectors.mean(axis=0, dtype=np.float64)
    spread = train.vectors.std(axis=0, dtype=np.float64)
    spread = np.where(spread > 1e-6, spread, 1.0)
    x, y = _tensors((train.vectors - mean) / spread, train.targets)
    x_valid, y_valid = _tensors((valid.vectors - mean) / spread, valid.targets)
    weights = _class_weights(train.targets, outputs) if settings.balanced and objective == "classes" else None
    tried = []
    for place, penalty in enumerate(settings.penalties):
        note("training", place, len(settings.penalties))
        order = torch.Generator().manual_seed(settings.seed)
        matrix = torch.zeros(x.shape[1], outputs, requires_grad=True)
        bias = torch.zeros(outputs, requires_grad=True)
        descent = torch.optim.Adam([matrix, bias], lr=settings.rate)
        best = (float("inf"), 0, matrix.detach().clone(), bias.detach().clone())
        for epoch in range(1, settings.epochs + 1):
            for rows, sizes in _steps(train, max(settings.batch, len(x) // 100), order):
                loss = _loss(x[rows] @ matrix + bias, y[rows], sizes, objective, weights)
                loss = loss + penalty / 2 * matrix.square().sum()
                descent.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                descent.step()
            with torch.inference_mode():
                rows, sizes = _all(valid)
                seen = float(_loss(x_valid[rows] @ matrix + bias, y_valid[rows], sizes, objective, weights))
            if seen < best[0]:
                best = (seen, epoch, matrix.detach().clone(), bias.detach().clone())
            elif epoch - best[1] >= settings.patience:
                break
        tried.append((best[0], penalty, best))
    note("training", len(settings.penalties), len(settings.penalties))
    loss_, penalty, (_, epochs, matrix_, bias_) = min(tried, key=lambda each: (each[0], each[1]))
    plain = matrix_.numpy().astype(np.float64) / spread[:, None]
    shift = bias_.numpy().astype(np.float64) - mean @ plain
    return Fitted(plain.astype(np.float32), shift.astype(np.float32), loss_, epochs, penalty)


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

    network = encoder.network
    trained = _unfrozen(network, settings.layers or 0)
    matrix = torch.tensor(start.matrix, device=encoder.device, requires_grad=True)
    bias = torch.tensor(start.bias, device=encoder.device, requires_grad=True)
    groups = [{"params": trained, "lr": settings.tune_rate}, {"params": [matrix, bias], "lr": 30 * settings.tune_rate}]
    descent = torch.optim.AdamW(groups, weight_decay=0.01)
    weights = _class_weights(train.targets, len(start.bias)) if settings.balanced and objective == "classes" else None
    torch.manual_seed(settings.seed)  # dropout
    order = torch.Generator().manual_seed(settings.seed)
    y, y_valid = _targets(train.targets), _targets(valid.targets)
    count = sum(1 for _ in _steps(train, settings.tune_batch, torch.Generator()))
    total = count * settings.tune_epochs
    pace = torch.optim.lr_scheduler.LambdaLR(
        descent, lambda step: min((step + 1) / max(1, total // 10), (total - step) / max(1, total - total // 10))
    )

    def looked() -> float:
        network.eval()
        rows, sizes = _all(valid)
        outputs = _on(encoder.encode([valid.texts[row] for row in rows]), encoder.device) @ matrix + bias
        return float(_loss(outputs, y_valid[rows].to(encoder.device), sizes, objective, weights))

    with torch.inference_mode():
        best = (looked(), 0, _copied(network), matrix.detach().clone(), bias.detach().clone())
    for epoch in range(1, settings.tune_epochs + 1):
        network.train()
        for step, (rows, sizes) in enumerate(_steps(train, settings.tune_batch, order)):
            note("training with the encoder", (epoch - 1) * count + step, total)
            vectors = _pooled(encoder, [train.texts[row] for row in rows])
            loss = _loss(vectors @ matrix + bias, y[rows].to(encoder.device), sizes, objective, weights)
            descent.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            descent.step()
            pace.step()
        with torch.inference_mode():
            seen = looked()
            if seen < best[0]:
                best = (seen, epoch, _copied(network), matrix.detach().clone(), bias.detach().clone())
    note("training with the encoder", total, total)
    loss_, epochs, weights_of, matrix_, bias_ = best
    network.load_state_dict(weights_of)
    network.eval().requires_grad_(False)
    return Fitted(matrix_.cpu().numpy(), bias_.cpu().numpy(), loss_, epochs, start.penalty, tuned=epochs > 0)


# ----------------------------------------------------------------------------------------------------------- losses
def _loss(
    outputs: torch.Tensor,
    targets: torch.Tensor,
    sizes: Sequence[int],
    objective: Objective,
    weights: torch.Tensor | None,
) -> torch.Tensor:
    """Mean loss. outputs (n, k), targets (n,); sizes: rows of each group, which stand one after the other."""
    import torch  # noqa: PLC0415  as in fit_head

    functions = torch.nn.functional
    if objective == "classes":
        return functions.cross_entropy(outputs, targets, weight=None if weights is None else weights.to(outputs))
    if objective == "numbers":
        return functions.mse_loss(outputs[:, 0], targets)
    losses = []
    parts = torch.split(outputs[:, 0], list(sizes)), torch.split(targets, list(sizes))
    for scores, relevance in zip(*parts, strict=True):
        if objective == "listwise":
            losses.append(-(relevance.softmax(0) * scores.log_softmax(0)).sum())
        else:
            better = relevance[:, None] > relevance[None, :]  # (g, g)
            if better.any():
                losses.append(functions.softplus(-(scores[:, None] - scores[None, :]))[better].mean())
    return torch.stack(losses).mean() if losses else outputs.sum() * 0


def _class_weights(targets: Targets, classes: int) -> torch.Tensor:
    """n / (classes * rows of the class), as scikit-learn's `balanced`."""
    import torch  # noqa: PLC0415  as in fit_head

    counts = np.maximum(np.bincount(targets, minlength=classes), 1)
    return torch.tensor(len(targets) / (classes * counts), dtype=torch.float32)


# ------------------------------------------------------------------------------------------------------------- steps
def _steps(sample: Sample, batch: int, order: torch.Generator) -> Iterator[tuple[NDArray[np.int64], list[int]]]:
    """Rows of each step of one pass, in a new order; of ranking whole groups, and how many rows each has."""
    import torch  # noqa: PLC0415  as in fit_head

    if sample.lists is None:
        rows = torch.randperm(len(sample.targets), generator=order).numpy()
        for start in range(0, len(rows), batch):
            yield rows[start : start + batch], []
        return
    chosen: list[NDArray[np.int64]] = []
    for place in torch.randperm(len(sample.lists), generator=order).tolist():
        chosen.append(sample.lists[place])
        if sum(map(len, chosen)) >= batch:
            yield np.concatenate(chosen), [len(rows) for rows in chosen]
            chosen = []
    if chosen:
        yield np.concatenate(chosen), [len(rows) for rows in chosen]


def _all(sample: Sample) -> tuple[NDArray[np.int64], list[int]]:
    """All rows, groups one after the other."""
    if sample.lists is None:
        return np.arange(len(sample.targets)), []
    return np.concatenate(sample.lists), [len(rows) for rows in sample.lists]


def _tensors(vectors: NDArray[np.float64], targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    return _on(vectors.astype(np.float32), "cpu"), _targets(targets)


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
