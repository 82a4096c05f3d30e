"""ConvMixer: a depthwise convolution beside a shortcut, then a 1x1 one (Trockman & Kolter 2022)."""

from __future__ import annotations

from torch import nn

from models.layers.translators.parts import Place, Residual, depthwise, draw_weights


class ConvMixerBlock(nn.Sequential):
    """11x11 depthwise, then across channels without a shortcut; no branch is ever left out."""

    def __init__(self, place: Place) -> None:
        width = place.width
        spread = nn.Sequential(depthwise(width, 11), nn.GELU(), nn.BatchNorm2d(width))
        super().__init__(
            Residual(spread, place._replace(drop_path=0.0)),
            nn.Conv2d(width, width, 1),
            nn.GELU(),
            nn.BatchNorm2d(width),
        )
        self.apply(draw_weights)
