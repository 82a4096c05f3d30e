"""Stochastic depth: residual branches left out of some sequences of a training step."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training a branch is left out of some sequences.

    It is scaled up in the others, so that its mean stays.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """`branch` [B,...], of each sequence zero with the probability `rate`."""
        if not self.training or not self.rate:
            return branch
        kept = branch.new_ones(len(branch), *[1] * (branch.dim() - 1))
        return branch * F.dropout(kept, self.rate)
