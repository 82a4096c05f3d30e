"""gSTA: gated spatiotemporal attention (Tan et al. 2022, the second SimVP paper).

VAN's block with another gate.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.translators.parts import Place, draw_weights
from models.layers.translators.van import GatedBlock, LargeKernel


class SpatiotemporalGate(nn.Module):
    """Half of what a large kernel gives, each value let through by its sigmoid of the other half.

    The input itself is not multiplied in, as it is in VAN.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kernel = LargeKernel(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]."""
        value, gate = self.kernel(x).chunk(2, 1)
        y: Tensor = gate.sigmoid() * value
        return y


class GSTABlock(GatedBlock):
    """Gated spatiotemporal attention, then a feed-forward layer."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, SpatiotemporalGate(place.width))
        self.apply(draw_weights)
