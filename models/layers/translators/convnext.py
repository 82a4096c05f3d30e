"""ConvNeXt: a depthwise convolution, then a feed-forward layer, in one branch (Liu et al. 2022)."""

from __future__ import annotations

from torch import nn

from models.layers.translators.parts import (
    ChannelsLast,
    Place,
    Residual,
    depthwise,
    draw_weights,
    feed_forward,
)


class ConvNeXtBlock(nn.Sequential):
    """7x7 depthwise, normalised, fed forward."""

    def __init__(self, place: Place) -> None:
        width = place.width
        mix = ChannelsLast(nn.LayerNorm(width), *feed_forward(width))
        super().__init__(Residual(nn.Sequential(depthwise(width, 7), mix), place, scale=1e-6))
        self.apply(draw_weights)
