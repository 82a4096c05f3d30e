"""MLP-Mixer: feed-forward layers over positions, then over channels (Tolstikhin et al. 2021)."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from models.layers.translators.parts import (
    ChannelsLast,
    Place,
    Residual,
    draw_weights,
    feed_forward,
)


class PositionMixer(nn.Module):
    """A feed-forward layer over all positions of a map, the same for each channel.

    It is half as wide inside as the map has channels.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        positions, inner = prod(place.map_shape), place.width // 2
        self.layers = nn.Sequential(
            nn.Linear(positions, inner), nn.GELU(), nn.Linear(inner, positions)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,H,W,C] for x [B,H,W,C]."""
        y: Tensor = self.layers(x.flatten(1, 2).transpose(1, 2))
        return y.transpose(1, 2).reshape(x.shape)


class MLPMixerBlock(nn.Sequential):
    """Positions mixed, then channels; each normalised over channels first."""

    def __init__(self, place: Place) -> None:
        width = place.width
        super().__init__(
            Residual(ChannelsLast(nn.LayerNorm(width), PositionMixer(place)), place),
            Residual(ChannelsLast(nn.LayerNorm(width), *feed_forward(width)), place),
        )
        self.apply(draw_weights)
