"""Clips padded in time."""

from __future__ import annotations

import torch
from torch import Tensor


def repeat_first_frame(clip: Tensor, frames: int) -> Tensor:
    """`clip` [B,T,C,H,W], its first frame repeated before it until there are `frames` at least."""
    missing = max(0, frames - clip.shape[1])
    return torch.cat((clip[:, :1].expand(-1, missing, -1, -1, -1), clip), 1)
