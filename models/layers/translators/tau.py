"""TAU: attention within frames times attention to channels, that is, to frames (Tan et al. 2023).

VAN's block with another gate.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.translators.parts import Place, draw_weights
from models.layers.translators.van import GatedBlock, LargeKernel

SQUEEZED = 16


class TemporalGate(nn.Module):
    """x times what a large kernel sees of it times a gate for each channel.

    The gates see all channels, averaged over the map and squeezed to 16 numbers: in the authors'
    code, unlike its names, 16 is not what the width is divided by. Of less than 64 it is a fourth.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kernel = LargeKernel(width, width)
        squeezed = width // max(width // SQUEEZED, 4)
        self.channels = nn.Sequential(
            nn.Linear(width, squeezed, bias=False),
            nn.ReLU(),
            nn.Linear(squeezed, width, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]."""
        y: Tensor = self.channels(x.mean((2, 3)))[..., None, None] * self.kernel(x) * x
        return y


class TAUBlock(GatedBlock):
    """Temporal attention, then a feed-forward layer.

    As in the authors' code the attention starts from PyTorch's initial weights.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place, TemporalGate(place.width))
        self[1].apply(draw_weights)
