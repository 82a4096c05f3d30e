"""IncepU: a U-net of Inception modules (Gao et al. 2022, the first SimVP paper)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GROUPS = 8


class Inception(nn.Module):
    """Channels squeezed, then the sum of grouped convolutions of four sizes."""

    def __init__(self, inputs: int, squeezed: int, outputs: int) -> None:
        super().__init__()
        groups = 1 if squeezed % GROUPS else GROUPS
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(squeezed, outputs, kernel, padding=kernel // 2, groups=groups),
                nn.GroupNorm(GROUPS, outputs),
                nn.LeakyReLU(0.2),
            )
            for kernel in (3, 5, 7, 11)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,outputs,H,W] for x [B,inputs,H,W]."""
        squeezed = self.squeeze(x)
        first, *others = [branch(squeezed) for branch in self.branches]
        y: Tensor = sum(others, first)
        return y


class IncepU(nn.Module):
    """Inception modules down and up, with skip connections; the map keeps its height and width.

    Args:
        channels: of the map that comes in and goes out.
        width: channels between.
        depth: modules on the way down, and on the way up; at least 2.
    """

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        squeezed = width // 2
        self.down = nn.ModuleList(
            Inception(width if n else channels, squeezed, width) for n in range(depth)
        )
        self.up = nn.ModuleList(
            Inception(2 * width if n else width, squeezed, width if n < depth - 1 else channels)
            for n in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,channels,H,W] for x [B,channels,H,W]."""
        skips = []
        for module in self.down:
            x = module(x)
            skips.append(x)
        skips.pop()  # the deepest map is what the way up begins with
        x = self.up[0](x)
        for module in self.up[1:]:
            x = module(torch.cat((x, skips.pop()), 1))
        return x
