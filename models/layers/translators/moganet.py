"""MogaNet: gated aggregation of contexts of several sizes (Li et al. 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.translators.parts import (
    MLP_RATIO,
    Place,
    Residual,
    channel_scale,
    depthwise,
    draw_weights,
)

SCALE = 1e-5


class MultiOrderContext(nn.Module):
    """5x5 depthwise; then an eighth of the channels as they are, three and four of them further.

    Those see kernels of 5 and 7 with dilations of 2 and 3.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widths = (width // 8, 3 * width // 8, width // 2)
        self.near = depthwise(width, 5)
        self.middle = depthwise(self.widths[1], 5, dilation=2)
        self.far = depthwise(self.widths[2], 7, dilation=3)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]; the width is a multiple of 8."""
        near, middle, far = self.near(x).split(self.widths, 1)
        y: Tensor = self.mix(torch.cat((near, self.middle(middle), self.far(far)), 1))
        return y


class GatedAggregation(nn.Module):
    """Contexts times a gate, of details set off from the mean; with a shortcut of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(width, width, 1)
        self.detail = channel_scale(width, SCALE)
        self.gate = nn.Conv2d(width, width, 1)
        self.context = MultiOrderContext(width)
        self.leave = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]."""
        y: Tensor = self.enter(x)
        y = F.silu(y + self.detail * (y - y.mean((2, 3), keepdim=True)))
        y = self.leave(F.silu(self.gate(y)) * F.silu(self.context(y)))
        return x + y


class ChannelAggregation(nn.Module):
    """A feed-forward layer inside of which channels are set off from what they have in common."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = MLP_RATIO * width
        self.enter = nn.Sequential(nn.Conv2d(width, inner, 1), depthwise(inner, 3), nn.GELU())
        self.common = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.GELU())
        self.own = channel_scale(inner, SCALE)
        self.leave = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]."""
        inner = self.enter(x)
        y: Tensor = self.leave(inner + self.own * (inner - self.common(inner)))
        return y


class MogaNetBlock(nn.Sequential):
    """Gated aggregation over positions, then over channels."""

    def __init__(self, place: Place) -> None:
        width = place.width
        super().__init__(
            Residual(nn.Sequential(nn.BatchNorm2d(width), GatedAggregation(width)), place, SCALE),
            Residual(nn.Sequential(nn.BatchNorm2d(width), ChannelAggregation(width)), place, SCALE),
        )
        self.apply(draw_weights)
