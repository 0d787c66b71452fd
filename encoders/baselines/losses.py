"""Sampled softmax: the right item is told from some wrong ones that the whole batch shares; torch from its own door."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from encoders.baselines.sequences import Numbers


def expected(counts: Numbers, uniform: int, shared: int) -> Tensor:
    """float32 (items,): log of how often an item is drawn for a batch, in the mean.

    Args:
        counts: (items,), how often each is a target.
        uniform: items drawn from all alike.
        shared: items drawn from the targets of the batch.
    """
    share = counts / max(int(counts.sum()), 1)
    return torch.from_numpy(np.log(uniform / len(counts) + shared * share).astype(np.float32))


def draw(targets: Tensor, items: int, uniform: int, shared: int) -> Tensor:
    """(uniform + shared,) wrong items of a batch; targets: (t,)."""
    own = targets[torch.randint(len(targets), (shared,))]
    return torch.cat([torch.randint(items, (uniform,)), own])


def sampled_softmax(states: Tensor, targets: Tensor, table: Tensor, wrong: Tensor, drawn: Tensor) -> Tensor:
    """Mean of -log softmax of the right item among itself and the wrong ones, each of which stands for as many as it is
    drawn seldom (Bengio and Senecal 2008; drawn from two sources as in Yang et al. 2020). A wrong item that is the
    right one of its row is left out there.

    Args:
        states: (t, d). targets: (t,). table: (items, d). wrong: (m,). drawn: (items,), see `expected`.
    """
    wrong = wrong.sort().values
    logits = torch.addmm(-drawn[wrong], states, table[wrong].T)  # (t, m)
    first, behind = (torch.searchsorted(wrong, targets, right=right) for right in (False, True))  # (t,) each
    rows = torch.arange(len(targets)).repeat_interleave(behind - first)
    places = torch.arange(len(rows)) - (torch.cumsum(behind - first, 0) - behind)[rows]  # first, first + 1, ... a row
    logits = logits.index_put_((rows, places), torch.tensor(-torch.inf))
    right = (states * table[targets]).sum(dim=1)  # (t,)
    return (torch.logaddexp(right, torch.logsumexp(logits, dim=1)) - right).mean()
