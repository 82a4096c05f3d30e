"""Keeps bfloat16 from convolutions whose gradients PyTorch gets wrong on a CPU.

Where a kernel is larger than the maps (3x3x3 over two frames; 3x3 of stride 2 over width 1),
PyTorch 2.13 on a CPU with AVX-512 may write past such a gradient, and returns what lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def widen(model: nn.Module) -> None:
    """Under CPU autocast, `model` convolves maps smaller than their kernel in float32."""
    for conv in model.modules():
        for cls in CONVOLUTIONS:
            if isinstance(conv, cls) and type(conv)._conv_forward is cls._conv_forward:
                # A method, so that a deep copy of the model has its own.
                widened = MethodType(_widened(cls._conv_forward), conv)
                conv._conv_forward = widened  # type: ignore[method-assign]


def _widened(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def _conv_forward(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rounds = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if not rounds or not _is_small(x, conv):
            return convolve(conv, x, weight, bias)
        with torch.autocast("cpu", enabled=False):
            exact = convolve(conv, x.to(weight.dtype), weight, bias)
        return exact.to(torch.get_autocast_dtype("cpu"))

    return _conv_forward


def _is_small(x: Tensor, conv: nn.Conv2d) -> bool:
    """Whether `conv` reaches over more than the whole of `x`, some way."""
    reaches = (1 + (k - 1) * d for k, d in zip(conv.kernel_size, conv.dilation, strict=True))
    sides = x.shape[-len(conv.kernel_size) :]
    return any(side < reach for side, reach in zip(sides, reaches, strict=True))
