"""PoolFormer: averages of 3x3 positions in the place of attention (Yu et al. 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.translators.parts import (
    ChannelsLast,
    Place,
    Residual,
    draw_weights,
    feed_forward,
)

LAYER_SCALE = 1e-5


class PoolingMixer(nn.Module):
    """The mean of a position and those of its neighbours that exist, less the position itself."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,C,H,W] for x [B,C,H,W]."""
        y: Tensor = self.pool(x) - x
        return y


class PoolFormerBlock(nn.Sequential):
    """Pooling, then a feed-forward layer."""

    def __init__(self, place: Place) -> None:
        width = place.width
        mix = ChannelsLast(*feed_forward(width))
        super().__init__(
            Residual(nn.Sequential(nn.GroupNorm(1, width), PoolingMixer()), place, LAYER_SCALE),
            Residual(nn.Sequential(nn.GroupNorm(1, width), mix), place, LAYER_SCALE),
        )
        self.apply(draw_weights)
