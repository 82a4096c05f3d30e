"""Swin: attention within windows, shifted in every second block (Liu et al. 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.translators.parts import (
    ChannelsLast,
    Place,
    Residual,
    draw_weights,
    feed_forward,
)
from models.layers.window_attention import WindowAttention

HEADS = 8


class ShiftedWindows(nn.Module):
    """Attention within windows of 4 to 8 positions a side, more where maps cannot be so divided."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        height = place.map_shape[0]
        window = min(8, max(4, height // 16)) if height % 7 else 7
        self.attention = WindowAttention(
            place.width, place.map_shape, window, HEADS, shifted=place.number % 2 == 1
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,H,W,width] for x [B,H,W,width]."""
        y: Tensor = self.attention(x, self.attention.bias())
        return y


class SwinBlock(nn.Sequential):
    """Attention within windows, then a feed-forward layer; each normalised over channels first."""

    def __init__(self, place: Place) -> None:
        width = place.width
        super().__init__(
            Residual(ChannelsLast(nn.LayerNorm(width), ShiftedWindows(place)), place),
            Residual(ChannelsLast(nn.LayerNorm(width), *feed_forward(width)), place),
        )
        self.apply(draw_weights)
