"""VAN: attention by large kernels (Guo et al. 2023, "Visual Attention Network")."""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.translators.parts import (
    Place,
    Residual,
    conv_feed_forward,
    depthwise,
    draw_weights,
)

LAYER_SCALE = 1e-2


class LargeKernel(nn.Sequential):
    """In place of a kernel of 21x21: depthwise, depthwise and dilated, then across channels."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(
            depthwise(width, 5), depthwise(width, 7, dilation=3), nn.Conv2d(width, outputs, 1)
        )


class LargeKernelGate(nn.Module):
    """x times what a large kernel sees of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kernel = LargeKernel(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]."""
        y: Tensor = x * self.kernel(x)
        return y


class GatedAttention(nn.Module):
    """A `gate` between two layers across channels, with a shortcut of its own beside the three."""

    def __init__(self, width: int, gate: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.GELU(), gate, nn.Conv2d(width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,H,W] for x [B,width,H,W]."""
        y: Tensor = x + self.layers(x)
        return y


class GatedBlock(nn.Sequential):
    """Attention by a `gate`, then a feed-forward layer."""

    def __init__(self, place: Place, gate: nn.Module) -> None:
        attention, mlp = GatedAttention(place.width, gate), conv_feed_forward(place.width)
        super().__init__(
            Residual(nn.Sequential(nn.BatchNorm2d(place.width), attention), place, LAYER_SCALE),
            Residual(nn.Sequential(nn.BatchNorm2d(place.width), mlp), place, LAYER_SCALE),
        )


class VANBlock(GatedBlock):
    """Attention by a large kernel, then a feed-forward layer."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, LargeKernelGate(place.width))
        self.apply(draw_weights)
