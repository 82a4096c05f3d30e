"""Installs faster convolution kernels in models whose layers fit them."""

from __future__ import annotations

from collections import Counter

from torch import nn

from bench.kernels import small_maps, winograd
from bench.kernels.winograd import shared_filters

__all__ = ["fit", "shared_filters"]

DIRECT = "direct"
"""PyTorch's own convolutions only."""


def fit(model: nn.Module, device: str, precision: str) -> str:
    """The kernels `model` uses from now on, such as "winograd 3x3: 2, 5x5: 8 convolutions".

    Its weights, and what it computes but for rounding, stay as they are. They take effect inside
    `shared_filters`, which goes around a training step or a forward pass; outside it, and on few
    and small maps, PyTorch's own convolution is used. On a CPU in mixed precision, convolutions of
    maps smaller than their kernel stay in float32.

    Args:
        model: any module, a user's own too.
        device: type of the device it runs on.
        precision: "32", or "bf16" for mixed precision.
    """
    if device != "cpu":
        return DIRECT
    if precision != "32":
        small_maps.widen(model)
        return DIRECT
    served = [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d) and _is_plain(module) and winograd.fits(module)
    ]
    for conv in served:
        # A function of the module, not a method: copies of the model use their own weights.
        conv._conv_forward = winograd.convolution  # type: ignore[assignment, method-assign]
    if not served:
        return DIRECT
    kernels = Counter(conv.kernel_size for conv in served)
    counts = (f"{'x'.join(map(str, size))}: {kernels[size]}" for size in sorted(kernels))
    return f"winograd {', '.join(counts)} convolutions"


def _is_plain(conv: nn.Conv2d | nn.Conv3d) -> bool:
    """Whether its class convolves as PyTorch's own does."""
    cls, own = type(conv), nn.Conv2d if isinstance(conv, nn.Conv2d) else nn.Conv3d
    return (cls.forward, cls._conv_forward) == (own.forward, own._conv_forward)
