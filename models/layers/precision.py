"""What stays in float32 under mixed precision: all that a model adds up over many frames.

bfloat16 has 8 bits. A state that moves by less than 1/256 of itself at a step stands still in it:
c <- .99 c + .01 ends at .69 instead of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

Owner = TypeVar("Owner")
Given = ParamSpec("Given")


HALVES = (torch.bfloat16, torch.float16)


def widened(x: Tensor) -> Tensor:
    """`x` in float32 where it is narrower, else itself."""
    return x.float() if x.dtype in HALVES else x


def narrowed(x: Tensor) -> Tensor:
    """`x` in the type that autocast computes products in; itself where there is no autocast.

    For what many products share: autocast would convert it for each of them, forth and back.
    """
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return x
    return x.to(torch.get_autocast_dtype(device))


def zero_state(x: Tensor, width: int) -> Tensor:
    """Zeros [B,width,h,w] for a cell that reads x [B,C,h,w], in float32 where x is narrower."""
    dtype = torch.float32 if x.dtype in HALVES else x.dtype
    return x.new_zeros(len(x), width, *x.shape[2:], dtype=dtype)


def unrounded(
    method: Callable[Concatenate[Owner, Tensor, Given], Tensor],
) -> Callable[Concatenate[Owner, Tensor, Given], Tensor]:
    """`method`, computed without autocast on its first argument in float32 at least."""

    @wraps(method)
    def compute(self: Owner, x: Tensor, /, *args: Given.args, **kwargs: Given.kwargs) -> Tensor:
        if not torch.amp.is_autocast_available(x.device.type):  # the meta device, say
            return method(self, x, *args, **kwargs)
        with torch.autocast(x.device.type, enabled=False):
            return method(self, widened(x), *args, **kwargs)

    return compute
