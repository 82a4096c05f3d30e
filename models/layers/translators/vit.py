"""ViT: attention among all positions of a map (Dosovitskiy et al. 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.translators.parts import (
    ChannelsLast,
    Place,
    Residual,
    draw_weights,
    feed_forward,
)

HEADS = 8


class SelfAttention(nn.Module):
    """Attention of all positions to all; where they are, it is not told."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,H,W,width] for x [B,H,W,width]."""
        heads = self.query_key_value(x.flatten(1, 2)).unflatten(-1, (3, HEADS, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.project(mixed.transpose(1, 2).reshape(x.shape))
        return y


class ViTBlock(nn.Sequential):
    """Attention, then a feed-forward layer; each normalised over channels first."""

    def __init__(self, place: Place) -> None:
        width = place.width
        super().__init__(
            Residual(ChannelsLast(nn.LayerNorm(width), SelfAttention(width)), place),
            Residual(ChannelsLast(nn.LayerNorm(width), *feed_forward(width)), place),
        )
        self.apply(draw_weights)
