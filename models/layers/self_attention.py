"""Attention of all tokens to all."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head attention among all tokens; where they are, it is not told.

    Args:
        width: channels of a token; a multiple of `heads`.
        heads: attention heads.
        bias: whether queries, keys and values have one.
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=bias)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B,...,width] for x of the same shape; all of a row of the batch are seen."""
        heads = self.query_key_value(x.flatten(1, -2)).unflatten(-1, (3, self.heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.project(mixed.transpose(1, 2).reshape(x.shape))
        return y
