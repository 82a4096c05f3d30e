"""Mean and variance over all clips of a training step, on however many devices it is computed."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def var_mean(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, int]:
    """The variance and mean of `x` over `dims`, one of which is the clips, and of how many values.

    Where several processes share a training step, each of them has equally many of its clips, and
    all must call this: the moments are those of all clips. Gradients flow to all.
    """
    variance, mean = torch.var_mean(x, dims, correction=0)
    count = x.numel() // max(1, mean.numel())
    if not (dist.is_available() and dist.is_initialized()):
        return variance, mean, count
    of_all = _mean_over_processes(mean)
    return (
        _mean_over_processes(variance + (mean - of_all).square()),
        of_all,
        count * dist.get_world_size(),
    )


def _mean_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total / dist.get_world_size()


class _Sum(Function):
    """The sum over processes. The loss is theirs, too, and so is the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
