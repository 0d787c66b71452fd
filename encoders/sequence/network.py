"""The sequence networks in PyTorch, as they are trained: a GRU, and the causal BERT that it may learn from.

Both take item vectors [text | free | kind | gap] and give, at each event, a direction in the items' space; what comes
next is told from other items by a softmax over cosines.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from encoders.sequence.bert import BertWeights, bert_model
from encoders.sequence.gru import GruWeights
from encoders.sequence.reading import TextWeights
from encoders.sequence.settings import EXTRAS, SequenceSettings
from encoders.session import Vector

FIRST_SPREAD = 0.1
"""Of free numbers where items have no text to begin from."""
FIRST_SHARPNESS = 14.0
SHARPEST = 100.0
"""What cosines are multiplied by before the softmax: at first, and at most."""


class ItemTable(nn.Module):
    """Items' vectors, of length 1: frozen text and free numbers, 0 at first where there is text."""

    def __init__(self, texts: Vector, free: int) -> None:
        """`texts`: (items, text), each of length 1 or zeros."""
        super().__init__()
        self.text: torch.Tensor
        self.register_buffer("text", torch.from_numpy(texts))
        spread = torch.where(self.text.any(dim=1, keepdim=True), 0.0, FIRST_SPREAD) if texts.size else FIRST_SPREAD
        self.free = nn.Parameter(torch.randn(len(texts), free) * spread)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(..., dimension) of items."""
        # Not self.free[codes]: threads add up its gradient in the order in which they come.
        free = functional.embedding(codes, self.free)
        return functional.normalize(torch.cat([self.text[codes], free], dim=-1), dim=-1)

    def all(self) -> torch.Tensor:
        """(items, dimension)."""
        return functional.normalize(torch.cat([self.text, self.free], dim=-1), dim=-1)


class Batch(NamedTuple):
    """Sessions, padded at their ends."""

    codes: torch.Tensor
    """(b, t), 0 where there is nothing."""
    told: torch.Tensor
    """(b, t, EXTRAS)"""
    there: torch.Tensor
    """(b, t), bool."""
    read: torch.Tensor
    """(b, t, reader's dimension): what the words so far say; 0 wide where nothing is read."""


class _ToldFrom(torch.autograd.Function):
    """The mean of -log softmax of what came among itself and what did not, equal to the bit to what torch makes of
    `functional.cross_entropy` over all logits, and a quarter cheaper: those are written once, where they are read."""

    @staticmethod
    def forward(
        ctx: Any,
        found: torch.Tensor,
        others: torch.Tensor,
        right: torch.Tensor,
        scale: torch.Tensor,
        often: float,
        barred: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """
        Args:
            found: (n, dimension). others: (m, dimension). right: (n, 1), the logits of what came. often: added to the
                others' logits. barred: rows and columns of others that are what came.
        """
        cosines = found @ others.T
        logits = cosines.new_empty(len(found), 1 + len(others))
        logits[:, :1], wrong = right, logits[:, 1:]
        torch.mul(cosines, scale, out=wrong)
        wrong += often
        wrong[barred] = -1e9
        surprise = functional.log_softmax(logits, dim=1)
        first = torch.zeros(len(found), dtype=torch.long, device=found.device)
        loss: torch.Tensor
        loss, ctx.total = torch.ops.aten.nll_loss_forward(surprise, first, None, 1, -100)
        ctx.save_for_backward(found, others, scale, cosines, surprise, first)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        found, others, scale, cosines, surprise, first = ctx.saved_tensors
        of_nll = torch.ops.aten.nll_loss_backward(gradient, surprise, first, None, 1, -100, ctx.total)
        logits = torch.ops.aten._log_softmax_backward_data(of_nll, surprise, 1, surprise.dtype)
        right, wrong = logits[:, :1], logits[:, 1:]
        of_scale = (wrong * cosines).sum()
        wrong = wrong * scale
        return wrong @ others, wrong.T @ found, right, of_scale, None, None


class SequenceNetwork(nn.Module):
    """Item table, encoder, and the way back into the items' space."""

    def __init__(self, texts: Vector, settings: SequenceSettings, encoder: str, reading: int = 0) -> None:
        """
        Args:
            encoder: `gru`, `bert`, or `text`, which maps what was read, of dimension `reading`, and has nothing else
                to train.
        """
        super().__init__()
        self.gru: nn.GRU | None = None
        self.encoder, self.reading = encoder, reading
        self.table = ItemTable(texts, settings.free)
        width, hidden = settings.dimension, settings.hidden
        self.dropout = nn.Dropout(settings.dropout)
        if encoder == "gru":
            self.gru = nn.GRU(width + EXTRAS, hidden, batch_first=True)
        elif encoder == "text":
            hidden = reading
        else:
            self.into = nn.Linear(width + EXTRAS, hidden)
            self.bert = bert_model(hidden, settings.dropout)
        self.out = nn.Linear(hidden, width)
        self.skip = nn.Parameter(torch.ones(1))
        self.sharpness = nn.Parameter(torch.tensor(math.log(FIRST_SHARPNESS)))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Directions, (b, t, dimension), each of length 1."""
        if self.encoder == "text":
            return functional.normalize(self.out(self.dropout(batch.read)), dim=-1)
        items = self.dropout(self.table(batch.codes))
        inputs = torch.cat([items, batch.told], dim=-1)
        if self.gru is not None:
            hidden, _ = self.gru(inputs)
        else:
            hidden = self.bert(inputs_embeds=self.into(inputs), attention_mask=batch.there.long()).last_hidden_state
        return functional.normalize(self.out(self.dropout(hidden)) + self.skip * items, dim=-1)

    def scale(self) -> torch.Tensor:
        """What cosines are multiplied by."""
        return self.sharpness.exp().clamp(max=SHARPEST)

    def loss(self, found: torch.Tensor, targets: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """Sampled softmax: the mean log loss of what came, told from items that all share; itself among them is left
        out.

        Args:
            found: (n, dimension), directions. targets: (n,), codes. negatives: (m,), codes drawn evenly.
        """
        scale = self.scale()
        right = (found * self.table(targets)).sum(dim=-1, keepdim=True) * scale  # (n, 1)
        often = math.log(len(self.table.free) / len(negatives))
        rows = torch.isin(targets, negatives).nonzero()[:, 0]  # few
        places, columns = (negatives[None, :] == targets[rows, None]).nonzero(as_tuple=True)
        told: torch.Tensor = _ToldFrom.apply(found, self.table(negatives), right, scale, often, (rows[places], columns))  # type: ignore[no-untyped-call]
        return told

    def weights(self) -> GruWeights | BertWeights | TextWeights:
        """Of the encoder, for serving."""
        if self.encoder == "text":
            return TextWeights(_array(self.out.weight), _array(self.out.bias))
        if self.gru is None:
            beside = ("table.", "sharpness")
            return BertWeights(
                {name: _array(part) for name, part in self.state_dict().items() if not name.startswith(beside)}
            )
        names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
        parts = [self.gru.get_parameter(name) for name in names]
        return GruWeights(*(_array(part) for part in (*parts, self.out.weight, self.out.bias, self.skip)))


def _array(tensor: torch.Tensor) -> Vector:
    return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(np.float32))
