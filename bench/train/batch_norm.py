"""Batch normalisation by the statistics of all clips of a step, also where devices share it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.layers.moments import var_mean

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def share_statistics(model: nn.Module) -> None:
    """Have PyTorch's own batch normalisations of `model` take their statistics from all processes.

    PyTorch's SyncBatchNorm does so on GPUs alone, and would take a subclass for its parent.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and type(module) in _PLAIN:
            module.forward = partial(_normalised, module)  # type: ignore[method-assign]


def _normalised(norm: Any, x: Tensor) -> Tensor:
    """The output of `norm` for `x` [B,C,...]."""
    if not norm.training:
        output: Tensor = type(norm).forward(norm, x)
        return output
    wide = x if x.dtype == torch.float64 else x.float()
    variance, mean, count = var_mean(wide, (0, *range(2, x.dim())))
    if norm.running_mean is not None:
        _follow(norm, mean.detach(), variance.detach() * (count / max(1, count - 1)))
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    shape = (1, -1, *[1] * (x.dim() - 2))
    normalised: Tensor = wide * scale.view(shape) + shift.view(shape)
    return normalised.to(x.dtype)


@torch.no_grad()
def _follow(norm: Any, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics of `norm` towards these."""
    norm.num_batches_tracked += 1
    share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), share)
