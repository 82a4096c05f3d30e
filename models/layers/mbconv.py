"""MBConv: an inverted bottleneck around a depthwise convolution, with squeeze and excitation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.damped import damped


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that sees all of them, averaged over the map (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [B,C,H,W] times their gates [B,C,1,1] in [0,1]."""
        gate: Tensor = self.excite(F.silu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * gate


class MBConv(nn.Module):
    """Pre-norm MBConv as in MaxViT (Tu et al. 2022, appendix A): x' = shortcut(x) + branch(x).

    The branch normalises, expands by `expansion`, convolves each channel alone (with the stride),
    scales channels by squeeze and excitation to a quarter of `outputs`, and projects. The
    shortcut averages where the stride is 2 and projects where the channels change.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, expansion: int = 4) -> None:
        super().__init__()
        inner = expansion * outputs
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.GELU(approximate="tanh"),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.GELU(approximate="tanh"),
            SqueezeExcite(inner, max(1, outputs // 4)),
            damped(nn.Conv2d(inner, outputs, 1)),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.AvgPool2d(stride))
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,outputs,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.shortcut(x) + self.branch(x)
        return y
