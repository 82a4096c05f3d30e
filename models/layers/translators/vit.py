"""ViT: attention among all positions of a map (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from torch import nn

from models.layers.self_attention import SelfAttention
from models.layers.translators.parts import (
    ChannelsLast,
    Place,
    Residual,
    draw_weights,
    feed_forward,
)

HEADS = 8


class ViTBlock(nn.Sequential):
    """Attention, then a feed-forward layer; each normalised over channels first."""

    def __init__(self, place: Place) -> None:
        width = place.width
        super().__init__(
            Residual(ChannelsLast(nn.LayerNorm(width), SelfAttention(width, HEADS)), place),
            Residual(ChannelsLast(nn.LayerNorm(width), *feed_forward(width)), place),
        )
        self.apply(draw_weights)
