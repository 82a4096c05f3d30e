"""Frames as patches in the published code's order of operations: by reshape, channels last.

The colour of a patch is its slowest channel here and its fastest there: a permutation of weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def patch_side(input_weight: Tensor, clip: Tensor) -> int:
    """Side of the patches of `clip` that a kernel [outputs,channels*side*side,k,k] reads."""
    return math.isqrt(input_weight.shape[1] // clip.shape[2])


def to_patches(clip: Tensor, side: int) -> Tensor:
    """Patches [B,T,H/side,W/side,C*side*side] of clip [B,T,C,H,W]."""
    b, t, c, h, w = clip.shape
    channels_last = clip.permute(0, 1, 3, 4, 2).reshape(b, t, h // side, side, w // side, side, c)
    patches = channels_last.permute(0, 1, 2, 4, 6, 3, 5)
    return patches.reshape(b, t, h // side, w // side, c * side * side)


def from_patches(patches: Tensor, side: int) -> Tensor:
    """Clip [B,T,C,H,W] of patches [B,T,H/side,W/side,C*side*side]."""
    b, t, h, w, c = patches.shape
    split = patches.reshape(b, t, h, w, c // side**2, side, side)
    return split.permute(0, 1, 4, 2, 5, 3, 6).reshape(b, t, c // side**2, h * side, w * side)


def rolled_out(
    unroll: Callable[[Tensor, int], Tensor], input_weight: Tensor, context: Tensor, horizon: int
) -> Tensor:
    """The last `horizon` frames that `unroll` predicts of `context` and frames it cannot see."""
    side, unseen = patch_side(input_weight, context), torch.zeros_like(context[:, :1])
    patches = to_patches(torch.cat((context, *[unseen] * horizon), 1), side)
    return from_patches(unroll(patches, context.shape[1])[:, -horizon:], side)
