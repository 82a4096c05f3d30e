"""HorNet: channels multiplied by convolutions of others, order by order (Rao et al. 2022)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.layers.translators.parts import (
    ChannelsLast,
    Place,
    Residual,
    depthwise,
    draw_weights,
    feed_forward,
)

ORDER = 4
LAYER_SCALE = 1e-6


class RecursiveGatedConvolution(nn.Module):
    """The paper's g^n Conv of order 4.

    Of widths w = width / 8, / 4, / 2 and / 1: x_0 = a * b_0, x_k = project(x_{k-1}) * b_k, where a
    is as wide as b_0 and all b come from one 7x7 depthwise convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widths = [width >> n for n in reversed(range(ORDER))]
        self.enter = nn.Conv2d(width, 2 * width, 1)
        self.spread = depthwise(sum(self.widths), 7)
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(self.widths))
        self.leave = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]; the width is a multiple of 8."""
        x, gates = self.enter(x).split((self.widths[0], sum(self.widths)), 1)
        first, *others = torch.split(self.spread(gates), self.widths, 1)
        x = x * first
        for widen, gate in zip(self.widen, others, strict=True):
            x = widen(x) * gate
        y: Tensor = self.leave(x)
        return y


class HorNetBlock(nn.Sequential):
    """Recursive gated convolution, then a feed-forward layer."""

    def __init__(self, place: Place) -> None:
        width = place.width
        gate = (ChannelsLast(nn.LayerNorm(width)), RecursiveGatedConvolution(width))
        mix = ChannelsLast(nn.LayerNorm(width), *feed_forward(width))
        super().__init__(
            Residual(nn.Sequential(*gate), place, LAYER_SCALE),
            Residual(mix, place, LAYER_SCALE),
        )
        self.apply(draw_weights)
