"""What the blocks of the translators are put together from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.layers.drop_path import DropPath

MLP_RATIO = 8
"""Of a feed-forward layer's hidden channels to its own: as OpenSTL's models are published."""


class Place(NamedTuple):
    """Where in a translator a block stands."""

    width: int
    """Channels of the map, which every block keeps."""
    map_shape: tuple[int, int]
    """Height and width of the map."""
    drop_path: float
    """The share of sequences that each residual branch is left out of in training."""
    number: int
    """How many blocks come before."""
    changes_width: bool
    """Whether channels change after it."""


class Residual(nn.Module):
    """x + drop_path(scale * branch(x)), with a learnt scale for each channel where one is given.

    Args:
        branch: keeps the shape of a map [B,width,H,W].
        place: where the block stands.
        scale: what the scales start as (Touvron et al. 2021, LayerScale); None for no scales.
    """

    def __init__(self, branch: nn.Module, place: Place, scale: float | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.scale = None if scale is None else channel_scale(place.width, scale)
        self.drop_path = DropPath(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]."""
        y: Tensor = self.branch(x)
        y = self.drop_path(y if self.scale is None else self.scale * y)
        return x + y


class ChannelsLast(nn.Sequential):
    """Layers in turn on maps [B,H,W,C]; it takes and gives [B,C,H,W]."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,C',H,W] for x [B,C,H,W]."""
        x = x.permute(0, 2, 3, 1)
        for layer in self:
            x = layer(x)
        return x.permute(0, 3, 1, 2)


def channel_scale(width: int, start: float) -> nn.Parameter:
    """A learnt factor [width,1,1] for each channel of a map, `start` at first."""
    return nn.Parameter(torch.full((width, 1, 1), start))


def depthwise(width: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution of each channel by itself that keeps the map's size."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(width, width, kernel, 1, padding, dilation, groups=width)


def feed_forward(width: int) -> nn.Sequential:
    """Two linear layers over the channels of maps [B,H,W,width], GELU between."""
    return nn.Sequential(
        nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width)
    )


def conv_feed_forward(width: int) -> nn.Sequential:
    """A feed-forward layer on maps [B,width,H,W] with a 3x3 depthwise convolution before GELU."""
    return nn.Sequential(
        nn.Conv2d(width, MLP_RATIO * width, 1),
        depthwise(MLP_RATIO * width, 3),
        nn.GELU(),
        nn.Conv2d(MLP_RATIO * width, width, 1),
    )


def draw_weights(layer: nn.Module) -> None:
    """Initial weights as OpenSTL draws its blocks'; for `Module.apply`.

    Convolutions from N(0, 2 / fan-out) (He et al. 2015), linear layers from N(0, .02^2), biases 0.
    """
    if isinstance(layer, nn.Conv2d):
        fan_out = layer.out_channels * math.prod(layer.kernel_size) // layer.groups
        nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
