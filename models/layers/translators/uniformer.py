"""UniFormer: convolutions where maps change, attention between (Li et al. 2022)."""

from __future__ import annotations

from torch import nn

from models.layers.self_attention import SelfAttention
from models.layers.translators.parts import (
    MLP_RATIO,
    ChannelsLast,
    Place,
    Residual,
    depthwise,
    draw_weights,
    feed_forward,
)
from models.layers.translators.vit import HEADS

LAYER_SCALE = 1e-6


def uniformer_block(place: Place) -> nn.Module:
    """A local block first in the translator and before a change of width, else a global one."""
    local = place.number == 0 or place.changes_width
    return LocalBlock(place) if local else GlobalBlock(place)


class LocalBlock(nn.Sequential):
    """Positions encoded by a convolution, then 5x5 neighbours mixed, then channels."""

    def __init__(self, place: Place) -> None:
        width = place.width
        aggregate = (nn.Conv2d(width, width, 1), depthwise(width, 5), nn.Conv2d(width, width, 1))
        mix = (
            nn.Conv2d(width, MLP_RATIO * width, 1),
            nn.GELU(),
            nn.Conv2d(MLP_RATIO * width, width, 1),
        )
        super().__init__(
            Residual(depthwise(width, 3), place._replace(drop_path=0.0)),
            Residual(nn.Sequential(nn.BatchNorm2d(width), *aggregate), place),
            Residual(nn.Sequential(nn.BatchNorm2d(width), *mix), place),
        )
        self.apply(draw_weights)


class GlobalBlock(nn.Sequential):
    """Positions encoded by a convolution, then attention among all, then channels mixed.

    The convolution keeps PyTorch's initial weights, as OpenSTL's.
    """

    def __init__(self, place: Place) -> None:
        width = place.width
        attend = ChannelsLast(nn.LayerNorm(width), SelfAttention(width, HEADS))
        mix = ChannelsLast(nn.LayerNorm(width), *feed_forward(width))
        for part in (attend, mix):
            part.apply(draw_weights)
        super().__init__(
            Residual(depthwise(width, 3), place._replace(drop_path=0.0)),
            Residual(attend, place, LAYER_SCALE),
            Residual(mix, place, LAYER_SCALE),
        )
